"""Distributions that hand and body domains share: shape, viewpoint, light, background, occluders, sensor, motion."""

from dataclasses import dataclass, field, replace

from posebridge.bodies.shape_distribution import ShapeDistribution
from posebridge.rendering.photometry import OFF, AppearanceConfig
from posebridge.synthesis.backgrounds import BackgroundDistribution
from posebridge.synthesis.lights import LightDistribution
from posebridge.synthesis.motion import MotionDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution

# Sensor effects of the domains.
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
STREET_LIGHTS = LightDistribution(
    number=(1, 3), key_light=(0.3, 1.5), ambient=(0.15, 0.6), colour=0.15, specular=(0.0, 0.06), shadow_share=0.9
)
VARIED_LIGHTS = LightDistribution(
    number=(0, 3), key_light=(0.3, 1.4), ambient=(0.2, 0.8), colour=0.12, specular=(0.0, 0.06), shadow_share=0.7
)


@dataclass(frozen=True)
class OccluderDistribution:
    """Occluders: a fraction ``share`` of the samples gets one patch of clutter in front of the subject."""

    share: float = 0.0
    size_frac: tuple[float, float] = (0.1, 0.3)  # width and height as fractions of the image's side


@dataclass(frozen=True)
class SceneDomain:
    """Base class of hand and body domains."""

    name: str
    shapes: ShapeDistribution = field(default_factory=ShapeDistribution)
    viewpoints: ViewpointDistribution = field(default_factory=ViewpointDistribution)
    lights: LightDistribution = field(default_factory=LightDistribution)
    backgrounds: BackgroundDistribution = field(default_factory=BackgroundDistribution)
    occluders: OccluderDistribution = field(default_factory=OccluderDistribution)
    sensor: AppearanceConfig = CLEAN_SENSOR
    motion: MotionDistribution = field(default_factory=MotionDistribution)
