"""Diversity augmentation: strong views of labelled and pseudo-labelled samples (Sec. 6.3.4)."""

from dataclasses import dataclass, field, replace

from posebridge.data.augment import NONE, GeometryConfig
from posebridge.rendering.photometry import OFF, STRONG, AppearanceConfig


@dataclass(frozen=True)
class DiversityConfig:
    """Colour jitter, translation, rotation, scale, grey and erased boxes.

    Strengths are not given. Those of the geometry are chapter 7's (Sec. 7.4.3), colours are our ``STRONG`` without
    blur, noise and compression.
    """

    geometry: GeometryConfig = field(
        default_factory=lambda: GeometryConfig(
            rotation_deg=180.0, shear_deg=0.0, translation=20 / 256, scale=(0.8, 1.0)
        )
    )
    appearance: AppearanceConfig = field(
        default_factory=lambda: replace(
            STRONG, blur_probability=0.0, motion_probability=0.0, noise_probability=0.0, jpeg_probability=0.0
        )
    )


NO_DIVERSITY = DiversityConfig(NONE, OFF)  # of the ablation in which predictions collapse


@dataclass(frozen=True)
class TermWeights:
    """Weights of Eq. 6.2 and 6.3."""

    depth: float = 50.0  # lambda_d
    mask: float = 100.0  # lambda_w
    # Of the cross-entropy of source heat maps. The dissertation has no such term; it speeds the start of maps that are
    # otherwise trained through their mean alone.
    heat: float = 0.0
