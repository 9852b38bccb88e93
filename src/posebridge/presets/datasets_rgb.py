"""Public datasets of hands and people in colour: the values of Lin et al., NeurIPS 2023, and a first look on CPUs.

An epoch is 500 steps, as in UniFrame's public code, whose protocol the paper follows: 40 epochs are 20,000 steps.
"""

from itertools import chain

from posebridge.data.augment import BODY, HAND, GeometryConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.regda.config import RegDAConfig
from posebridge.methods.self_training.config import SelfTrainingConfig, cc_ssl
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTargetConfig
from posebridge.presets import dual_modality, masked_reconstruction, semihand
from posebridge.presets.dual_modality import full_dual_modality
from posebridge.presets.masked_reconstruction import full_masked_reconstruction
from posebridge.presets.pose_specs import full_pose
from posebridge.presets.preset import DataSizes, Preset
from posebridge.presets.semihand import full_of_hands
from posebridge.presets.synthshift_rgb import SMALL_HANDS, SMALL_PEOPLE, small_preset
from posebridge.skeletons.body import H36M17, MPII16
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

_EPOCH = 500  # steps
_SMALL_DATA = DataSizes(source=8_000, source_clips=2_000, test=1_000)


def _full(family: str, skeleton: Skeleton, views: GeometryConfig) -> Preset:
    """Sec. 4.2: ResNet-101, 256 px, Adam 1e-4 that falls at epochs 60 and 75, 40 + 80 epochs, batches of 64 and 32."""
    schedule = Schedule(steps=40 * _EPOCH, learning_rate=1e-4, decay="none")
    supervised = SourceTrainingConfig(schedule=schedule, batch_size=64, geometry=views)
    reconstruction = GeometricReconstructionConfig(geometry=views)
    return Preset(
        family=family,
        name="full",
        model=full_pose(skeleton, pretrained="timm"),
        data=DataSizes(source=40_000),
        space_mb=5_000,
        source=supervised,
        methods={
            "source-only": SourceOnlyConfig(),
            "mean-teacher": MeanTeacherConfig(geometry=views),
            "regda": RegDAConfig(geometry=views),
            "self-training": SelfTrainingConfig(geometry=views),
            "cc-ssl": cc_ssl(geometry=views),
            "integrated-pseudo-labels": reconstruction.without_reconstruction(),
            "geometric-reconstruction": reconstruction,
            "masked-reconstruction": full_masked_reconstruction(skeleton, views),
            **full_of_hands(skeleton),
            **full_dual_modality(skeleton),
            "supervised-target": SupervisedTargetConfig(supervised),
        },
    )


_PRESETS = (
    small_preset("datasets/hand-rgb", HAND21, SMALL_HANDS, weight=3.0, data=_SMALL_DATA, source_videos=False),
    _full("datasets/hand-rgb", HAND21, HAND),
    small_preset("datasets/body-rgb", MPII16, SMALL_PEOPLE, weight=5.0, data=_SMALL_DATA, source_videos=False),
    _full("datasets/body-rgb", MPII16, BODY),
    small_preset("datasets/body-rgb-h36m17", H36M17, SMALL_PEOPLE, weight=5.0, data=_SMALL_DATA, source_videos=False),
    _full("datasets/body-rgb-h36m17", H36M17, BODY),
)
PRESETS = (
    *_PRESETS,
    *chain.from_iterable(
        rows.presets_of_settings(preset)
        for preset in _PRESETS
        for rows in (masked_reconstruction, semihand, dual_modality)
    ),
)
