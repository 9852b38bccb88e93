"""JPEG compression artefacts on a batch, with one quality per sample."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# ITU-T T.81, Annex K, tables K.1 and K.2.
_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99, 99, 99, 99, 99, 99, 99, 99),) * 4,
)
# JFIF's YCbCr, without its offset of one half.
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg_artefacts(images: Float[Tensor, "B 3 H W"], quality: Float[Tensor, "B"]) -> Float[Tensor, "B 3 H W"]:
    """Compress and decompress RGB images in [0, 1] at ``quality`` (1 to 100, IJG's scale) with 4:2:0 chroma.

    Exact except for the 8-bit rounding of the decoder's output. The quantisation blocks gradients.
    """
    height, width = images.shape[2:]
    pad = (0, -width % 16, 0, -height % 16)
    padded = F.pad(images, pad, mode="replicate") if any(pad) else images
    rgb_to_ycc = images.new_tensor(_YCC)
    ycc = (rgb_to_ycc @ padded.flatten(2)).view_as(padded) * 255
    scale = _table_scale(quality.to(images))
    luma = _quantised(ycc[:, :1] - 128, _steps(_LUMA_STEPS, scale)) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _steps(_CHROMA_STEPS, scale))
    # Decoders interpolate the halved chroma linearly between centred samples.
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    ycc = torch.cat([luma, chroma], dim=1)[..., :height, :width] / 255
    rgb = torch.linalg.inv(rgb_to_ycc) @ ycc.flatten(2)
    return rgb.clamp_(0, 1).view_as(images)


def _table_scale(quality: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Factor of the Independent JPEG Group on the quantisation tables; 1 at quality 50."""
    return torch.where(quality < 50, 50 / quality, 2 - quality / 50)


def _steps(table: tuple[tuple[int, ...], ...], scale: Float[Tensor, "B"]) -> Float[Tensor, "B 8 8"]:
    return (scale[:, None, None] * scale.new_tensor(table) + 0.5).floor().clamp(1, 255)


def _quantised(planes: Float[Tensor, "B C H W"], steps: Float[Tensor, "B 8 8"]) -> Float[Tensor, "B C H W"]:
    """Quantise the DCT of 8x8 blocks of planes in [-128, 127] to multiples of ``steps``."""
    basis = _dct_basis(planes)
    coefficients = F.conv2d(planes.flatten(0, 1)[:, None], basis[:, None], stride=8).unflatten(0, planes.shape[:2])
    step = steps.flatten(1)[:, None, :, None, None]
    coefficients = (torch.round(coefficients / step) * step).flatten(0, 1)
    pixels = F.conv2d(coefficients, basis.flatten(1).T[:, :, None, None])
    return F.pixel_shuffle(pixels, 8).view_as(planes)


def _dct_basis(like: Tensor) -> Float[Tensor, "64 8 8"]:
    """Orthonormal 2-D DCT-II basis: one 8x8 function per coefficient, in row-major order."""
    k = torch.arange(8, dtype=torch.float64)
    dct = torch.cos(math.pi / 8 * k[:, None] * (k + 0.5)) / 2
    dct[0] /= math.sqrt(2)
    return torch.einsum("ki,lj->klij", dct, dct).flatten(0, 1).to(like)
