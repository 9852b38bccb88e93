"""Backgrounds: plain walls, procedural clutter, or a user's photographs.

Clutter is painted once into a bank of square tiles. A background is a random crop of a tile, flipped, stretched and
tinted, so it costs one resampling.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Generator, Tensor

from posebridge.contracts.image_formats import bits_per_channel, open_image
from posebridge.draw import chance, generator_for, log_uniform, normal, uniform
from posebridge.errors import InputError

_TILE_PX = 192
_BANK_SIZE = 192
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_MAX_PHOTOGRAPHS = 16 * _BANK_SIZE
_MIN_PHOTOGRAPH_PX = 24
_BANK_SEED = 7  # the bank belongs to the definition of a domain, not of a run


@dataclass(frozen=True)
class BackgroundDistribution:
    """Distribution of backgrounds."""

    clutter_share: float = 1.0  # fraction with clutter; the rest are plain walls with a soft gradient
    photographs: str | None = None  # folder of images that replace the painted clutter
    brightness: tuple[float, float] = (0.3, 1.2)  # factor on the clutter


def sample_backgrounds(
    distribution: BackgroundDistribution, count: int, size_px: int, generator: Generator
) -> Float[Tensor, "B 3 S S"]:
    """Sample square backgrounds of ``size_px`` pixels; sRGB in [0, 1]."""
    tiles = photographs(distribution.photographs) if distribution.photographs else painted_tiles()
    crops = random_crops(tiles, count, size_px, generator)
    tint = torch.exp(normal(generator, 0.12, count, 3, 1, 1)) * uniform(
        generator, *distribution.brightness, count, 1, 1, 1
    )
    plain = _plain_walls(count, size_px, generator)
    cluttered = chance(generator, distribution.clutter_share, count, 1, 1, 1)
    return torch.where(cluttered, crops * tint, plain).clamp(0, 1)


def random_crops(
    tiles: Float[Tensor, "N 3 T T"] | UInt8[Tensor, "N 3 T T"], count: int, size_px: int, generator: Generator
) -> Float[Tensor, "B 3 S S"]:
    """``count`` random crops of random tiles, flipped and stretched, on the tiles' device; sRGB in [0, 1].

    ``generator`` lives on the CPU, so that crops are the same on every device.
    """
    picked = torch.randint(len(tiles), (count,), generator=generator)
    zoom = log_uniform(generator, 0.25, 1.0, count, 1)
    aspect = log_uniform(generator, 0.75, 1.33, count, 1)
    scale = torch.cat([zoom * aspect, zoom / aspect], dim=-1).clamp(max=1.0)
    flip = 1.0 - 2.0 * chance(generator, 0.5, count, 2)
    centre = (1 - scale) * uniform(generator, -1.0, 1.0, count, 2)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0] * flip[:, 0], scale[:, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, [count, 3, size_px, size_px], align_corners=False).to(tiles.device)
    chosen = tiles[picked.to(tiles.device)]
    chosen = chosen if chosen.is_floating_point() else chosen.float() / 255
    return F.grid_sample(chosen, grid, padding_mode="reflection", align_corners=False)


def _plain_walls(count: int, size_px: int, generator: Generator) -> Float[Tensor, "B 3 S S"]:
    """Grey or tinted walls with a brightness gradient between the corners."""
    base = uniform(generator, 0.15, 0.95, count, 1, 1, 1) * torch.exp(normal(generator, 0.08, count, 3, 1, 1))
    corners = 1 + normal(generator, 0.12, count, 1, 2, 2)
    return base * F.interpolate(corners, size=(size_px, size_px), mode="bilinear", align_corners=False)


@lru_cache(maxsize=2)
def photographs(folder: str) -> UInt8[Tensor, "N 3 T T"]:
    """Load square tiles from the images below a folder, at most ``_MAX_PHOTOGRAPHS``, evenly chosen; sRGB.

    Broken and tiny images and images with more than 8 bits per channel are skipped and counted on stderr.
    Raises ``InputError`` without any readable image.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    count = min(len(files), _MAX_PHOTOGRAPHS)
    chosen = [files[i * len(files) // count] for i in range(count)]
    tiles = [tile for path in chosen if (tile := _photograph(path)) is not None]
    if not tiles:
        raise InputError(f"no readable image in the background folder {folder}: give a folder of photographs")
    if len(tiles) < len(chosen):
        print(f"{len(chosen) - len(tiles)} of {len(chosen)} background images can't be used", file=sys.stderr)
    return torch.stack(tiles)


def _photograph(path: Path) -> UInt8[Tensor, "3 T T"] | None:
    """The central square of an image as a tile; None for a broken or tiny image or one with more than 8 bits."""
    try:
        with open_image(path) as file:
            file.draft("RGB", (2 * _TILE_PX, 2 * _TILE_PX))  # decodes a JPEG at reduced size, which is much faster
            known = file.mode in ("L", "P", "RGB", "RGBA", "CMYK", "YCbCr") and bits_per_channel(file) == 8
            if not known or min(file.size) < _MIN_PHOTOGRAPH_PX:
                return None
            side = min(file.size)
            left, top = (file.size[0] - side) // 2, (file.size[1] - side) // 2
            square = file.convert("RGB").crop((left, top, left + side, top + side))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None
    square = square.resize((_TILE_PX, _TILE_PX), Image.Resampling.BOX if side >= _TILE_PX else Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


@lru_cache(maxsize=2)
def painted_tiles(seed: int = _BANK_SEED) -> Float[Tensor, "N 3 T T"]:
    """Bank of painted clutter: smooth noise under stripes, boxes, discs and skin-coloured shapes; sRGB in [0, 1].

    The default bank is that of all domains; another ``seed`` paints other pictures in the same manner.
    """
    generator = generator_for(seed, 0)
    return torch.cat([_paint(16, generator) for _ in range(_BANK_SIZE // 16)])


def _paint(count: int, generator: Generator) -> Float[Tensor, "B 3 T T"]:
    canvas = _clouds(count, generator)
    axis = (torch.arange(_TILE_PX) + 0.5) / _TILE_PX * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for layer in range(26):
        angle = normal(generator, 0.25, count, 1, 1) + 1.5708 * chance(generator, 0.5, count, 1, 1)
        cx, cy = uniform(generator, -1.1, 1.1, count, 1, 1), uniform(generator, -1.1, 1.1, count, 1, 1)
        u = (x - cx) * angle.cos() + (y - cy) * angle.sin()
        v = (y - cy) * angle.cos() - (x - cx) * angle.sin()
        # Early layers are large, later ones small. Some shapes repeat in a row.
        shrink = 0.92**layer
        a = shrink * log_uniform(generator, 0.08, 0.9, count, 1, 1)
        b = shrink * log_uniform(generator, 0.05, 0.9, count, 1, 1)
        repeated = chance(generator, 0.3, count, 1, 1)
        period = 2.2 * a
        u = torch.where(repeated, torch.remainder(u + a, period) - a, u)
        round_ = chance(generator, 0.4, count, 1, 1)
        inside = torch.where(round_, (u / a) ** 2 + (v / b) ** 2 < 1, (u.abs() < a) & (v.abs() < b))
        colour = uniform(generator, 0.0, 1.0, count, 3, 1, 1)
        skin = torch.tensor([0.82, 0.62, 0.5])[:, None, None] * uniform(generator, 0.4, 1.15, count, 1, 1, 1)
        colour = torch.where(chance(generator, 0.15, count, 1, 1, 1), skin, colour)
        shading = 1 + uniform(generator, 0.0, 0.5, count, 1, 1, 1) * (u / a).clamp(-1, 1)[:, None]
        stripes = chance(generator, 0.25, count, 1, 1, 1) * uniform(generator, 0.1, 0.5, count, 1, 1, 1)
        wave = torch.sin(v * uniform(generator, 10.0, 90.0, count, 1, 1))[:, None]
        alpha = inside[:, None] * uniform(generator, 0.6, 1.0, count, 1, 1, 1)
        canvas = torch.lerp(canvas, colour * shading * (1 + stripes * wave), alpha)
    grey = canvas.mean(1, keepdim=True)  # real scenes are less saturated than independent channels
    canvas = torch.lerp(grey, canvas, uniform(generator, 0.0, 1.0, count, 1, 1, 1) ** 1.5 * 0.85).clamp(0, 1)
    blurred = F.avg_pool2d(F.pad(canvas, (3, 3, 3, 3), mode="reflect"), 7, stride=1)
    return torch.lerp(canvas, blurred, uniform(generator, 0.0, 1.0, count, 1, 1, 1))


def _clouds(count: int, generator: Generator) -> Float[Tensor, "B 3 T T"]:
    """Smooth noise of several octaves about a random colour."""
    canvas = uniform(generator, 0.1, 0.9, count, 3, 1, 1).expand(-1, -1, _TILE_PX, _TILE_PX)
    for cells, amplitude in ((2, 0.2), (5, 0.12), (12, 0.08), (40, 0.05)):
        noise = normal(generator, amplitude, count, 3, cells, cells)
        noise = torch.lerp(noise, noise.mean(1, keepdim=True), 0.6)
        canvas = canvas + F.interpolate(noise, size=(_TILE_PX, _TILE_PX), mode="bicubic", align_corners=False)
    return canvas.clamp(0, 1)
