"""Plausibility of body poses: penetration between parts, and balance of the centre of mass.

Both are computed on capsules (see ``body_capsules``), which makes it cheap to compare many candidates.
"""

from functools import lru_cache
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.synthesis.body_capsules import PARTS, Capsules

_GROUND_M = 0.05  # points up to this height above the lowest one touch the ground
_DIRECTIONS = 128  # that sample the support hull; its size is overestimated by at most 1/80

# Parts that touch in any pose, at joints or in folds. The parts of the trunk are neighbours of each other as well.
_NEIGHBOURS = {
    *(("upper_arm", part) for part in ("chest", "ribs", "forearm", "hand")),
    *(("thigh", part) for part in ("pelvis", "belly", "shank", "foot", "toes")),
    *(("shank", part) for part in ("pelvis", "foot", "toes")),
    *(("foot", part) for part in ("pelvis", "toes")),
    ("toes", "pelvis"),
    ("forearm", "hand"),
}

# Mass fraction, and position of the part's centre of mass along the capsule (0 to 1). De Leva 1996, Table 4, mean of
# women and men. Upper, middle and lower trunk are chest, ribs with belly, and pelvis. Positions refer to the capsules.
_MASS = {
    "pelvis": (0.1182, 0.5),
    "belly": (0.0775, 0.5),
    "ribs": (0.0774, 0.5),
    "chest": (0.1570, 0.5),
    "head": (0.0681, 0.5),
    "upper_arm": (0.0263, 0.39),
    "forearm": (0.0150, 0.46),
    "hand": (0.0058, 0.58),
    "thigh": (0.1447, 0.20),
    "shank": (0.0457, 0.44),
    "foot": (0.0133, 0.5),
    "toes": (0.0, 0.5),
}


@lru_cache(maxsize=1)
def pairs() -> tuple[tuple[str, str], ...]:
    """Pairs of parts that must not penetrate each other."""
    return tuple((a, b) for a, b in combinations(PARTS, 2) if not _are_neighbours(a, b))


def penetration_m(bodies: Capsules) -> Float[Tensor, "B P"]:
    """Penetration depth in metres of each pair of ``pairs()``; 0 without contact."""
    a, b = _pair_index().unbind(1)
    distance = segment_distance(bodies.start_m[:, a], bodies.end_m[:, a], bodies.start_m[:, b], bodies.end_m[:, b])
    return (bodies.radius_m[:, a] + bodies.radius_m[:, b] - distance).clamp_min(0)


def centre_of_mass_m(bodies: Capsules) -> Float[Tensor, "B 3"]:
    """Centre of mass, from the mass fractions of de Leva 1996."""
    mass_frac, position = bodies.start_m.new_tensor([_MASS[_kind(part)] for part in PARTS]).unbind(1)
    centres = torch.lerp(bodies.start_m, bodies.end_m, position[:, None])
    return (centres * mass_frac[:, None]).sum(1) / mass_frac.sum()


def support_margin_m(bodies: Capsules) -> Float[Tensor, "B"]:
    """Distance of the centre of mass from the border of the support hull, in the horizontal plane (y is up).

    Positive inside the convex hull of the ground contacts, negative outside.
    """
    ends = torch.cat([bodies.start_m, bodies.end_m], dim=1)
    radius = bodies.radius_m.repeat(1, 2)
    height = ends[..., 1] - radius
    touches = height < height.amin(1, keepdim=True) + _GROUND_M
    angle = torch.arange(_DIRECTIONS) * (2 * torch.pi / _DIRECTIONS)
    directions = torch.stack([angle.cos(), torch.zeros(_DIRECTIONS), angle.sin()]).to(ends)
    reach = torch.where(touches[..., None], ends @ directions + radius[..., None], -torch.inf).amax(1)
    return (reach - centre_of_mass_m(bodies) @ directions).amin(1)


def segment_distance(
    a0: Float[Tensor, "*n 3"], a1: Float[Tensor, "*n 3"], b0: Float[Tensor, "*n 3"], b1: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n"]:
    """Distance between the segments a0 a1 and b0 b1 (Ericson 2005, section 5.1.9)."""
    u, v, w = a1 - a0, b1 - b0, a0 - b0
    uu, vv, uv = ((x * y).sum(-1) for x, y in ((u, u), (v, v), (u, v)))
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    tiny = 1e-9
    s = ((uv * vw - uw * vv) / (uu * vv - uv * uv).clamp_min(tiny * tiny)).clamp(0, 1)
    t = ((uv * s + vw) / vv.clamp_min(tiny)).clamp(0, 1)
    s = ((uv * t - uw) / uu.clamp_min(tiny)).clamp(0, 1)
    return (w + s[..., None] * u - t[..., None] * v).norm(dim=-1)


@lru_cache(maxsize=1)
def _pair_index() -> Int[Tensor, "P 2"]:
    return torch.tensor([[PARTS.index(a), PARTS.index(b)] for a, b in pairs()])


def _are_neighbours(a: str, b: str) -> bool:
    sides = {part.partition("_")[0] for part in (a, b)} & {"left", "right"}
    kinds = (_kind(a), _kind(b))
    return not sides or (len(sides) == 1 and (kinds in _NEIGHBOURS or kinds[::-1] in _NEIGHBOURS))


def _kind(part: str) -> str:
    """Name of the part without its side."""
    return part.removeprefix("left_").removeprefix("right_")
