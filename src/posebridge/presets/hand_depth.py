"""Hands in depth, by networks that take images of it: SynthShift, and public datasets."""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.deployment.model_spec import PoseSpec
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTargetConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.presets.preset import DataSizes, Preset, SelectionConfig
from posebridge.rendering.photometry import OFF
from posebridge.representations.pose_maps import PoseMaps
from posebridge.synthesis.depth_scene import DEPTH_STUDIO
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

# The size of a hand in its cube is known, so views hardly change the scale. Colours are depths: only noise is added.
_VIEWS = GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.04, scale=(0.95, 1.05))
_APPEARANCE = replace(OFF, blur_probability=0.2, noise_probability=0.5, read_noise=0.03)


def _schedule(steps: int, learning_rate: float, warmup: float = 0.02, weight_decay: float = 0.0) -> Schedule:
    return Schedule(
        steps=steps,
        learning_rate=learning_rate,
        decay="cosine",
        warmup=warmup,
        weight_decay=weight_decay,
        clip_norm=5.0,
    )


def _supervised(schedule: Schedule, batch_size: int = 32) -> SourceTrainingConfig:
    return SourceTrainingConfig(
        schedule=schedule, batch_size=batch_size, geometry=_VIEWS, appearance=_APPEARANCE, depth_weight=2.0
    )


SMALL = Preset(
    family="synthshift/hand-depth",
    name="small",
    model=PoseSpec(
        network=PoseResNetConfig(encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True),
        maps=PoseMaps("softmax", sigma=1.5, cube_m=DEPTH_STUDIO.cube_m),
        size_px=64,
    ),
    data=DataSizes(source=9_600, target=3_840, test=1_152),
    selection=SelectionConfig(appearance=_APPEARANCE),
    source=_supervised(_schedule(1_500, 2e-3, warmup=0.05, weight_decay=1e-4), batch_size=64),
    methods={
        "source-only": SourceOnlyConfig(),
        "mean-teacher": MeanTeacherConfig(
            style=None,  # a depth image has no style: its values are the geometry
            schedule=_schedule(300, 5e-4, warmup=0.03, weight_decay=1e-4),
            batch_size=48,
            geometry=_VIEWS,
            appearance=_APPEARANCE,
            average_decay=0.98,
            kept_frac=0.5,
            heat_weight=1.0,
            depth_weight=2.0,
            depth_consistency_weight=1.0,
        ),
        "supervised-target": SupervisedTargetConfig(
            _supervised(_schedule(450, 1e-3, warmup=0.05, weight_decay=1e-4), batch_size=64)
        ),
    },
)

FULL = Preset(
    family="synthshift/hand-depth",
    name="full",
    model=PoseSpec(
        network=PoseResNetConfig(encoder="resnet18"),
        maps=PoseMaps("softmax", sigma=2.0, cube_m=DEPTH_STUDIO.cube_m),
        size_px=128,
    ),
    data=DataSizes(source=60_000, target=18_000, test=9_600),
    selection=SelectionConfig(appearance=_APPEARANCE),
    source=_supervised(_schedule(40_000, 1e-3)),
    methods={
        "source-only": SourceOnlyConfig(),
        "mean-teacher": MeanTeacherConfig(
            style=None,
            schedule=_schedule(15_000, 3e-4),
            batch_size=32,
            geometry=_VIEWS,
            appearance=_APPEARANCE,
            average_decay=0.999,
            kept_frac=0.5,
            heat_weight=1.0,
            depth_weight=2.0,
            depth_consistency_weight=1.0,
        ),
        "supervised-target": SupervisedTargetConfig(_supervised(_schedule(15_000, 5e-4))),
    },
)


def _for_datasets(preset: Preset, target: int, test: int | None) -> Preset:
    """The preset with so many images of a dataset to adapt to, and so many that are scored; None: all."""
    return replace(preset, family="datasets/hand-depth", data=replace(preset.data, target=target, test=test))


PRESETS = (SMALL, FULL, _for_datasets(SMALL, 1_280, 1_000), _for_datasets(FULL, 24_000, None))
