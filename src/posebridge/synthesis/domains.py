"""Named looks of hands. A domain is data: distributions of pose, shape, viewpoint, appearance, surroundings, sensor.

``studio`` and ``street`` are the two sides of SynthShift and are frozen: a changed domain is a new benchmark.
``varied`` is what a model for real images should be trained on: everything that the renderer can vary.
"""

from dataclasses import dataclass, field, replace

from posebridge.errors import InputError
from posebridge.rendering.photometry import OFF, AppearanceConfig
from posebridge.synthesis.appearance import AppearanceDistribution
from posebridge.synthesis.backgrounds import BackgroundDistribution
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution

# What the camera does to the picture.
CLEAN_SENSOR = replace(OFF, noise_probability=1.0, read_noise=0.004)
PHONE_SENSOR = replace(
    OFF,
    brightness=0.35,
    gain=0.08,
    gamma=0.15,
    blur_probability=0.6,
    blur_sigma=0.012,
    motion_probability=0.3,
    motion_length=0.05,
    noise_probability=1.0,
    shot_noise=0.002,
    read_noise=0.02,
    jpeg_probability=0.6,
)


@dataclass(frozen=True)
class ShapeDistribution:
    """Anny's phenotypes, each uniform in a range of [0, 1]. Age: 1/3 is a child, 2/3 a young adult, 1 is old."""

    age: tuple[float, float] = (0.55, 0.85)
    gender: tuple[float, float] = (0.0, 1.0)
    muscle: tuple[float, float] = (0.2, 0.8)
    weight: tuple[float, float] = (0.2, 0.8)
    height: tuple[float, float] = (0.3, 0.7)
    proportions: tuple[float, float] = (0.3, 0.7)


@dataclass(frozen=True)
class Occluders:
    """Things held before the hand: a share of samples gets one patch of clutter over a part of the hand."""

    share: float = 0.0
    size: tuple[float, float] = (0.1, 0.3)  # of the crop's side


@dataclass(frozen=True)
class HandDomain:
    """A look of hands."""

    name: str
    poses: PoseDistribution = field(default_factory=PoseDistribution)
    shapes: ShapeDistribution = field(default_factory=ShapeDistribution)
    viewpoints: ViewpointDistribution = field(default_factory=ViewpointDistribution)
    appearance: AppearanceDistribution = field(default_factory=AppearanceDistribution)
    backgrounds: BackgroundDistribution = field(default_factory=BackgroundDistribution)
    occluders: Occluders = field(default_factory=Occluders)
    sensor: AppearanceConfig = field(default=CLEAN_SENSOR)


STUDIO = HandDomain(
    name="studio",
    poses=PoseDistribution(random_share=0.4, blend=0.2, wrist_deg=(12.0, 6.0)),
    shapes=ShapeDistribution(age=(0.6, 0.75), muscle=(0.4, 0.6), weight=(0.4, 0.6)),
    viewpoints=ViewpointDistribution(turn_deg=25.0, tilt_deg=18.0, roll_deg=20.0, anywhere_share=0.0),
    appearance=AppearanceDistribution(
        tone=(0.1, 0.45), texture=(0.0, 0.04), lights=(1, 2), light_colour=0.03, shadow_share=0.5
    ),
    backgrounds=BackgroundDistribution(clutter_share=0.0),
)

STREET = HandDomain(
    name="street",
    poses=PoseDistribution(random_share=0.65, blend=0.4, noise_deg=9.0, wrist_deg=(22.0, 10.0)),
    shapes=ShapeDistribution(age=(0.4, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), proportions=(0.1, 0.9)),
    viewpoints=ViewpointDistribution(
        palm_share=0.5, turn_deg=30.0, tilt_deg=24.0, roll_deg=32.0, anywhere_share=0.03, fill=(0.52, 0.82)
    ),
    appearance=AppearanceDistribution(
        tone=(0.0, 0.9),
        texture=(0.02, 0.12),
        sleeve_share=0.5,
        lights=(1, 3),
        key_light=(0.3, 1.5),
        ambient=(0.15, 0.6),
        light_colour=0.15,
        specular=(0.0, 0.06),
        shadow_share=0.9,
    ),
    backgrounds=BackgroundDistribution(clutter_share=0.95),
    occluders=Occluders(share=0.15, size=(0.08, 0.2)),
    sensor=PHONE_SENSOR,
)

VARIED = HandDomain(
    name="varied",
    poses=PoseDistribution(random_share=0.6, blend=0.4, noise_deg=9.0),
    shapes=ShapeDistribution(age=(0.45, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), proportions=(0.1, 0.9)),
    viewpoints=ViewpointDistribution(anywhere_share=0.05, fill=(0.55, 0.88)),
    appearance=AppearanceDistribution(
        tone=(0.0, 1.0),
        texture=(0.0, 0.12),
        sleeve_share=0.3,
        lights=(0, 3),
        key_light=(0.3, 1.4),
        ambient=(0.2, 0.8),
        light_colour=0.12,
        specular=(0.0, 0.06),
        shadow_share=0.7,
    ),
    backgrounds=BackgroundDistribution(clutter_share=0.92),
    occluders=Occluders(share=0.1, size=(0.08, 0.2)),
    sensor=OFF,  # training re-colours, blurs and compresses each view anew
)

HAND_DOMAINS = {domain.name: domain for domain in (STUDIO, STREET, VARIED)}


def hand_domain(name: str) -> HandDomain:
    """A domain by its name. Raises ``InputError`` for a name that isn't one."""
    if name not in HAND_DOMAINS:
        raise InputError(f"there is no domain {name!r}: choose one of {', '.join(HAND_DOMAINS)}")
    return HAND_DOMAINS[name]
