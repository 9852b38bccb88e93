"""Joint angles of poses, and poses from joint angles.

A bone has two angles, flexion and abduction: the components, about two axes of its carried frame
(``geometry.kinematics``), of the rotation vector of the shortest rotation from its neutral direction to its actual one.
So motion about one axis alone is told as exactly that angle, and no pose but that of a bone turned right round is
singular. Projections onto two planes, as in Spurr et al., ECCV 2020, are singular for an arm held out sideways too.

Hands are **right** hands: flexion is positive where the hand closes, abduction towards the thumb's side. A left hand is
to be mirrored first, as crops are; as it is, its front is its back, and all flexions have the opposite signs. The
mirror image of a body, with left and right joints exchanged, has the abductions of the other side, negated.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.geometry.kinematics import (
    Kinematics,
    Traversal,
    TreeLevel,
    bone_bases,
    bone_directions,
    is_reversed,
    propagate_frames,
    root_axes,
    to_basis,
    to_world,
    traversal_of,
)


@dataclass(frozen=True)
class JointAngles:
    """Angles and lengths of the b bones of B poses: all that makes up the poses but their place.

    All are finite. ``valid`` is false and the angles are zero where there are none: the bone, or one that it hangs
    from, is not finite or has no length, or the root's axes aren't determined.
    """

    angles_rad: Float[Tensor, "B b 2"]  # flexion, abduction; at most pi together
    lengths: Float[Tensor, "B b"]  # in the unit of the joints
    R_root_world: Float[Tensor, "B 3 3"]  # rows: across, along, front
    valid: Bool[Tensor, "B b"]


def joint_angles(joints: Float[Tensor, "B J 3"], kinematics: Kinematics, neutral: Float[Tensor, "b 3"]) -> JointAngles:
    """Angles of poses in any frame and unit, against neutral directions as ``neutral_directions`` gives them.

    Gradients are finite everywhere, and zero where ``valid`` is false.
    """
    bones = _Bones.of(joints, kinematics)
    angles_rad = torch.where(bones.valid, angles_from_directions(bones.local(neutral)), 0)
    order = bones.walk.bone_order
    return JointAngles(
        angles_rad[:, order].permute(2, 1, 0).contiguous(),
        bones.lengths[order].T.contiguous(),
        bones.R_root_world.permute(2, 0, 1).contiguous(),
        bones.valid[order].T.contiguous(),
    )


def pose_from_angles(
    pose: JointAngles, kinematics: Kinematics, neutral: Float[Tensor, "b 3"], root: Float[Tensor, "B 3"]
) -> Float[Tensor, "B J 3"]:
    """The joints of poses whose root is there: the opposite of ``joint_angles``."""
    walk = traversal_of(kinematics, root.device)
    local = directions_from_angles(pose.angles_rad.permute(2, 1, 0)[:, walk.bones])
    lengths = pose.lengths.T[walk.bones]
    places = [root.T[:, None]]

    def extend(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
        here = local[:, level.span]
        direction = to_world(basis, here)
        places.append(places[-1][:, level.parent_index] + lengths[level.span] * direction)
        return direction, here

    propagate_frames(walk, pose.R_root_world.permute(1, 2, 0), neutral, extend)
    return torch.cat(places, dim=1)[:, walk.joint_order].permute(2, 1, 0).contiguous()


def neutral_directions(joints: Float[Tensor, "N J 3"], kinematics: Kinematics) -> Float[Tensor, "b 3"]:
    """Each bone's neutral direction in the root's axes as they are carried to it.

    It is its parent's for bones that ``kinematics`` calls straight, and the mean over these poses for others; the along
    axis where no pose has a valid direction, or they cancel.
    """
    bones = _Bones.of(joints, kinematics)
    upright = joints.new_tensor([0.0, 1.0, 0.0])
    neutral = upright.repeat(len(kinematics.end_joints), 1)
    for level in bones.walk.levels:
        here = bones.walk.bones[level.span]
        local = torch.where(bones.valid, bones.local(neutral), 0)[:, level.span].sum(-1)
        total = (bone_bases(neutral[here]) * local.T[..., None]).sum(1)
        norm = total.norm(dim=-1, keepdim=True)
        mean = torch.where(norm > 1e-3 * len(joints), total / norm.clamp_min(1e-30), upright)
        if level.parent_bone is not None:
            mean = torch.where(level.straight[:, None], neutral[bones.walk.bones[level.parent_bone]], mean)
        neutral[here] = mean
    return neutral


def angles_from_directions(local: Float[Tensor, "3 *n"]) -> Float[Tensor, "2 *n"]:
    """Flexion and abduction of unit vectors in bases of bones. One turned right round has been flexed by pi."""
    cosine, sides = local[0], local[1:]
    sine2 = sides.square().sum(0)
    small = sine2 < torch.finfo(sine2.dtype).eps  # where angle and sine are the same to rounding
    sine = torch.where(small, 1, sine2).sqrt()
    angle_over_sine = torch.where(small, 1, torch.atan2(sine, cosine) / sine)
    turned = torch.stack([torch.full_like(cosine, torch.pi), torch.zeros_like(cosine)])
    return torch.where(is_reversed(cosine, sine2), turned, angle_over_sine * sides)


def directions_from_angles(angles_rad: Float[Tensor, "2 *n"]) -> Float[Tensor, "3 *n"]:
    """The unit vectors, in their bases, of bones with these angles; the opposite of ``angles_from_directions``."""
    squared = angles_rad.square().sum(0)
    small = squared < torch.finfo(squared.dtype).eps
    angle = torch.where(small, 1, squared).sqrt()
    sine_over_angle = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    cosine = torch.where(small, 1 - squared / 2, torch.cos(angle))
    return torch.cat([cosine[None], sine_over_angle * angles_rad])


@dataclass(frozen=True)
class _Bones:
    """Where the bones of B poses point, in the walk's order."""

    walk: Traversal
    directions: Float[Tensor, "3 b B"]
    lengths: Float[Tensor, "b B"]
    R_root_world: Float[Tensor, "3 3 B"]
    valid: Bool[Tensor, "b B"]

    @classmethod
    def of(cls, joints: Float[Tensor, "B J 3"], kinematics: Kinematics) -> "_Bones":
        walk = traversal_of(kinematics, joints.device)
        places = joints.permute(2, 1, 0).contiguous()
        directions, lengths, usable = bone_directions(places[:, walk.joints] - places[:, walk.starts])
        R_root_world, determined = root_axes(places, walk)
        turned_by_none = walk.rotated_by @ (~usable).to(walk.rotated_by) > 0
        return cls(walk, directions, lengths, R_root_world, determined & ~turned_by_none)

    def local(self, neutral: Float[Tensor, "b 3"]) -> Float[Tensor, "3 b B"]:
        """The directions in their own bases."""
        levels = []

        def read(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
            direction = self.directions[:, level.span]
            levels.append(to_basis(basis, direction))
            return direction, levels[-1]

        propagate_frames(self.walk, self.R_root_world, neutral, read)
        return torch.cat(levels, dim=1)
