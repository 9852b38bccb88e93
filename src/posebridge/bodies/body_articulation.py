"""Bone rotations from the anatomical joint angles of a body.

Joints rotate in the axes of the anatomical position (standing straight, arms hanging, palms to the thighs), in which
all segments are parallel to the body's axes. ``body_joints`` accounts for the rest pose of the mesh.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.anny_body import BodyModel
from posebridge.bodies.body_joints import body_joints
from posebridge.bodies.rig import PosedRig
from posebridge.errors import InputError

# Degrees. Active range of motion of healthy adults (American Academy of Orthopaedic Surgeons 1965). It is extended
# where sitting, squatting or the other hand move a joint passively; the active range is then in the comment. Angles
# of digits are relative to the mesh's slightly bent digits.
_CENTRAL_LIMITS_DEG = {
    "pelvis_tilt": (-95.0, 95.0),  # of the body, forwards, relative to gravity (y is up)
    "pelvis_list": (-95.0, 95.0),  # of the body, to its left
    "spine_flexion": (-25.0, 80.0),
    "spine_side": (-35.0, 35.0),  # to the left
    "spine_turn": (-45.0, 45.0),  # to the left
    "neck_flexion": (-45.0, 45.0),
    "neck_side": (-45.0, 45.0),
    "neck_turn": (-60.0, 60.0),
}
_SIDE_LIMITS_DEG = {
    "shoulder_flexion": (-60.0, 175.0),  # forwards and up
    "shoulder_abduction": (-75.0, 175.0),  # outwards and up; below 0 across the chest, if raised
    "shoulder_turn": (-90.0, 80.0),  # inwards, about the upper arm; 70 actively
    "elbow_flexion": (0.0, 150.0),
    "forearm_turn": (-80.0, 80.0),  # pronation
    "wrist_flexion": (-70.0, 80.0),  # towards the palm
    "wrist_deviation": (-30.0, 20.0),  # towards the thumb
    "index_curl": (-15.0, 85.0),  # of the knuckle; the other joints of the finger bend in proportion
    "fingers_curl": (-15.0, 85.0),  # middle finger to pinky
    "thumb_curl": (-20.0, 45.0),
    "hip_flexion": (-30.0, 125.0),  # 120 actively
    "hip_abduction": (-30.0, 50.0),  # 45 actively
    "hip_turn": (-70.0, 45.0),  # inwards, about the thigh; 45 outwards actively
    "knee_flexion": (0.0, 150.0),  # 135 actively
    "ankle_flexion": (-50.0, 30.0),  # toes up; 20 actively
    "ankle_inversion": (-15.0, 35.0),  # the sole inwards
    "toes_extension": (-30.0, 70.0),  # toes up
}
BODY_ANGLE_LIMITS_DEG: dict[str, tuple[float, float]] = _CENTRAL_LIMITS_DEG | {
    f"{side}_{name}": limits for side in ("left", "right") for name, limits in _SIDE_LIMITS_DEG.items()
}
BODY_ANGLE_NAMES = tuple(BODY_ANGLE_LIMITS_DEG)
_COLUMN = {name: i for i, name in enumerate(BODY_ANGLE_NAMES)}
_SETTING_DEG = 30.0  # elevation of the arm up to which the scapula doesn't move
_GIRDLE_RISE = 0.22  # radians per radian of elevation
_GIRDLE_REACH = 0.2  # radians for an arm pointing straight ahead
_SHOULDER_SWING_DEG = 175.0  # maximum norm of flexion and abduction


def _mirror_of(name: str) -> tuple[int, float]:
    side, _, joint = name.partition("_")
    if side in ("left", "right"):
        return _COLUMN[f"{'right' if side == 'left' else 'left'}_{joint}"], 1.0
    return _COLUMN[name], 1.0 if name.endswith(("flexion", "tilt")) else -1.0


# For each angle the column of its mirror image and the sign that it takes.
MIRROR: tuple[tuple[int, float], ...] = tuple(_mirror_of(name) for name in BODY_ANGLE_NAMES)


@dataclass(frozen=True)
class BodyAngles:
    """Joint angles of B bodies in radians; zero stands straight with the arms at the sides and palms to the thighs.

    Columns are ``BODY_ANGLE_NAMES``. Flexion and abduction of the shoulder are components of one rotation vector, so
    their order doesn't matter. The same holds for the three angles of spine and neck, and for the two of pelvis, wrist
    and ankle. The hip first abducts, then flexes, so a spread leg stays spread as it is raised. A turn is about the
    limb's length and is applied first. The limits are convex: a blend of two poses within limits is within limits.
    """

    values: Float[Tensor, "B A"]

    @classmethod
    def from_degrees(cls, poses: Sequence[Mapping[str, float]]) -> "BodyAngles":
        """Poses from angles in degrees by name; others are zero. Raises ``InputError`` for an unknown name."""
        values = torch.zeros(len(poses), len(BODY_ANGLE_NAMES))
        for row, pose in zip(values, poses, strict=True):
            for name, degrees in pose.items():
                if name not in _COLUMN:
                    raise InputError(f"a body has no angle {name!r}; its angles are {', '.join(BODY_ANGLE_NAMES)}")
                row[_COLUMN[name]] = math.radians(degrees)
        return cls(values)

    def angle(self, name: str) -> Float[Tensor, "B"]:
        """One angle of all bodies."""
        return self.values[:, _COLUMN[name]]

    def mirrored(self) -> "BodyAngles":
        """The mirrored poses: left and right exchanged."""
        columns, signs = zip(*MIRROR, strict=True)
        return BodyAngles(self.values[:, list(columns)] * self.values.new_tensor(signs))

    def clamped(self) -> "BodyAngles":
        """The angles clamped to ``BODY_ANGLE_LIMITS_DEG``, and the swing of the arms to ``_SHOULDER_SWING_DEG``."""
        low, high = torch.deg2rad(self.values.new_tensor(list(BODY_ANGLE_LIMITS_DEG.values()))).unbind(-1)
        values = self.values.clamp(low, high)
        for side in ("left", "right"):
            columns = [_COLUMN[f"{side}_shoulder_{angle}"] for angle in ("flexion", "abduction")]
            swing = values[:, columns].norm(dim=1, keepdim=True)
            values[:, columns] *= (math.radians(_SHOULDER_SWING_DEG) / swing.clamp_min(1e-6)).clamp_max(1.0)
        return BodyAngles(values)


def pose_body(model: BodyModel, angles: BodyAngles, coefficients: Float[Tensor, "B S"]) -> PosedRig:
    """B posed bodies with the given shape coefficients."""
    return model.rig.shaped(coefficients).posed(body_rotations(model, angles))


def body_rotations(model: BodyModel, angles: BodyAngles) -> Float[Tensor, "B N 3 3"]:
    """One rotation per bone, in the axes of the rest pose, for ``ShapedRig.posed``.

    The shoulder girdle follows the arm, whose angles are relative to the trunk; see ``_girdle_rotvec``.
    """
    bones = model.rig.bones
    joints = body_joints(bones, model.rig.heads_m, BODY_ANGLE_NAMES)
    rotations = joints.rotations(angles.values)
    for side in ("left", "right"):
        index = torch.tensor(
            [bones.index(f"{bone}.{side[0].upper()}") for bone in ("clavicle", "shoulder01", "upperarm01")]
        )
        girdle = _girdle_rotvec(angles, side, joints.rest_elevation)
        half, back = roma.rotvec_to_rotmat(girdle / 2), roma.rotvec_to_rotmat(-girdle)
        arm = back @ rotations[:, index[2]]
        rotations = rotations.index_copy(1, index.to(rotations.device), torch.stack([half, half, arm], dim=1))
    return rotations


def _girdle_rotvec(angles: BodyAngles, side: str, rest_elevation: float) -> Float[Tensor, "B 3"]:
    """Rotation vector of clavicle and scapula relative to the rest pose, in which the arms are half raised.

    Above ``_SETTING_DEG`` of elevation the girdle rises with the arm (scapulohumeral rhythm; Inman, Saunders and Abbott
    1944, halved to suit the mesh), and it follows the arm forwards.
    """
    flexion, abduction = angles.angle(f"{side}_shoulder_flexion"), angles.angle(f"{side}_shoulder_abduction")
    elevation = torch.stack([flexion, abduction], dim=-1).norm(dim=-1)
    setting = math.radians(_SETTING_DEG)
    lift = _GIRDLE_RISE * ((elevation - setting).clamp_min(0) - max(rest_elevation - setting, 0.0))
    forwards = flexion * torch.sinc(elevation / math.pi)  # of the unit vector along the upper arm
    sign = 1.0 if side == "left" else -1.0
    return torch.stack([torch.zeros_like(lift), -sign * _GIRDLE_REACH * forwards, sign * lift], dim=-1)
