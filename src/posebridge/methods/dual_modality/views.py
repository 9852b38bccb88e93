"""Views of labelled and unlabelled samples: geometry G, other backgrounds, and textures T of both modalities.

Textures change no label. The paper has colour jitter, grey and erased boxes for colour; erased boxes and
salt-and-pepper noise for depth (Sec. 7.4.3). It gives no strengths of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.draw import chance, uniform
from posebridge.errors import InputError
from posebridge.rendering.photometry import (
    OFF,
    AppearanceConfig,
    erase,
    generator_on,
    salt_and_pepper,
)

GEOMETRY = GeometryConfig(rotation_deg=180.0, shear_deg=0.0, translation=20 / 256, scale=(0.8, 1.0))  # Sec. 7.4.3
COLOUR_TEXTURE = replace(
    OFF,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.05,
    grey_probability=0.2,
    erase_probability=0.5,
)


@dataclass(frozen=True)
class DepthTextureConfig:
    """Strengths of the textures of depth. Raises ``InputError`` for values out of range."""

    erase_probability: float = 0.5
    erase_side: float = 0.3  # longest side of a box of one random value, as a fraction of the side
    noise_probability: float = 0.5
    noise_frac: float = 0.05  # largest fraction of pixels of salt-and-pepper noise

    def __post_init__(self):
        if wrong := [name for name, value in vars(self).items() if not 0 <= value <= 1]:
            raise InputError(f"{wrong[0]}={getattr(self, wrong[0])}: give a number in [0, 1]")


@dataclass(frozen=True)
class ViewConfig:
    """Views of the source, and strong views of the target. Defaults are the paper's where it has them."""

    geometry: GeometryConfig = GEOMETRY
    appearance: AppearanceConfig = COLOUR_TEXTURE
    depth_texture: DepthTextureConfig = field(default_factory=DepthTextureConfig)
    composited_frac: float = 0.5  # of source images, before an unconstrained one; not in the paper

    def __post_init__(self):
        if not 0 <= self.composited_frac <= 1:
            raise InputError(f"composited_frac={self.composited_frac}: give a number in [0, 1]")


def source_view(
    batch: Observation,
    config: ViewConfig,
    backgrounds: UnconstrainedImages | None,
    generator: Generator,
    mirror: Sequence[int],
) -> LabelledBatch:
    """G(x): labelled samples in random views, some before ``backgrounds``; None: none of them.

    Another background replaces the forearm, too, since the masks are those of the hand alone.

    Raises ``ValueError`` for samples without ``hand_mask``.
    """
    assert isinstance(batch, LabelledBatch)
    T_view_crop = draw_views(config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)
    view = warp_batch(batch, T_view_crop, mirror)
    if backgrounds is None:
        return view
    if view.hand_mask is None:
        raise ValueError(f"{view.key[0]}: other backgrounds need hand_mask, and these samples have none")
    return replace(view, image=backgrounds.behind(view.rgb, view.hand_mask, config.composited_frac, generator))


def textured_depth(
    depth_maps: Float[Tensor, "B H W"], config: DepthTextureConfig, generator: Generator
) -> Float[Tensor, "B H W"]:
    """T(d): depth maps in [0, 1] with erased boxes and salt-and-pepper noise. ``generator`` is on the CPU."""
    batch, images = len(depth_maps), depth_maps[:, None]
    erased = chance(generator, config.erase_probability, batch)
    sides = uniform(generator, 0, config.erase_side, batch, 2) * erased[:, None]
    images = erase(images, uniform(generator, 0, 1, batch, 2), sides, uniform(generator, 0, 1, batch, 1))
    noisy = chance(generator, config.noise_probability, batch)
    fraction = uniform(generator, 0, config.noise_frac, batch) * noisy
    return salt_and_pepper(images, fraction, generator_on(images.device, generator))[:, 0]
