"""Approximation of a posed body by capsules: line segments that move with the bones, with radii per subject.

No mesh is skinned, so hundreds of poses take the time of one mesh.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.bodies.anny_body import BodyModel
from posebridge.bodies.body_articulation import BodyAngles, body_rotations
from posebridge.bodies.rig import Rig, ShapedRig

_SAMPLES = 48  # vertices from which a limb's radius is measured
_MIN_WEIGHT = 0.5  # least skinning weight of a part's bones at a vertex of that part

_X, _Y, _Z = 0, 1, 2
_TORSO = (
    *("root", "spine05", "spine04", "spine03", "spine02", "spine01"),
    *("pelvis.L", "pelvis.R", "upperleg01.L", "upperleg01.R"),
)


@dataclass(frozen=True)
class _Box:
    """A part measured as the bounding box of the skin of ``bones`` at rest.

    Only skin between two heights (y, metres) of the mean adult counts.
    """

    carrier: str  # the bone that the capsule moves with
    bones: tuple[str, ...]
    along: int  # the axis of the box along the capsule
    across: int  # the axis of the box whose extent is the capsule's diameter
    heights_m: tuple[float, float] = (-9.0, 9.0)


@dataclass(frozen=True)
class _Limb:
    """A part between the heads of two bones; its radius is the median distance of the skin of ``bones``."""

    carrier: str
    end: str
    bones: tuple[str, ...]


_Part = _Box | _Limb
_TRUNK: dict[str, _Part] = {
    "pelvis": _Box("root", _TORSO, _X, _Z, (-0.06, 0.06)),
    "belly": _Box("spine04", _TORSO, _X, _Z, (0.10, 0.20)),
    "ribs": _Box("spine02", _TORSO, _X, _Z, (0.24, 0.33)),
    "chest": _Box("spine01", _TORSO, _X, _Z, (0.37, 0.45)),
    "head": _Box("head", ("head",), _Y, _X),
}
_ONE_SIDE: dict[str, _Part] = {
    "upper_arm": _Limb("upperarm02", "lowerarm01", ("upperarm02",)),
    "forearm": _Limb("lowerarm01", "wrist", ("lowerarm01", "lowerarm02")),
    "hand": _Limb("wrist", "finger3-2", ("wrist", *(f"metacarpal{k}" for k in range(1, 5)))),
    "thigh": _Limb("upperleg02", "lowerleg01", ("upperleg02",)),
    "shank": _Limb("lowerleg01", "foot", ("lowerleg01", "lowerleg02")),
    "foot": _Box("foot", ("foot",), _Z, _X),
    "toes": _Box("toe3-1", tuple(f"toe{toe}-{k}" for toe in range(1, 6) for k in (1, 2)), _X, _Y),
}
PARTS = (*_TRUNK, *(f"{side}_{part}" for side in ("left", "right") for part in _ONE_SIDE))


@dataclass(frozen=True)
class Capsules:
    """B bodies as C capsules each, in the order of ``PARTS``."""

    start_m: Float[Tensor, "B C 3"]
    end_m: Float[Tensor, "B C 3"]
    radius_m: Float[Tensor, "B C"]


def posed_capsules(model: BodyModel, angles: BodyAngles, coefficients: Float[Tensor, "B S"]) -> Capsules:
    """Capsules of posed bodies.

    ``coefficients`` holds B shapes. ``angles`` holds B K poses, the K poses of a body adjacent.
    """
    template = _template(model.rig)
    shaped = template.rig.shaped(coefficients)
    rest = template.capsules(shaped)
    K = len(angles.values) // len(coefficients)
    heads_rest = shaped.heads_m.repeat_interleave(K, dim=0)
    posed = replace(shaped, heads_m=heads_rest).posed(body_rotations(model, angles))
    R, head, head_rest = (x[:, template.carriers] for x in (posed.R_world_rest, posed.heads_m, heads_rest))

    def moved(point_m: Tensor) -> Tensor:
        return head + (R @ (point_m.repeat_interleave(K, dim=0) - head_rest)[..., None]).squeeze(-1)

    return Capsules(moved(rest.start_m), moved(rest.end_m), rest.radius_m.repeat_interleave(K, dim=0))


@dataclass(frozen=True)
class _Template:
    """Vertices that measure each part. ``rig`` holds only these, ordered by part."""

    rig: Rig
    parts: tuple[_Part, ...]
    counts: tuple[int, ...]
    carriers: Int[Tensor, "C"]
    ends: Int[Tensor, "C"]

    def capsules(self, shaped: ShapedRig) -> Capsules:
        """Capsules of bodies in the rest pose."""
        measured = []
        for c, (part, points) in enumerate(zip(self.parts, shaped.vertices_m.split(self.counts, dim=1), strict=True)):
            if isinstance(part, _Limb):
                start, end = shaped.heads_m[:, self.carriers[c]], shaped.heads_m[:, self.ends[c]]
                along = torch.nn.functional.normalize(end - start, dim=-1)
                off = points - start[:, None]
                radius = torch.linalg.cross(off, along[:, None].expand_as(off)).norm(dim=-1).median(1).values
            else:
                low, high = points.amin(1), points.amax(1)
                radius = (high - low)[:, part.across] / 2
                half = torch.zeros_like(low)
                half[:, part.along] = ((high - low)[:, part.along] / 2 - radius).clamp_min(0)
                start, end = (low + high) / 2 - half, (low + high) / 2 + half
            measured.append((start, end, radius))
        start, end, radius = (torch.stack(values, dim=1) for values in zip(*measured, strict=True))
        return Capsules(start, end, radius)


@lru_cache(maxsize=4)
def _template(rig: Rig) -> _Template:
    parts: list[_Part] = list(_TRUNK.values())
    for side in ("L", "R"):
        parts += [_on_side(part, side) for part in _ONE_SIDE.values()]
    per_part = [_measuring_vertices(rig, part) for part in parts]
    vertices = torch.cat(per_part)
    reduced = replace(
        rig,
        vertices_m=rig.vertices_m[vertices],
        vertex_basis_m=rig.vertex_basis_m[:, vertices],
        weights=rig.weights[vertices],
    )

    def index(names: list[str]) -> Tensor:
        return torch.tensor([rig.bones.index(name) for name in names], device=rig.device)

    ends = [part.end if isinstance(part, _Limb) else part.carrier for part in parts]
    counts = tuple(len(vertices) for vertices in per_part)
    return _Template(reduced, tuple(parts), counts, index([part.carrier for part in parts]), index(ends))


def _on_side(part: _Part, side: str) -> _Part:
    bones = tuple(f"{bone}.{side}" for bone in part.bones)
    if isinstance(part, _Limb):
        return _Limb(f"{part.carrier}.{side}", f"{part.end}.{side}", bones)
    return replace(part, carrier=f"{part.carrier}.{side}", bones=bones)


def _measuring_vertices(rig: Rig, part: _Part) -> Int[Tensor, "k"]:
    """Evenly chosen skin vertices of a limb, or the six extreme vertices of a box."""
    is_skin = rig.weights[:, [rig.bones.index(bone) for bone in part.bones]].sum(1) > _MIN_WEIGHT
    if isinstance(part, _Limb):
        skin = is_skin.nonzero().squeeze(1)
        return skin[:: max(1, len(skin) // _SAMPLES)]
    low, high = part.heights_m
    is_skin = is_skin & (rig.vertices_m[:, _Y] > low) & (rig.vertices_m[:, _Y] < high)
    skin = is_skin.nonzero().squeeze(1)
    return torch.cat([skin[rig.vertices_m[skin].argmin(0)], skin[rig.vertices_m[skin].argmax(0)]])
