"""SynthShift's track body-rgb: from labelled studio renders of people to unlabelled street ones."""

from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.evaluation.protocols import PCK_005_BODY
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.recipes import hand_rgb
from posebridge.recipes.track import TrackPlan
from posebridge.skeletons.body import H36M17
from posebridge.synthesis.body_domains import STREET_BODY, STUDIO_BODY

# People stand upright more often than hands do, and have a left and a right.
_SMALL_GEOMETRY = GeometryConfig(
    rotation_deg=15.0, shear_deg=5.0, translation=0.04, scale=(0.85, 1.2), flip_probability=0.5
)
_FULL_GEOMETRY = GeometryConfig(rotation_deg=60.0, flip_probability=0.5)  # UniFrame, bodies

_SMALL_SOURCE = replace(hand_rgb.SMALL.source, geometry=_SMALL_GEOMETRY)
_SMALL_RECONSTRUCTION = hand_rgb.SMALL_GEOMETRIC_RECONSTRUCTION.reconstruction
assert _SMALL_RECONSTRUCTION is not None

SMALL = replace(
    hand_rgb.SMALL,
    network=replace(hand_rgb.SMALL.network, joints=len(H36M17)),
    source=_SMALL_SOURCE,
    supervised_target=replace(hand_rgb.SMALL.supervised_target, geometry=_SMALL_GEOMETRY),
    mean_teacher=replace(hand_rgb.SMALL.mean_teacher, geometry=_SMALL_GEOMETRY),
    geometric_reconstruction=replace(
        hand_rgb.SMALL_GEOMETRIC_RECONSTRUCTION,
        source=_SMALL_SOURCE,
        reconstruction=replace(_SMALL_RECONSTRUCTION, weight=5.0),
        geometry=_SMALL_GEOMETRY,
    ),
)

FULL = replace(
    hand_rgb.FULL,
    network=replace(hand_rgb.FULL.network, joints=len(H36M17)),
    source=replace(hand_rgb.FULL.source, geometry=_FULL_GEOMETRY),
    supervised_target=replace(hand_rgb.FULL.supervised_target, geometry=_FULL_GEOMETRY),
    mean_teacher=MeanTeacherConfig(geometry=_FULL_GEOMETRY),
    geometric_reconstruction=GeometricReconstructionConfig(geometry=_FULL_GEOMETRY),
)

BODY_RGB = TrackPlan(
    name="body-rgb",
    skeleton=H36M17,
    source=STUDIO_BODY,
    target=STREET_BODY,
    protocol=PCK_005_BODY,
    metric="pck_005",
    sizes={size.name: size for size in (SMALL, FULL)},
    video_frames=24,
)
