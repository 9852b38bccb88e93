"""Bone rotations from the joint angles of a hand."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.hand_model import HandModel
from posebridge.bodies.rig import PosedRig
from posebridge.skeletons.hand import FINGERS

HAND_ANGLE_NAMES = (
    *(f"{finger}_{angle}" for finger in FINGERS[1:] for angle in ("flexion", "spread", "pip_flexion", "dip_flexion")),
    *(f"thumb_{angle}" for angle in ("flexion", "lift", "mcp_flexion", "ip_flexion")),
    *("wrist_flexion", "wrist_deviation"),
)

# Degrees; active range of motion of healthy adults, rounded (American Academy of Orthopaedic Surgeons).
FINGER_LIMITS_DEG = ((-25.0, 92.0), (-20.0, 20.0), (-5.0, 110.0), (-8.0, 80.0))  # MCP flexion, spread, PIP, DIP
THUMB_LIMITS_DEG = ((-30.0, 50.0), (-25.0, 30.0), (-10.0, 60.0), (-20.0, 80.0))  # CMC flexion, CMC lift, MCP, IP
WRIST_LIMITS_DEG = ((-60.0, 65.0), (-30.0, 20.0))  # flexion, deviation towards the thumb
# In the order of ``HAND_ANGLE_NAMES``.
HAND_ANGLE_LIMITS_DEG = (*FINGER_LIMITS_DEG * 4, *THUMB_LIMITS_DEG, *WRIST_LIMITS_DEG)


@dataclass(frozen=True)
class HandAngles:
    """Joint angles of B hands in radians. Zero is the straight hand with parallel fingers, apart from the lateral
    curvature of the mesh's fingers (below four degrees per joint).

    ``fingers[:, f]`` is (MCP flexion, MCP spread towards the thumb, PIP flexion, DIP flexion) of index to pinky;
    ``thumb`` is (CMC flexion across the palm, CMC lift out of the palm, MCP flexion, IP flexion) relative to Anny's
    relaxed thumb; ``wrist`` is (flexion, deviation towards the thumb).
    """

    fingers: Float[Tensor, "B 4 4"]
    thumb: Float[Tensor, "B 4"]
    wrist: Float[Tensor, "B 2"]

    def stacked(self) -> Float[Tensor, "B 22"]:
        """All angles as columns, in the order of ``HAND_ANGLE_NAMES``."""
        return torch.cat([self.fingers.flatten(1), self.thumb, self.wrist], dim=1)

    @classmethod
    def from_stacked(cls, values: Float[Tensor, "B 22"]) -> "HandAngles":
        """The inverse of ``stacked``."""
        fingers, thumb, wrist = values.split([16, 4, 2], dim=1)
        return cls(fingers.unflatten(1, (4, 4)), thumb, wrist)


def clamp_to_limits(angles: HandAngles) -> HandAngles:
    """Clamp angles to the joint limits. Flexion of the MCP joint reduces the finger's spread, as in real hands."""

    def clamp(values: Tensor, limits_deg) -> Tensor:
        low, high = torch.deg2rad(torch.tensor(limits_deg)).to(values).unbind(-1)
        return values.clamp(low, high)

    fingers = clamp(angles.fingers, FINGER_LIMITS_DEG)
    room = (1 - fingers[..., 0] / torch.deg2rad(torch.tensor(100.0))).clamp(0.1, 1.0)
    fingers = torch.cat([fingers[..., :1], fingers[..., 1:2] * room[..., None], fingers[..., 2:]], dim=-1)
    return HandAngles(fingers, clamp(angles.thumb, THUMB_LIMITS_DEG), clamp(angles.wrist, WRIST_LIMITS_DEG))


def pose_hand(
    model: HandModel, angles: HandAngles, coefficients: Float[Tensor, "B S"], twist_per_flexion: float = -0.5
) -> PosedRig:
    """B posed hands. The base of the thumb twists as it flexes (opposition), by ``twist_per_flexion``."""
    return model.rig.shaped(coefficients).posed(bone_rotations(model, angles, twist_per_flexion))


def bone_rotations(model: HandModel, angles: HandAngles, twist_per_flexion: float = -0.5) -> Float[Tensor, "B N 3 3"]:
    """One rotation per bone, in the axes of the rest pose."""
    bones = model.rig.bones
    index = {name: i for i, name in enumerate(bones)}
    B = len(angles.fingers)
    flexion, spread, twist = (angles.fingers.new_zeros(B, len(bones)) for _ in range(3))
    rest_flexion, rest_spread = rest_angles(model)
    for f in range(4):
        mcp, pip, dip = (index[f"finger{f + 2}-{k}"] for k in (1, 2, 3))
        flexion[:, [mcp, pip, dip]] = angles.fingers[:, f][:, [0, 2, 3]] - rest_flexion[f]
        spread[:, mcp] = angles.fingers[:, f, 1] - rest_spread[f]
    cmc, mcp, ip = (index[f"finger1-{k}"] for k in (1, 2, 3))
    flexion[:, [cmc, mcp, ip]] = angles.thumb[:, [0, 2, 3]]
    spread[:, cmc] = angles.thumb[:, 1]
    twist[:, cmc] = twist_per_flexion * angles.thumb[:, 0]
    # The hand is fixed and the forearm moves, so flexion of the wrist rotates the forearm backwards.
    flexion[:, index["forearm"]] = -angles.wrist[:, 0]
    spread[:, index["forearm"]] = -angles.wrist[:, 1]

    def rotations_about(axes: Tensor, angle: Tensor) -> Tensor:
        return roma.rotvec_to_rotmat(axes.to(angle) * angle[..., None])

    return (
        rotations_about(model.spread_axes, spread)
        @ rotations_about(model.flexion_axes, flexion)
        @ rotations_about(model.twist_axes, twist)
    )


def rest_angles(model: HandModel) -> tuple[Float[Tensor, "4 3"], Float[Tensor, "4"]]:
    """Flexion (MCP, PIP, DIP) and spread of the four fingers in the mesh's rest pose, in radians."""
    rig = model.rig
    keypoints = rig.shaped(rig.vertices_m.new_zeros(1, len(rig.vertex_basis_m))).keypoints_m()[0]
    fingers = keypoints[5:].view(4, 4, 3)
    phalanges = fingers[:, 1:] - fingers[:, :-1]  # 4 fingers, 3 phalanges
    palm = torch.stack([phalanges[:, 0, 0], phalanges[:, 0, 1], torch.zeros_like(phalanges[:, 0, 0])], dim=-1)
    chain = torch.cat([palm[:, None], phalanges], dim=1)
    before, after = chain[:, :-1], chain[:, 1:]
    axes = torch.stack(
        [model.flexion_axes[[rig.bones.index(f"finger{f}-{k}") for k in (1, 2, 3)]] for f in range(2, 6)]
    )
    sine = (torch.linalg.cross(before, after) * axes).sum(-1)
    flexion = torch.atan2(sine, (before * after).sum(-1))
    towards_thumb = 1.0 if model.side == "right" else -1.0
    return flexion, torch.atan2(towards_thumb * phalanges[:, 0, 0], phalanges[:, 0, 1])
