"""Heat maps: joints as Gaussians on a grid, and back.

Pixel convention as for images: the centre of a map's top-left pixel is (0, 0), the map covers [-0.5, W - 0.5].
``size`` is always (height, width), as tensors have it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def encode_gaussian(
    uv_map: Float[Tensor, "B J 2"],
    height: int,
    width: int,
    sigma: float,
    normalise: Literal["peak", "sum"] = "peak",
) -> tuple[Float[Tensor, "B J H W"], Bool[Tensor, "B J"]]:
    """Maps of isotropic Gaussians centred exactly (not rounded) on ``uv_map``, and which joints lie on the map.

    ``uv_map`` and ``sigma`` are in pixels of the map. With ``peak`` the Gaussian's amplitude is one (the largest
    pixel may be a little less, where the centre lies between pixels); with ``sum`` the pixels of each map sum to
    one. Joints outside the map, or not finite, give a map of zeros and False.
    Raises ``ValueError`` for a sigma that is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    limit = uv_map.new_tensor([width - 0.5, height - 0.5])
    inside = ((uv_map >= -0.5) & (uv_map <= limit)).all(dim=-1)  # False for NaN
    u, v = uv_map.masked_fill(~inside[..., None], 0).unbind(-1)
    along_u = _gaussian(u, width, sigma, normalise)
    along_v = _gaussian(v, height, sigma, normalise) * inside[..., None]
    return along_v[..., :, None] * along_u[..., None, :], inside


def _gaussian(
    centre: Float[Tensor, "B J"], length: int, sigma: float, normalise: Literal["peak", "sum"]
) -> Float[Tensor, "B J N"]:
    """One direction of the Gaussian, which is separable, its sum too."""
    positions = torch.arange(length, dtype=centre.dtype, device=centre.device)
    exponent = -0.5 * ((positions - centre[..., None]) / sigma).square()
    # A softmax is the normalised exponential that can't underflow to no pixel at all where sigma is tiny.
    return exponent.softmax(dim=-1) if normalise == "sum" else exponent.exp()


def decode_argmax(
    maps: Float[Tensor, "B J H W"], refine: Literal["quadratic", "quarter", "none"] = "quadratic"
) -> tuple[Float[Tensor, "B J 2"], Float[Tensor, "B J"]]:
    """Positions (u, v) of the largest pixel, with a refinement below the pixel, and its value.

    ``quadratic`` fits a parabola to the logarithm of the peak and its two neighbours in each direction, the
    separable form of the Taylor expansion of Zhang et al., CVPR 2020 (DARK); it is exact for a Gaussian. ``quarter``
    moves a quarter of a pixel toward the larger neighbour (Newell et al., ECCV 2016). Median error in pixels at
    random positions, sigma 2, with noise of standard deviation 0 / 0.01 / 0.05 on a unit peak: quadratic 0.000 /
    0.048 / 0.231, quarter 0.202 / 0.203 / 0.299, none 0.398 / 0.407 / 0.491 (the full Taylor expansion with the
    mixed derivative 0.000 / 0.049 / 0.236); hence the default.
    Next to the map's border the direction across it is not refined. Half-precision maps are read in float32.
    """
    height, width = maps.shape[-2:]
    flat = _at_least_float32(maps).flatten(2)
    peak, index = flat.max(dim=-1)
    row, column = index // width, index % width
    uv = torch.stack([column, row], dim=-1).to(flat.dtype)
    if refine == "none":
        return uv, peak
    step = torch.stack([torch.ones_like(index), torch.full_like(index, width)], dim=-1)
    last = torch.tensor([width - 1, height - 1], device=maps.device)
    interior = (uv > 0) & (uv < last)
    before, after = (
        flat.gather(-1, torch.where(interior, index[..., None] + sign * step, index[..., None])) for sign in (-1, 1)
    )
    if refine == "quarter":
        return uv + 0.25 * torch.sign(after - before), peak
    return uv + _parabola_vertex(before, peak[..., None], after), peak


def _parabola_vertex(
    before: Float[Tensor, "B J 2"], peak: Float[Tensor, "B J 1"], after: Float[Tensor, "B J 2"]
) -> Float[Tensor, "B J 2"]:
    """Where the parabola through the logarithms of three neighbouring values is largest, in [-0.5, 0.5]."""
    floor = (peak * 1e-6).clamp_min(torch.finfo(peak.dtype).tiny)  # logarithms need positive values
    low, centre, high = (torch.maximum(value, floor).log() for value in (before, peak, after))
    curvature = low - 2 * centre + high  # not positive, as the centre is the largest
    flat = curvature > -1e-6
    offset = 0.5 * (low - high) / torch.where(flat, torch.ones_like(curvature), curvature)
    return torch.where(flat, torch.zeros_like(offset), offset).clamp(-0.5, 0.5)


def spatial_softmax(logits: Float[Tensor, "B J H W"], temperature: float = 1.0) -> Float[Tensor, "B J H W"]:
    """Probabilities over the pixels of each map, at least float32; a lower temperature gives a sharper map."""
    scaled = _at_least_float32(logits).flatten(2) / temperature
    return scaled.softmax(dim=-1).unflatten(-1, logits.shape[-2:])


def _at_least_float32(maps: Tensor) -> Tensor:
    """Positions need more digits than half precision has (bfloat16 steps by 0.25 beyond 32)."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def expectation(probabilities: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J 2"]:
    """Mean position (u, v) in map pixels under maps that sum to one (Nibali et al. 2018; Sun et al., ECCV 2018)."""
    height, width = probabilities.shape[-2:]
    probabilities = _at_least_float32(probabilities)
    columns = torch.arange(width, dtype=probabilities.dtype, device=probabilities.device)
    rows = torch.arange(height, dtype=probabilities.dtype, device=probabilities.device)
    # Not as a matrix product, which autocast would round to half precision.
    return torch.stack([(probabilities.sum(-2) * columns).sum(-1), (probabilities.sum(-1) * rows).sum(-1)], dim=-1)


def map_from_image(
    uv_px: Float[Tensor, "... 2"], image_size: Sequence[int], map_size: Sequence[int]
) -> Float[Tensor, "... 2"]:
    """Pixels of the image to pixels of a map that covers the same area; sizes are (height, width).

    u_map = s (u_px + 0.5) - 0.5 with s = map width / image width, and so for v.
    """
    scale = uv_px.new_tensor([map_size[1] / image_size[1], map_size[0] / image_size[0]])
    return scale * (uv_px + 0.5) - 0.5


def image_from_map(
    uv_map: Float[Tensor, "... 2"], image_size: Sequence[int], map_size: Sequence[int]
) -> Float[Tensor, "... 2"]:
    """The inverse of ``map_from_image``."""
    return map_from_image(uv_map, image_size=map_size, map_size=image_size)
