"""Per-vertex maps of the body in the rest pose, for the borders of clothes, hair and facial features.

A border is a threshold on one of these maps, interpolated per pixel. So every map is smooth and monotonic where borders
may lie. Maps depend on the rest position and smoothly on skinning weights, never on the dominant bone of a vertex. All
maps are symmetric in x = 0.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.rig import Rig
from posebridge.rendering.attributes import unit, vertex_normals

_ARM = ("upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist", "finger", "metacarpal")
_EYE_RADIUS_M = 0.0155
_TRUNK_TO_LEG = (0.02, -0.16)  # heights between which cross-sections change from trunk to leg

# Contours of the mean adult's head in the body's frame, metres: (depth z, height y), back to front.
_HAIRLINE = (
    (-0.06, 0.640),
    (0.0, 0.672),
    (0.02, 0.695),
    (0.055, 0.705),
    (0.068, 0.715),
    (0.092, 0.778),
    (0.125, 0.806),
)
_JAW = ((0.04, 0.660), (0.06, 0.640), (0.09, 0.612), (0.12, 0.600))
_BEARD_TOP = ((0.045, 0.715), (0.065, 0.695), (0.09, 0.672), (0.13, 0.684))
# Front border of long hair, metres: (height y, depth z). Behind the trunk below, over the ears above.
_LONG_HAIR_FRONT = ((0.45, -0.035), (0.56, -0.03), (0.60, 0.0), (0.66, 0.045), (0.74, 0.06), (0.80, 0.085))


@dataclass(frozen=True)
class BodySurface:
    """Maps over the V vertices; lengths in metres, in the rest pose and the body's frame."""

    rest_m: Float[Tensor, "V 3"]  # rest position, the texture coordinate
    arm: Float[Tensor, "V"]  # 0 at the shoulder, 1 at the wrist, above 1 on the hand; negative outside the arm
    height: Float[Tensor, "V"]  # 1 at the base of the neck, 0 at the hips, -1 at the ankles; 1 on the arm
    across_m: Float[Tensor, "V 2"]  # position in the cross-section of arm, leg or trunk: outward, to the front
    scalp_m: Float[Tensor, "V"]  # distance above the mean hairline; negative on face, ears and neck
    long_hair_m: Float[Tensor, "V"]  # distance inside the border of long hair, over ears, neck and upper back
    beard_m: Float[Tensor, "V"]  # distance inside the border of the beard
    lips: Float[Tensor, "V"]  # 1 at the centre of the mouth, 0 at the border of the lips, negative outside
    brow: Float[Tensor, "V"]  # the same for the eyebrows
    eye: Float[Tensor, "V"]  # on the eyeballs, from 0.5 at the back to 1 at the pupil; 0 elsewhere
    palm: Float[Tensor, "V"]  # 1 on palms and soles, 0 elsewhere

    def stacked(self) -> Float[Tensor, "V 14"]:
        """All maps as columns, in the order of the fields."""
        columns = [getattr(self, f.name) for f in fields(self)]
        return torch.cat([column if column.ndim == 2 else column[:, None] for column in columns], dim=-1)


@lru_cache(maxsize=1)
def body_surface() -> BodySurface:
    """Maps of the body. Vertices correspond between all shapes."""
    rig = anny_body().rig
    at = {name: rig.heads_m[i] for i, name in enumerate(rig.bones)}
    folded = torch.cat([rig.vertices_m[:, :1].abs(), rig.vertices_m[:, 1:]], dim=-1)  # right side onto the left one
    arm_weight = _weight_of(rig, _ARM)
    arm = _arm(folded, at, arm_weight)
    height = _height(folded, at)
    arm_blend = ((arm + 0.04) / 0.08).clamp(0, 1) * (arm_weight > 0)
    beard_m, lips, brow = _face(folded, head_weight := _weight_of(rig, ("head", "neck")))
    return BodySurface(
        rest_m=rig.vertices_m,
        arm=arm,
        height=torch.lerp(height, torch.ones_like(height), arm_blend),
        across_m=_across(folded, at, arm, height, arm_blend),
        scalp_m=_scalp(folded, head_weight),
        long_hair_m=_long_hair(folded, arm_weight),
        beard_m=beard_m,
        lips=lips,
        brow=brow,
        eye=_eyes(rig, folded, at["eye.L"]),
        palm=_palms(rig, folded, at, arm),
    )


def _weight_of(rig: Rig, prefixes: tuple[str, ...]) -> Float[Tensor, "V"]:
    """Total skinning weight of the bones whose names have one of the prefixes."""
    chosen = [i for i, bone in enumerate(rig.bones) if bone.startswith(prefixes)]
    return rig.weights[:, chosen].sum(1)


def _arm(points_m: Tensor, at: dict[str, Tensor], arm_weight: Tensor) -> Float[Tensor, "V"]:
    """Coordinate along the arm. Level sets are planes: vertical at shoulder, bisecting the elbow, across the hand."""
    joints = torch.stack([at[f"{bone}.L"] for bone in ("upperarm01", "lowerarm01", "wrist", "finger3-1", "finger3-3")])
    bones = joints.diff(dim=0)
    lengths = bones.norm(dim=-1)
    along = unit(bones)
    cuts = torch.cat([along.new_tensor([[1.0, 0.0, 0.0]]), unit(along[:-1] + along[1:]), along[-1:]])
    ahead = ((points_m[:, None] - joints) * cuts).sum(-1)  # V joints: signed distance beyond each cut
    spans = (ahead[:, :-1] - ahead[:, 1:]).clamp(min=1e-6)
    place = ((ahead[:, :-1] / spans).clamp(0, 1) * lengths).sum(-1) / lengths[:2].sum()
    before = ahead[:, 0].clamp(max=0) / lengths[:2].sum()
    return torch.where(arm_weight > 0, place + before, torch.minimum(before, before.new_tensor(-0.02)))


def _height(points_m: Tensor, at: dict[str, Tensor]) -> Float[Tensor, "V"]:
    """Coordinate along trunk and leg. Level sets are horizontal at hip and ankle and bisect the knee."""
    hip, knee, ankle = (at[f"{bone}.L"] for bone in ("upperleg01", "lowerleg01", "foot"))
    thigh, shin = (knee - hip).norm(), (ankle - knee).norm()
    down = points_m.new_tensor([0.0, -1.0, 0.0])
    cuts = torch.stack([down, unit(unit(knee - hip) + unit(ankle - knee)), down])
    ahead = ((points_m[:, None] - torch.stack([hip, knee, ankle])) * cuts).sum(-1)
    spans = (ahead[:, :-1] - ahead[:, 1:]).clamp(min=1e-6)
    place = (ahead[:, :-1] / spans).clamp(0, 1) @ torch.stack([thigh, shin]) + ahead[:, 2].clamp(min=0)
    above = (points_m[:, 1] - hip[1]).clamp(min=0) / (at["neck01"][1] - hip[1])
    return above - place / (thigh + shin)


def _across(points_m: Tensor, at: dict[str, Tensor], arm: Tensor, height: Tensor, arm_blend: Tensor) -> Tensor:
    """Position in the cross-section, relative to the axis of trunk, leg or arm."""
    hip_to_ankle = torch.stack([at[f"{bone}.L"] for bone in ("upperleg01", "lowerleg01", "foot")])
    shoulder_to_wrist = torch.stack([at[f"{bone}.L"] for bone in ("upperarm01", "lowerarm01", "wrist")])
    high, low = _TRUNK_TO_LEG
    leg_blend = ((high - height) / (high - low)).clamp(0, 1)[:, None]
    body_m = (points_m - leg_blend * _on_limb(hip_to_ankle, -height))[:, [0, 2]]
    outward, front = unit(
        points_m.new_tensor([[0.70, 0.71, 0.0], [-0.35, 0.35, 0.87]])
    )  # perpendicular to the arm at rest
    from_axis_m = points_m - _on_limb(shoulder_to_wrist, arm)
    arm_m = torch.stack([from_axis_m @ outward, from_axis_m @ front], dim=-1)
    return torch.lerp(body_m, arm_m, arm_blend[:, None])


def _on_limb(joints: Float[Tensor, "3 3"], place: Float[Tensor, "V"]) -> Float[Tensor, "V 3"]:
    """Points of the polyline through three joints, at coordinates from 0 (first joint) to 1 (last joint)."""
    first, second = joints.diff(dim=0)
    bend = first.norm() / (first.norm() + second.norm())
    along_first, along_second = (place / bend).clamp(0, 1), ((place - bend) / (1 - bend)).clamp(0)
    return joints[0] + along_first[:, None] * first + along_second[:, None] * second


def _scalp(points_m: Tensor, head_weight: Tensor) -> Float[Tensor, "V"]:
    x, y, z = points_m.unbind(-1)
    above = y - _curve(_HAIRLINE, z) - 0.4 * (z > 0.09) * (x - 0.045).clamp(min=0)
    around_ear = 1 - torch.hypot((z - 0.030) / 0.030, (y - 0.716) / 0.038)
    ear = torch.minimum(x - _curve(((0.68, 0.068), (0.745, 0.072)), y), 0.03 * around_ear)
    return torch.minimum(above, -4 * ear) - 0.2 * (1 - head_weight)


def _long_hair(points_m: Tensor, arm_weight: Tensor) -> Float[Tensor, "V"]:
    x, y, z = points_m.unbind(-1)
    behind = _curve(_LONG_HAIR_FRONT, y) - z
    return torch.minimum(behind, 0.10 - x) - 0.2 * arm_weight


def _face(points_m: Tensor, head_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of beard, lips and brows."""
    x, y, z = points_m.unbind(-1)
    beard = torch.minimum(_curve(_BEARD_TOP, z) - y, y - _curve(_JAW, z))
    beard = torch.minimum(beard, z - 0.05) - 0.2 * (1 - head_weight)
    beside = 9.0 * (z < 0.09)  # excludes the back of the head
    lips = 1 - torch.hypot(x / 0.027, (y - 0.664) / 0.0095) - beside
    arch = 0.7565 + 0.006 * torch.cos((x - 0.034) / 0.02)
    brow = 1 - torch.hypot((x - 0.034) / 0.023, (y - arch) / 0.0055) - beside
    return beard, lips, brow


def _eyes(rig: Rig, points_m: Tensor, centre_m: Tensor) -> Float[Tensor, "V"]:
    """Map of the eyeballs. They are separate meshes, so the jump at their border is never interpolated."""
    is_eye = _weight_of(rig, ("eye",)) > 0.5
    forward = ((points_m[:, 2] - centre_m[2]) / _EYE_RADIUS_M).clamp(-1, 1)
    return torch.where(is_eye, 0.75 + 0.25 * forward, torch.zeros_like(forward))


def _palms(rig: Rig, points_m: Tensor, at: dict[str, Tensor], arm: Tensor) -> Float[Tensor, "V"]:
    normals = vertex_normals(rig.vertices_m[None], rig.faces)[0]
    normals = torch.cat([normals[:, :1] * torch.where(rig.vertices_m[:, :1] < 0, -1.0, 1.0), normals[:, 1:]], dim=-1)
    wrist, index, little = (at[f"{bone}.L"] for bone in ("wrist", "finger2-1", "finger5-1"))
    palmar = unit(torch.linalg.cross(little - wrist, index - wrist))
    on_hand = ((arm - 1.0) / 0.06).clamp(0, 1)
    on_sole = ((-0.965 - points_m[:, 1]) / 0.008).clamp(0, 1)
    return torch.sigmoid(6 * (normals @ palmar)) * on_hand + on_sole * torch.sigmoid(-6 * normals[:, 1])


def _curve(knots: tuple[tuple[float, float], ...], at: Tensor) -> Tensor:
    """Piecewise linear function through the knots, constant beyond the ends."""
    value = torch.full_like(at, knots[0][1])
    for (x0, y0), (x1, y1) in pairwise(knots):
        value = value + (y1 - y0) * ((at - x0) / (x1 - x0)).clamp(0, 1)
    return value
