"""Public datasets of hands and people in colour: the values of Lin et al., NeurIPS 2023, and a first look on CPUs.

An epoch is 500 steps, as in UniFrame's public code, whose protocol the paper follows: 40 epochs are 20,000 steps.
"""

from posebridge.data.augment import BODY, HAND, GeometryConfig
from posebridge.experiments.preset import DataSizes, Preset
from posebridge.experiments.presets.synthshift_rgb import (
    small_geometric_reconstruction,
    small_mean_teacher,
    small_source_training,
)
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTargetConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.hand import HAND21
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

_EPOCH = 500  # steps
_HANDS = GeometryConfig(rotation_deg=25.0, shear_deg=5.0, translation=0.04, scale=(0.85, 1.2))
_PEOPLE = GeometryConfig(rotation_deg=15.0, shear_deg=5.0, translation=0.04, scale=(0.85, 1.2), flip_probability=0.5)


def _small(family: str, joints: int, views: GeometryConfig, weight: float) -> Preset:
    """For two CPU cores: the values of SynthShift."""
    reconstruction = small_geometric_reconstruction(views, weight, source_videos=False)
    return Preset(
        family=family,
        name="small",
        size_px=64,
        network=PoseResNetConfig(encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True, joints=joints),
        maps=PoseMaps("softmax", sigma=1.5),
        data=DataSizes(source=8_000, source_clips=2_000, test=1_000),
        source=small_source_training(views, 1_500, learning_rate=2e-3),
        methods={
            "source-only": SourceOnlyConfig(),
            "mean-teacher": small_mean_teacher(views),
            "integrated-pseudo-labels": reconstruction.without_reconstruction(),
            "geometric-reconstruction": reconstruction,
            "supervised-target": SupervisedTargetConfig(small_source_training(views, 450, learning_rate=1e-3)),
        },
    )


def _full(family: str, joints: int, views: GeometryConfig) -> Preset:
    """Sec. 4.2: ResNet-101, 256 px, Adam 1e-4 that falls at epochs 60 and 75, 40 + 80 epochs, batches of 64 and 32."""
    schedule = Schedule(steps=40 * _EPOCH, learning_rate=1e-4, decay="none")
    supervised = SourceTrainingConfig(schedule=schedule, batch_size=64, geometry=views)
    reconstruction = GeometricReconstructionConfig(geometry=views)
    return Preset(
        family=family,
        name="full",
        size_px=256,
        network=PoseResNetConfig(encoder="resnet101", pretrained="timm", joints=joints),
        maps=PoseMaps("peak", sigma=2.0),
        data=DataSizes(source=40_000),
        space_mb=5_000,
        source=supervised,
        methods={
            "source-only": SourceOnlyConfig(),
            "mean-teacher": MeanTeacherConfig(geometry=views),
            "integrated-pseudo-labels": reconstruction.without_reconstruction(),
            "geometric-reconstruction": reconstruction,
            "supervised-target": SupervisedTargetConfig(supervised),
        },
    )


PRESETS = (
    _small("datasets/hand-rgb", len(HAND21), _HANDS, weight=3.0),
    _full("datasets/hand-rgb", len(HAND21), HAND),
    _small("datasets/body-rgb", len(MPII16), _PEOPLE, weight=5.0),
    _full("datasets/body-rgb", len(MPII16), BODY),
)
