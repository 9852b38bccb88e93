"""Depth sensor model: holes, jittered and mixed edges, noise, quantisation.

The effects follow measurements of structured-light and time-of-flight cameras. A zero disables an effect.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import chance, normal, uniform
from posebridge.errors import InputError

_MIN_DEPTH_M = 0.05  # below the range of such sensors


@dataclass(frozen=True)
class DepthSensorConfig:
    """Parameters of a depth sensor. Pixels are those of the sensor unless stated otherwise; shares are in [0, 1].

    Raises ``InputError`` for a value out of range.
    """

    focal_px: float = 585.0  # of the sensor; with a crop's focal length it converts sensor pixels to crop pixels
    disparity_step_m: float = 0.0  # quantisation step at 1 m; it grows with the square of the depth
    fixed_step_m: float = 0.0  # quantisation step that does not depend on the depth
    # Standard deviation of the noise at depth z: noise_m + noise_growth (z - noise_from_m)^2
    # (Nguyen, Izadi and Lovell 2012, Eq. 2).
    noise_m: float = 0.0
    noise_growth: float = 0.0  # 1/m
    noise_from_m: float = 0.4
    noise_window: int = 1  # side of the correlation window of the noise, crop pixels, odd
    lateral_px: float = 0.0  # standard deviation of the lateral noise (Nguyen et al., Eq. 1)
    mix_share: float = 0.0  # fraction of pixels that mix both depths: flying pixels between surfaces
    grazing_deg: float = 80.0  # pixels with a larger angle of incidence become holes
    grazing_holes: float = 0.0  # with this probability, in [0, 1]
    edge_jump_m: float = 0.015  # pixels beside a larger depth jump or beside a hole become holes
    edge_holes: float = 0.0  # with this probability, in [0, 1]
    dropout: float = 0.0  # probability of a hole anywhere
    hole_cell: int = 1  # side of the cells of random holes, crop pixels
    projector_m: float = 0.0  # baseline of a projector to the right; its shadow has no depth
    region_share: float = 0.0  # fraction of images with a missing region, an ellipse
    region_size: tuple[float, float] = (0.1, 0.3)  # diameters as fractions of the image's side

    def __post_init__(self):
        shares = ("mix_share", "grazing_holes", "edge_holes", "dropout", "region_share")
        for name in (f.name for f in fields(self) if f.name not in ("region_size", "noise_from_m")):
            value = getattr(self, name)
            low = 1 if name in ("noise_window", "hole_cell", "focal_px") else 0
            high = 1.0 if name in shares else 90.0 if name == "grazing_deg" else 1e4
            if not low <= value <= high:
                raise InputError(f"{name}={value} of a depth sensor is out of range: give {low:g} to {high:g}")
        if self.noise_window % 2 == 0:
            raise InputError(f"noise_window={self.noise_window} of a depth sensor is even: give an odd number")
        if not 0 < self.region_size[0] <= self.region_size[1]:
            raise InputError(f"region_size={self.region_size} of a depth sensor is not a range: give 0 < low <= high")


CLEAN = DepthSensorConfig()
# Quantisation and growth of noise of the first Kinect (Khoshelham and Elberink 2012; Nguyen et al. 2012), half of its
# baseline, and flying pixels of time of flight. Nguyen's noise includes the quantisation error, so its constant is
# lowered: the median residual of 5 x 5 pixels of a hand to a plane is 0.8 mm here and 0.6 mm in a frame of NYU.
CONSUMER = DepthSensorConfig(
    disparity_step_m=0.0028,
    fixed_step_m=0.001,
    noise_m=0.0005,
    noise_growth=0.0019,
    noise_window=3,
    lateral_px=0.6,
    mix_share=0.15,
    grazing_deg=72.0,
    grazing_holes=0.45,
    edge_holes=0.3,
    dropout=0.001,
    hole_cell=2,
    projector_m=0.04,
    region_share=0.15,
    region_size=(0.06, 0.2),
)


def sense_depth(
    depth_m: Float[Tensor, "B H W"], K: Float[Tensor, "B 3 3"], config: DepthSensorConfig, generator: Generator
) -> Float[Tensor, "B H W"]:
    """Simulate the sensor on true depth in metres. In input and output, 0 is no depth.

    ``K`` are the intrinsics of the images (of the crops, for crops). Angles of incidence are computed from the depth.
    Random numbers come from ``generator`` on the CPU.
    """
    valid = ~_holes(depth_m, K, config, generator)
    if config.projector_m > 0:
        valid &= ~_projector_shadow(depth_m, K[:, 0, 0].abs() * config.projector_m)
    if config.region_share > 0:
        valid &= ~_missing_regions(depth_m, config, generator)
    depth_m = depth_m * valid
    if config.lateral_px > 0:
        depth_m = _displace(depth_m, K, config, generator)
    return _add_noise_and_quantise(depth_m, config, generator)


def incidence_cosine(
    depth_m: Float[Tensor, "B H W"], K: Float[Tensor, "B 3 3"], du: Float[Tensor, "B H W"], dv: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Cosine of the angle of incidence, from the depth's change per pixel (``du``, ``dv``, metres).

    The normal of the surface z(x, y) (x, y, 1) over the rays (x, y, 1) is (z_x, z_y, -z - x z_x - y z_y), and its
    product with the ray is -z. 0 where there is no depth.
    """
    A, inverse = K[:, :2, :2, None, None], torch.linalg.inv(K)[..., None, None]
    height, width = depth_m.shape[1:]
    u, v = torch.arange(width).to(depth_m), torch.arange(height).to(depth_m)[:, None]
    x, y = (inverse[:, i, 0] * u + inverse[:, i, 1] * v + inverse[:, i, 2] for i in range(2))
    z_x = torch.addcmul(A[:, 0, 0] * du, A[:, 1, 0], dv)
    z_y = torch.addcmul(A[:, 1, 1] * dv, A[:, 0, 1], du)
    along = torch.addcmul(depth_m, x, z_x).addcmul_(y, z_y)
    squared = along.square_().addcmul_(z_x, z_x).addcmul_(z_y, z_y).mul_(torch.addcmul(y * y + 1, x, x))
    return squared.clamp_min_(1e-12).rsqrt_().mul_(depth_m)


def _holes(depth_m: Tensor, K: Tensor, config: DepthSensorConfig, generator: Generator) -> Bool[Tensor, "B H W"]:
    """Random holes at grazing incidence, beside edges, and anywhere."""
    if not (config.grazing_holes or config.edge_holes or config.dropout):
        return torch.zeros_like(depth_m, dtype=torch.bool)
    du, jump_u = _differences(depth_m, 2)
    dv, jump_v = _differences(depth_m, 1)
    edge = torch.maximum(jump_u, jump_v) > config.edge_jump_m
    grazing = incidence_cosine(depth_m, K, du, dv) < math.cos(math.radians(config.grazing_deg))
    probability = config.dropout + config.edge_holes * edge + config.grazing_holes * grazing
    cell = config.hole_cell
    count, height, width = depth_m.shape
    drawn = uniform(generator, 0.0, 1.0, count, -(-height // cell), -(-width // cell))
    drawn = drawn.repeat_interleave(cell, 1).repeat_interleave(cell, 2)[:, :height, :width]
    return drawn.to(depth_m) < probability


def _differences(depth_m: Tensor, dim: int) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """One-sided depth difference with the smaller magnitude, and the larger magnitude, per pixel in metres."""
    change = depth_m.diff(dim=dim)
    last = change.shape[dim] - 1
    before = torch.cat([change.narrow(dim, 0, 1), change], dim)
    after = torch.cat([change, change.narrow(dim, last, 1)], dim)
    smoother = torch.where(before.abs() < after.abs(), before, after)
    return smoother, torch.maximum(before.abs(), after.abs())


def _projector_shadow(depth_m: Tensor, baseline_px_m: Float[Tensor, "B"]) -> Bool[Tensor, "B H W"]:
    """Pixels in the shadow of a projector to the right of the camera, with rectified rows.

    A pixel at column u and depth z has the projector column u - f b / z. It is in shadow if a pixel further right has
    the same or a smaller projector column.
    """
    inverse = torch.where(depth_m > 0, 1 / depth_m.clamp_min(_MIN_DEPTH_M), 0.0)
    column = torch.arange(depth_m.shape[2]).to(depth_m) - baseline_px_m[:, None, None] * inverse
    leftmost = column.flip(2).cummin(2).values.flip(2)
    return leftmost < column - 1e-3


def _missing_regions(depth_m: Tensor, config: DepthSensorConfig, generator: Generator) -> Bool[Tensor, "B H W"]:
    """Masks with one ellipse in the central area of each chosen image."""
    count, height, width = depth_m.shape
    present = chance(generator, config.region_share, count)
    centre = uniform(generator, 0.25, 0.75, count, 2)
    half = uniform(generator, *config.region_size, count, 2) / 2
    chosen = present.nonzero()[:, 0]
    (cx, cy), (a, b) = centre[chosen, :, None, None].unbind(1), half[chosen, :, None, None].unbind(1)
    x, y = (torch.arange(width) + 0.5) / width, ((torch.arange(height) + 0.5) / height)[:, None]
    missing = torch.zeros(depth_m.shape, dtype=torch.bool)
    missing[chosen] = ((x - cx) / a).square() + ((y - cy) / b).square() < 1
    return missing.to(depth_m.device)


def _displace(depth_m: Tensor, K: Tensor, config: DepthSensorConfig, generator: Generator) -> Float[Tensor, "B H W"]:
    """Take each pixel's depth from a random neighbour; a fraction mixes it with its own depth where both exist."""
    height, width = depth_m.shape[1:]
    pixels = torch.linalg.det(K[:, :2, :2]).abs().sqrt() / config.focal_px  # crop pixels per sensor pixel
    reach = (config.lateral_px * pixels)[:, None, None]
    u, v = ((normal(generator, 1.0, *depth_m.shape).to(depth_m) * reach).round_() for _ in range(2))
    column = (u + torch.arange(width).to(u)).clamp_(0, width - 1)
    row = (v + torch.arange(height).to(v)[:, None]).clamp_(0, height - 1)
    moved = depth_m.flatten(1).gather(1, (row * width + column).long().flatten(1)).view_as(depth_m)
    if config.mix_share == 0:
        return moved
    weight = (uniform(generator, 0.0, 1.0 / config.mix_share, *depth_m.shape).to(depth_m)).clamp_(max=1.0)
    both = (moved > 0) & (depth_m > 0)
    return torch.where(both, torch.lerp(depth_m, moved, weight), moved)


def _add_noise_and_quantise(depth_m: Tensor, config: DepthSensorConfig, generator: Generator) -> Float[Tensor, "B H W"]:
    """Add noise, then quantise. The steps of a disparity camera are equal in 1/z."""
    measured = depth_m > 0
    if config.noise_m > 0 or config.noise_growth > 0:
        deviation = config.noise_m + config.noise_growth * (depth_m - config.noise_from_m).square()
        depth_m = (depth_m + deviation * _noise(depth_m, config.noise_window, generator)).clamp_min(_MIN_DEPTH_M)
    if config.disparity_step_m > 0:
        steps = (1 / (config.disparity_step_m * depth_m.clamp_min(_MIN_DEPTH_M))).round()
        depth_m = 1 / (config.disparity_step_m * steps)
    if config.fixed_step_m > 0:
        depth_m = (depth_m / config.fixed_step_m).round() * config.fixed_step_m
    return depth_m * measured


def _noise(like: Tensor, window: int, generator: Generator) -> Float[Tensor, "B H W"]:
    """Normal noise of unit standard deviation, averaged over a window."""
    count, height, width = like.shape
    noise = normal(generator, 1.0 / window, count, height + window - 1, width + window - 1).to(like)
    for dim, size in ((1, height), (2, width)):
        noise = torch.stack([noise.narrow(dim, i, size) for i in range(window)]).sum(0) if window > 1 else noise
    return noise
