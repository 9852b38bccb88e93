"""Source models: networks that are trained on ``varied`` renders alone, as a start for any target."""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.presets.pose_specs import small_pose
from posebridge.presets.preset import DataSizes, Preset
from posebridge.rendering.photometry import STRONG
from posebridge.skeletons.body import BODY22
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

_SIZE_PX = 128
# Boxes of detectors are looser and less centred than those of labels.
_HANDS = GeometryConfig(rotation_deg=60.0, shear_deg=12.0, translation=0.1, scale=(0.7, 1.25))
_PEOPLE = GeometryConfig(rotation_deg=30.0, shear_deg=8.0, translation=0.1, scale=(0.7, 1.25), flip_probability=0.5)


def _preset(track: str, skeleton: Skeleton, views: GeometryConfig) -> Preset:
    return Preset(
        family=f"source/{track}",
        name="small",
        model=small_pose(skeleton, _SIZE_PX),
        data=DataSizes(source=60_000, test=2_000),
        source=SourceTrainingConfig(
            schedule=Schedule(
                steps=20_000, learning_rate=2e-3, decay="none", warmup=0.01, weight_decay=1e-4, clip_norm=5.0
            ),
            batch_size=64,
            geometry=views,
            appearance=replace(STRONG, erase_probability=0.15),
            average_decay=0.999,
            depth_weight=0.5,
        ),
        methods={"source-only": SourceOnlyConfig()},
    )


PRESETS = (_preset("hand-rgb", HAND21, _HANDS), _preset("body-rgb", BODY22, _PEOPLE))
