"""Rotation axes of the bones of Anny's body, and the distribution of joint angles over bones.

In the anatomical position, the long axis and the hinge axis of a segment are parallel to the body's axes. ``_onto``
computes the rotation Z that brings a segment there from the rest pose of the mean adult. A bone of segment b whose
parent belongs to segment p is rotated by Z_p^T A Z_b, where A is the anatomical rotation of the joint between them.
Along a limb the inner Z cancel, and the rotation of the segment in the world is A_1 A_2 ... A_b Z_b. Constants are
measured on the left side.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

_EYE = torch.eye(3).double()
_LEFT, _UP, _FRONT = _EYE
_SPINE = {"spine05": 0.10, "spine04": 0.25, "spine03": 0.25, "spine02": 0.25, "spine01": 0.15}
_NECK = {"neck01": 0.25, "neck02": 0.25, "neck03": 0.20, "head": 0.30}
_KNUCKLES = (1.0, 1.1, 0.7)  # flexion of a finger's joints relative to the knuckle's
_THUMB = (0.5, 0.9, 1.1)
_TWIST_BEFORE_WRIST = 0.65  # fraction of pronation in the forearm's distal half; the rest is in the wrist

AxisByAngle = Mapping[str, Float[Tensor, "3"]]  # rotation vector per radian of an angle; "" is a constant term


@dataclass(frozen=True)
class BodyJoints:
    """Linear maps from joint angles to rotation vectors. A bone's rotation is ``before`` @ factors @ ``after``.

    A factor holds the indices of the bones that it rotates, and the matrix from angles, followed by 1, to their
    rotation vectors.
    """

    before: Float[Tensor, "N 3 3"]
    after: Float[Tensor, "N 3 3"]
    factors: tuple[tuple[Int[Tensor, "_"], Float[Tensor, "A_plus_1 _"]], ...]
    rest_elevation: float  # of the upper arm, in radians

    def rotations(self, values: Float[Tensor, "B A"]) -> Float[Tensor, "B N 3 3"]:
        """One rotation per bone, in the axes of the rest pose."""
        rotations = self.before.to(values).expand(len(values), -1, -1, -1)
        values = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
        for bones, vectors in self.factors:
            index = bones.to(values.device)
            turn = roma.rotvec_to_rotmat((values @ vectors.to(values)).unflatten(1, (-1, 3)))
            rotations = rotations.index_copy(1, index, rotations[:, index] @ turn)
        return rotations @ self.after.to(values)


@dataclass(frozen=True)
class _Table:
    """Builder of ``BodyJoints``, bone by bone."""

    bones: tuple[str, ...]
    columns: Mapping[str, int]
    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    turns: dict[str, tuple[AxisByAngle, ...]] = field(default_factory=dict)

    def set_pair(self, bone: str, *turns: AxisByAngle, before: Tensor = _EYE, after: Tensor = _EYE) -> None:
        """Sets a bone of the left side and its mirror image, whose rotation vectors are mirrored and negated."""
        for side, across in (("left", 1.0), ("right", -1.0)):
            reflection = torch.tensor([across, 1.0, 1.0]).double()
            name = f"{bone}.{side[0].upper()}"
            self.before[name], self.after[name] = (reflection[:, None] * R * reflection for R in (before, after))
            self.turns[name] = tuple(
                {angle and f"{side}_{angle}": across * reflection * axis for angle, axis in terms.items()}
                for terms in turns
            )

    def joints(self, rest_elevation: float) -> BodyJoints:
        """The table as tensors."""
        before, after = (
            torch.stack([table.get(bone, _EYE) for bone in self.bones]).float() for table in (self.before, self.after)
        )
        factors = []
        for k in range(max(map(len, self.turns.values()))):
            turned = [bone for bone in self.bones if len(self.turns.get(bone, ())) > k]
            vectors = torch.zeros(len(self.columns) + 1, len(turned), 3)
            for n, bone in enumerate(turned):
                for angle, axis in self.turns[bone][k].items():
                    vectors[self.columns[angle] if angle else -1, n] += axis.float()
            factors.append((torch.tensor([self.bones.index(bone) for bone in turned]), vectors.flatten(1)))
        return BodyJoints(before, after, tuple(factors), rest_elevation)


@lru_cache(maxsize=2)
def body_joints(bones: tuple[str, ...], heads_m: Float[Tensor, "N 3"], angle_names: tuple[str, ...]) -> BodyJoints:
    """The joints of a body with these rest positions of its bones."""
    table = _Table(bones, {name: i for i, name in enumerate(angle_names)})
    heads = dict(zip(bones, heads_m.double().cpu(), strict=True))

    def bone(start: str, end: str) -> Tensor:
        return torch.nn.functional.normalize(heads[f"{end}.L"] - heads[f"{start}.L"], dim=0)

    _trunk(table)
    _leg(table, bone)
    _arm(table, bone)
    return table.joints(torch.acos(-bone("upperarm01", "lowerarm01") @ _UP).item())


def _trunk(table: _Table) -> None:
    table.turns["root"] = ({"pelvis_tilt": _LEFT, "pelvis_list": -_FRONT},)
    for part, shares in (("spine", _SPINE), ("neck", _NECK)):
        for bone, share in shares.items():
            axes = {f"{part}_flexion": share * _LEFT, f"{part}_side": -share * _FRONT, f"{part}_turn": share * _UP}
            table.turns[bone] = (axes,)


def _leg(table: _Table, bone: Callable[[str, str], Tensor]) -> None:
    """Thigh and shank are rotated straight down; the foot keeps its rest orientation."""
    thigh = _swing_down(bone("upperleg01", "lowerleg01"))
    shank = _swing_down(bone("lowerleg01", "foot"))
    half_turn = {"hip_turn": -0.5 * _UP}
    table.set_pair("upperleg01", {"hip_flexion": -_LEFT}, {"hip_abduction": _FRONT}, half_turn, after=thigh)
    table.set_pair("upperleg02", half_turn, before=thigh.T, after=thigh)
    table.set_pair("lowerleg01", {"knee_flexion": _LEFT}, before=thigh.T, after=shank)
    table.set_pair("foot", {"ankle_flexion": -_LEFT, "ankle_inversion": -_FRONT}, before=shank.T)
    for toe in range(1, 6):
        table.set_pair(f"toe{toe}-1", {"toes_extension": -_LEFT})


def _arm(table: _Table, bone: Callable[[str, str], Tensor]) -> None:
    """Twists of upper arm and forearm are distributed over their two bones each."""
    upper, fore = bone("upperarm01", "lowerarm01"), bone("lowerarm01", "wrist")
    elbow = torch.linalg.cross(upper, fore)
    Z_upper, Z_fore = _onto(upper, elbow, -_LEFT), _onto(fore, elbow, -_LEFT)
    along, across = bone("wrist", "finger3-1"), bone("finger5-1", "finger2-1")
    Z_hand = _onto(along, torch.linalg.cross(along, across), -_LEFT)  # the palm faces the thigh

    swing = _swing_down(upper)
    rest = _twist_about_up(Z_upper @ swing.T)
    half_turn = {"shoulder_turn": -0.5 * _UP, "": 0.5 * rest * _UP}
    table.set_pair("upperarm01", {"shoulder_flexion": -_LEFT, "shoulder_abduction": _FRONT}, half_turn, after=swing)
    table.set_pair("upperarm02", half_turn, before=swing.T, after=swing)
    table.set_pair("lowerarm01", {"elbow_flexion": -_LEFT}, before=Z_upper.T, after=Z_fore)

    s, rest = _TWIST_BEFORE_WRIST, _twist_about_up(Z_fore @ Z_hand.T)
    far_turn = {"forearm_turn": -s * _UP, "": -s * rest * _UP}
    last_turn = {"forearm_turn": -(1 - s) * _UP, "": s * rest * _UP}
    wrist = {"wrist_flexion": -_FRONT, "wrist_deviation": -_LEFT}
    table.set_pair("lowerarm02", far_turn, before=Z_fore.T, after=Z_fore)
    table.set_pair("wrist", last_turn, wrist, before=Z_fore.T, after=Z_hand)
    for finger in range(1, 6):
        angle = {1: "thumb_curl", 2: "index_curl"}.get(finger, "fingers_curl")
        axis = -_FRONT if finger > 1 else 0.6 * _LEFT - 0.8 * _FRONT
        for joint, share in enumerate(_THUMB if finger == 1 else _KNUCKLES, 1):
            table.set_pair(f"finger{finger}-{joint}", {angle: share * axis}, before=Z_hand.T, after=Z_hand)


def _swing_down(along: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The shortest rotation from a direction to straight down."""
    axis = torch.linalg.cross(along, -_UP)
    sine = axis.norm()
    return roma.rotvec_to_rotmat(axis / sine * torch.atan2(sine, -along @ _UP))


def _onto(along: Float[Tensor, "3"], side: Float[Tensor, "3"], target_side: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The rotation that takes ``along`` straight down and ``side`` as close to ``target_side`` as possible."""

    def frame(a: Tensor, b: Tensor) -> Tensor:
        b = torch.nn.functional.normalize(b - (a @ b) * a, dim=0)
        return torch.stack([a, b, torch.linalg.cross(a, b)], dim=1)

    return frame(-_UP, target_side) @ frame(along, side).T


def _twist_about_up(R: Float[Tensor, "3 3"]) -> float:
    """Twist about y, in radians, of the swing-twist decomposition of a rotation."""
    _, y, _, w = roma.rotmat_to_unitquat(R).tolist()
    return 2 * math.atan2(y, w)
