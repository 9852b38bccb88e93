"""What a depth camera makes of true depth: holes, ragged and mixed outlines, noise, steps.

The effects follow measurements of structured-light and time-of-flight cameras; each is switched off by a zero.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import chance, normal, uniform
from posebridge.errors import InputError

_NEAREST_M = 0.05  # no sensor of this kind measures anything closer


@dataclass(frozen=True)
class DepthSensorConfig:
    """A depth camera. Lengths in pixels are the sensor's own, unless said otherwise; shares are in [0, 1].

    Raises ``InputError`` for a value out of its range.
    """

    focal_px: float = 585.0  # of the sensor: a crop's own focal length tells how many of its pixels one of these is
    disparity_step_m: float = 0.0  # step of the depth at one metre, growing with the depth's square
    fixed_step_m: float = 0.0
    # Deviation of the depth z: noise_m + noise_growth (z - noise_from_m)^2 (Nguyen, Izadi and Lovell 2012, Eq. 2).
    noise_m: float = 0.0
    noise_growth: float = 0.0  # 1/m
    noise_from_m: float = 0.4
    noise_window: int = 1  # noise is a mean over so many crop pixels a side, as correlation windows make it
    lateral_px: float = 0.0  # deviation of the place from which a pixel takes its depth (Nguyen et al., Eq. 1)
    mix_share: float = 0.0  # of the pixels, those that take a mean of both depths: flying pixels between surfaces
    grazing_deg: float = 80.0  # surfaces seen at a larger angle to their normal are lost,
    grazing_holes: float = 0.0  # with this probability
    edge_jump_m: float = 0.015  # pixels beside a larger jump of the depth, or beside a hole, are lost,
    edge_holes: float = 0.0  # with this probability
    dropout: float = 0.0  # probability of a hole anywhere
    hole_cell: int = 1  # such holes come in cells of so many crop pixels a side
    projector_m: float = 0.0  # projector to the right, in the picture: what it doesn't light has no depth
    region_share: float = 0.0  # of images with one missing region, an ellipse
    region_size: tuple[float, float] = (0.1, 0.3)  # its diameters, of the image's side

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
            raise InputError(f"region_size={self.region_size} of a depth sensor is no range: give 0 < low <= high")


CLEAN = DepthSensorConfig()
# Steps and growth of the noise of the first Kinect (Khoshelham and Elberink 2012; Nguyen et al. 2012), half its
# baseline, and the flying pixels of time of flight. Nguyen's noise includes the error of the steps, so its constant is
# lowered: 5 x 5 pixels of a hand leave a plane by 0.8 mm here (median), by 0.6 mm in a frame of NYU.
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
    """The sensor's picture of true depth; 0 stands for nothing there, and in the outcome for nothing measured.

    ``K`` is the camera of the picture, a crop's for a crop. Where a surface leans away is told from the depth itself.
    Draws come from ``generator``, on the CPU.
    """
    kept = ~_lost(depth_m, K, config, generator)
    if config.projector_m > 0:
        kept &= ~_unlit(depth_m, K[:, 0, 0].abs() * config.projector_m)
    if config.region_share > 0:
        kept &= ~_regions(depth_m, config, generator)
    depth_m = depth_m * kept
    if config.lateral_px > 0:
        depth_m = _displace(depth_m, K, config, generator)
    return _measure(depth_m, config, generator)


def incidence_cosine(
    depth_m: Float[Tensor, "B H W"], K: Float[Tensor, "B 3 3"], du: Float[Tensor, "B H W"], dv: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Cosine of the angle between the line of sight and the surface's normal, from the depth's change per pixel.

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


def _lost(depth_m: Tensor, K: Tensor, config: DepthSensorConfig, generator: Generator) -> Bool[Tensor, "B H W"]:
    """Holes by chance: on surfaces that lean away, beside edges, and anywhere."""
    if not (config.grazing_holes or config.edge_holes or config.dropout):
        return torch.zeros_like(depth_m, dtype=torch.bool)
    du, jump_u = _steps(depth_m, 2)
    dv, jump_v = _steps(depth_m, 1)
    edge = torch.maximum(jump_u, jump_v) > config.edge_jump_m
    grazing = incidence_cosine(depth_m, K, du, dv) < math.cos(math.radians(config.grazing_deg))
    probability = config.dropout + config.edge_holes * edge + config.grazing_holes * grazing
    cell = config.hole_cell
    count, height, width = depth_m.shape
    drawn = uniform(generator, 0.0, 1.0, count, -(-height // cell), -(-width // cell))
    drawn = drawn.repeat_interleave(cell, 1).repeat_interleave(cell, 2)[:, :height, :width]
    return drawn.to(depth_m) < probability


def _steps(depth_m: Tensor, dim: int) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """The depth's change per pixel on the smoother side, which stays on the surface; and the larger jump, unsigned."""
    change = depth_m.diff(dim=dim)
    last = change.shape[dim] - 1
    before = torch.cat([change.narrow(dim, 0, 1), change], dim)
    after = torch.cat([change, change.narrow(dim, last, 1)], dim)
    smoother = torch.where(before.abs() < after.abs(), before, after)
    return smoother, torch.maximum(before.abs(), after.abs())


def _unlit(depth_m: Tensor, baseline_px_m: Float[Tensor, "B"]) -> Bool[Tensor, "B H W"]:
    """Points that a projector to the right of the camera doesn't reach, its rows being the camera's.

    It sees a point at the column u - f b / z. A point is in the shadow of one further right in the picture that stands
    at the same column or further left for the projector.
    """
    inverse = torch.where(depth_m > 0, 1 / depth_m.clamp_min(_NEAREST_M), 0.0)
    column = torch.arange(depth_m.shape[2]).to(depth_m) - baseline_px_m[:, None, None] * inverse
    leftmost = column.flip(2).cummin(2).values.flip(2)
    return leftmost < column - 1e-3


def _regions(depth_m: Tensor, config: DepthSensorConfig, generator: Generator) -> Bool[Tensor, "B H W"]:
    """One ellipse a chosen image, its centre in the middle of the image."""
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
    """Each pixel's depth from somewhere near; a share of pixels mixes it with its own, where both were measured."""
    height, width = depth_m.shape[1:]
    pixels = torch.linalg.det(K[:, :2, :2]).abs().sqrt() / config.focal_px  # crop pixels of one of the sensor's
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


def _measure(depth_m: Tensor, config: DepthSensorConfig, generator: Generator) -> Float[Tensor, "B H W"]:
    """Noise, then steps. A disparity camera's steps are equal in 1/z."""
    measured = depth_m > 0
    if config.noise_m > 0 or config.noise_growth > 0:
        deviation = config.noise_m + config.noise_growth * (depth_m - config.noise_from_m).square()
        depth_m = (depth_m + deviation * _noise(depth_m, config.noise_window, generator)).clamp_min(_NEAREST_M)
    if config.disparity_step_m > 0:
        steps = (1 / (config.disparity_step_m * depth_m.clamp_min(_NEAREST_M))).round()
        depth_m = 1 / (config.disparity_step_m * steps)
    if config.fixed_step_m > 0:
        depth_m = (depth_m / config.fixed_step_m).round() * config.fixed_step_m
    return depth_m * measured


def _noise(like: Tensor, window: int, generator: Generator) -> Float[Tensor, "B H W"]:
    """Normal numbers of unit deviation, correlated over a window."""
    count, height, width = like.shape
    noise = normal(generator, 1.0 / window, count, height + window - 1, width + window - 1).to(like)
    for dim, size in ((1, height), (2, width)):
        noise = torch.stack([noise.narrow(dim, i, size) for i in range(window)]).sum(0) if window > 1 else noise
    return noise
