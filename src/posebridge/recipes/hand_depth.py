"""SynthShift's track hand-depth: from clean rendered depth to a sensor with holes and noise; sets of three views.

Each view is a sample of its own here; what the views of a set share is left to methods that use it. Scored by the
mean joint error in mm of held-out views, nothing aligned, as depth benchmarks are.
"""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.recipes import hand_rgb
from posebridge.recipes.track import TrackPlan, TrackSize
from posebridge.rendering.photometry import OFF
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_STREET, DEPTH_STUDIO
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import SourceTrainingConfig

_CUBE_M = DEPTH_STUDIO.cube_m
# The hand's size in the cube is known, so views keep their scale nearly; colours are depths, so only noise is added.
_GEOMETRY = GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.04, scale=(0.95, 1.05))
_APPEARANCE = replace(OFF, blur_probability=0.2, noise_probability=0.5, read_noise=0.03)
_CHANGES = {"geometry": _GEOMETRY, "appearance": _APPEARANCE, "depth_weight": 2.0}

SMALL = replace(
    hand_rgb.SMALL,
    source_samples=9_600,
    target_samples=3_840,
    test_samples=1_152,
    maps=replace(hand_rgb.SMALL.maps, cube_m=_CUBE_M),
    source=replace(hand_rgb.SMALL.source, **_CHANGES),
    supervised_target=replace(hand_rgb.SMALL.supervised_target, **_CHANGES),
    geometric_reconstruction=None,  # which redraws colours
    mean_teacher=replace(
        hand_rgb.SMALL.mean_teacher,
        style=None,  # a depth picture has no style to take over: its values are the geometry
        kept_share=0.5,
        depth_consistency_weight=1.0,
        **_CHANGES,
    ),
    selection_appearance=_APPEARANCE,
)

FULL = TrackSize(
    name="full",
    size_px=128,
    source_samples=60_000,
    target_samples=18_000,
    test_samples=9_600,
    network=PoseResNetConfig(encoder="resnet18"),
    maps=PoseMaps("softmax", sigma=2.0, cube_m=_CUBE_M),
    source=SourceTrainingConfig(
        schedule=Schedule(steps=40_000, learning_rate=1e-3, decay="cosine", warmup=0.02, clip_norm=5.0), **_CHANGES
    ),
    supervised_target=SourceTrainingConfig(
        schedule=Schedule(steps=15_000, learning_rate=5e-4, decay="cosine", warmup=0.02, clip_norm=5.0), **_CHANGES
    ),
    mean_teacher=replace(
        SMALL.mean_teacher,
        schedule=Schedule(steps=15_000, learning_rate=3e-4, decay="cosine", warmup=0.02, clip_norm=5.0),
        batch_size=32,
        average_decay=0.999,
    ),
    selection_appearance=_APPEARANCE,
)

HAND_DEPTH = TrackPlan(
    name="hand-depth",
    skeleton=HAND21,
    source=DEPTH_STUDIO,
    target=DEPTH_STREET,
    protocol=DEPTH_JOINT_ERROR,
    metric="mean_error_mm",
    sizes={size.name: size for size in (SMALL, FULL)},
    video_frames=None,
)
