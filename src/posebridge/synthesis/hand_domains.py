"""Named hand domains: distributions of pose, shape, viewpoint, skin, light, background, occluders and sensor.

``studio`` and ``street`` are source and target of the SynthShift benchmark and are frozen: changing them changes the
benchmark. ``varied`` is the source for models that are adapted to real images; it varies everything.
"""

from dataclasses import dataclass, field, replace

from posebridge.bodies.shape_distribution import HAND_POPULATION, ShapeDistribution
from posebridge.rendering.photometry import OFF
from posebridge.synthesis.backgrounds import BackgroundDistribution
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.lights import LightDistribution
from posebridge.synthesis.scene_domain import (
    PHONE_SENSOR,
    STREET_LIGHTS,
    VARIED_LIGHTS,
    OccluderDistribution,
    SceneDomain,
)
from posebridge.synthesis.skin import SkinDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution


@dataclass(frozen=True)
class HandDomain(SceneDomain):
    """Distributions that define a domain of hands."""

    poses: PoseDistribution = field(default_factory=PoseDistribution)
    skin: SkinDistribution = field(default_factory=SkinDistribution)


STUDIO = HandDomain(
    name="studio",
    poses=PoseDistribution(random_share=0.4, blend=0.2, wrist_deg=(12.0, 6.0)),
    shapes=ShapeDistribution(age=(0.6, 0.75), muscle=(0.4, 0.6), weight=(0.4, 0.6)),
    viewpoints=ViewpointDistribution(turn_deg=25.0, tilt_deg=18.0, roll_deg=20.0, uniform_rotation_share=0.0),
    skin=SkinDistribution(tone=(0.1, 0.45), texture=(0.0, 0.04)),
    lights=LightDistribution(colour=0.03, shadow_share=0.5),
    backgrounds=BackgroundDistribution(clutter_share=0.0),
)

STREET = HandDomain(
    name="street",
    poses=PoseDistribution(random_share=0.65, blend=0.4, noise_deg=9.0, wrist_deg=(22.0, 10.0)),
    shapes=ShapeDistribution(age=(0.4, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), proportions=(0.1, 0.9)),
    viewpoints=ViewpointDistribution(
        front_share=0.5,
        turn_deg=30.0,
        tilt_deg=24.0,
        roll_deg=32.0,
        uniform_rotation_share=0.03,
        joint_extent_frac=(0.52, 0.82),
    ),
    skin=SkinDistribution(tone=(0.0, 0.9), texture=(0.02, 0.12), sleeve_share=0.5),
    lights=STREET_LIGHTS,
    backgrounds=BackgroundDistribution(clutter_share=0.95),
    occluders=OccluderDistribution(share=0.15, size_frac=(0.08, 0.2)),
    sensor=PHONE_SENSOR,
)

VARIED = HandDomain(
    name="varied",
    poses=PoseDistribution(random_share=0.6, blend=0.4, noise_deg=9.0),
    shapes=replace(HAND_POPULATION, age=(0.45, 1.0)),
    viewpoints=ViewpointDistribution(uniform_rotation_share=0.05, joint_extent_frac=(0.55, 0.88)),
    skin=SkinDistribution(tone=(0.0, 1.0), texture=(0.0, 0.12), sleeve_share=0.3),
    lights=VARIED_LIGHTS,
    backgrounds=BackgroundDistribution(clutter_share=0.92),
    occluders=OccluderDistribution(share=0.1, size_frac=(0.08, 0.2)),
    sensor=OFF,  # training augments colour, blur and compression instead
)

HAND_DOMAINS = {domain.name: domain for domain in (STUDIO, STREET, VARIED)}
