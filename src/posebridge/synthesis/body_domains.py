"""Named body domains. ``studio`` and ``street`` are source and target of SynthShift's body track and are frozen.

Changing them changes the benchmark. ``varied`` is the source for models that are adapted to real images.
"""

from dataclasses import dataclass, field

from posebridge.bodies.shape_distribution import ShapeDistribution
from posebridge.contracts.track import BodyJoints
from posebridge.rendering.photometry import OFF
from posebridge.synthesis.backgrounds import BackgroundDistribution
from posebridge.synthesis.body_poses import BodyPoseDistribution
from posebridge.synthesis.lights import LightDistribution
from posebridge.synthesis.motion import MotionDistribution
from posebridge.synthesis.outfits import OutfitDistribution
from posebridge.synthesis.scene_domain import (
    PHONE_SENSOR,
    STREET_LIGHTS,
    VARIED_LIGHTS,
    OccluderDistribution,
    SceneDomain,
)
from posebridge.synthesis.viewpoints import ViewpointDistribution

UPRIGHT = MotionDistribution(
    keyframe_interval=15, turn_deg=(2.0, 15.0, 2.0)
)  # people turn about the vertical and hardly tilt


@dataclass(frozen=True)
class BodyDomain(SceneDomain):
    """Distributions that define a domain of people."""

    motion: MotionDistribution = UPRIGHT
    poses: BodyPoseDistribution = field(default_factory=BodyPoseDistribution)
    outfits: OutfitDistribution = field(default_factory=OutfitDistribution)
    joints: BodyJoints = "h36m17"  # skeleton of the labels


STUDIO_BODY = BodyDomain(
    name="studio",
    poses=BodyPoseDistribution(random_share=0.1, blend=0.15),
    shapes=ShapeDistribution(age=(0.6, 0.75), muscle=(0.4, 0.6), weight=(0.4, 0.6)),
    viewpoints=ViewpointDistribution(
        front_share=0.85, turn_deg=35.0, tilt_deg=6.0, roll_deg=4.0, uniform_rotation_share=0.0, distance_m=(2.5, 6.0)
    ),
    lights=LightDistribution(colour=0.03, shadow_share=0.5),
    backgrounds=BackgroundDistribution(clutter_share=0.0),
)

STREET_BODY = BodyDomain(
    name="street",
    poses=BodyPoseDistribution(random_share=0.3, blend=0.35),
    shapes=ShapeDistribution(
        age=(0.35, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), height=(0.1, 0.9), proportions=(0.1, 0.9)
    ),
    viewpoints=ViewpointDistribution(
        front_share=0.6,
        turn_deg=55.0,
        tilt_deg=12.0,
        roll_deg=8.0,
        uniform_rotation_share=0.0,
        distance_m=(1.8, 8.0),
        joint_extent_frac=(0.55, 0.85),
    ),
    lights=STREET_LIGHTS,
    backgrounds=BackgroundDistribution(clutter_share=0.95),
    occluders=OccluderDistribution(share=0.25, size_frac=(0.1, 0.35)),
    sensor=PHONE_SENSOR,
)

VARIED_BODY = BodyDomain(
    name="varied",
    poses=BodyPoseDistribution(random_share=0.3, blend=0.35),
    shapes=ShapeDistribution(
        age=(0.35, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), height=(0.1, 0.9), proportions=(0.1, 0.9)
    ),
    viewpoints=ViewpointDistribution(
        front_share=0.5, turn_deg=70.0, tilt_deg=14.0, roll_deg=8.0, uniform_rotation_share=0.01, distance_m=(1.8, 8.0)
    ),
    lights=VARIED_LIGHTS,
    backgrounds=BackgroundDistribution(clutter_share=0.92),
    occluders=OccluderDistribution(share=0.15, size_frac=(0.1, 0.3)),
    sensor=OFF,  # training augments colour, blur and compression instead
)

BODY_DOMAINS = {domain.name: domain for domain in (STUDIO_BODY, STREET_BODY, VARIED_BODY)}
