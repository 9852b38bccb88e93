"""Joint angles of poses, and poses from joint angles.

The two angles of a bone, flexion and abduction, are components of one rotation vector. That vector describes the
shortest rotation from the bone's neutral to its actual direction, and the components are about two axes of the frame
carried to the bone (``geometry.kinematics``). A rotation about one axis alone gives exactly that angle, and the only
singular pose is a bone reversed by 180 degrees. The projections onto two planes of Spurr et al., ECCV 2020, are also
singular for an arm stretched sideways.

Hands are **right** hands: flexion closes the hand, abduction moves towards the thumb. Mirror left hands first, as crops
do; otherwise front and back are exchanged and all flexions change their sign. Mirroring a body and exchanging its left
and right joints exchanges the sides' angles and negates abductions.
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
    """Angles and lengths of the b bones of B poses: everything but the position of the root.

    All values are finite. ``valid`` is False and the angles are zero if the bone or one of its ancestors is not finite
    or has no length, or if the root's axes are undetermined.
    """

    angles_rad: Float[Tensor, "B b 2"]  # flexion, abduction; norm at most pi
    lengths: Float[Tensor, "B b"]  # in the unit of the joints
    R_root_world: Float[Tensor, "B 3 3"]  # rows: across, along, front
    valid: Bool[Tensor, "B b"]


def joint_angles(joints: Float[Tensor, "B J 3"], kinematics: Kinematics, neutral: Float[Tensor, "b 3"]) -> JointAngles:
    """Angles of poses in any frame and unit, relative to directions from ``neutral_directions``.

    Gradients are finite, and zero where ``valid`` is False.
    """
    bones = _Bones.of(joints, kinematics)
    angles_rad = torch.where(bones.valid, angles_from_directions(bones.local(neutral)), 0)
    order = bones.traversal.bone_order
    return JointAngles(
        angles_rad[:, order].permute(2, 1, 0).contiguous(),
        bones.lengths[order].T.contiguous(),
        bones.R_root_world.permute(2, 0, 1).contiguous(),
        bones.valid[order].T.contiguous(),
    )


def pose_from_angles(
    pose: JointAngles, kinematics: Kinematics, neutral: Float[Tensor, "b 3"], root: Float[Tensor, "B 3"]
) -> Float[Tensor, "B J 3"]:
    """Joints of poses with the root joint at ``root``; the inverse of ``joint_angles``."""
    traversal = traversal_of(kinematics, root.device)
    local = directions_from_angles(pose.angles_rad.permute(2, 1, 0)[:, traversal.bones])
    lengths = pose.lengths.T[traversal.bones]
    positions = [root.T[:, None]]

    def extend(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
        here = local[:, level.span]
        direction = to_world(basis, here)
        positions.append(positions[-1][:, level.parent_index] + lengths[level.span] * direction)
        return direction, here

    propagate_frames(traversal, pose.R_root_world.permute(1, 2, 0), neutral, extend)
    return torch.cat(positions, dim=1)[:, traversal.joint_order].permute(2, 1, 0).contiguous()


def neutral_directions(joints: Float[Tensor, "N J 3"], kinematics: Kinematics) -> Float[Tensor, "b 3"]:
    """Neutral direction of each bone, a unit vector in the root's axes carried to the bone.

    For bones in ``kinematics.straight`` it is the parent's. For others it is the mean over the poses, or the along axis
    if no pose has a valid direction or the directions cancel.
    """
    bones = _Bones.of(joints, kinematics)
    upright = joints.new_tensor([0.0, 1.0, 0.0])
    neutral = upright.repeat(len(kinematics.end_joints), 1)
    for level in bones.traversal.levels:
        here = bones.traversal.bones[level.span]
        local = torch.where(bones.valid, bones.local(neutral), 0)[:, level.span].sum(-1)
        total = (bone_bases(neutral[here]) * local.T[..., None]).sum(1)
        norm = total.norm(dim=-1, keepdim=True)
        mean = torch.where(norm > 1e-3 * len(joints), total / norm.clamp_min(1e-30), upright)
        if level.parent_bone is not None:
            mean = torch.where(level.straight[:, None], neutral[bones.traversal.bones[level.parent_bone]], mean)
        neutral[here] = mean
    return neutral


def angles_from_directions(local: Float[Tensor, "3 *n"]) -> Float[Tensor, "2 *n"]:
    """Flexion and abduction of unit vectors in the bases of bones; a reversed vector has a flexion of pi."""
    cosine, sides = local[0], local[1:]
    sine2 = sides.square().sum(0)
    small = sine2 < torch.finfo(sine2.dtype).eps  # angle and sine are equal up to rounding
    sine = torch.where(small, 1, sine2).sqrt()
    angle_over_sine = torch.where(small, 1, torch.atan2(sine, cosine) / sine)
    reversed_angles = torch.stack([torch.full_like(cosine, torch.pi), torch.zeros_like(cosine)])
    return torch.where(is_reversed(cosine, sine2), reversed_angles, angle_over_sine * sides)


def directions_from_angles(angles_rad: Float[Tensor, "2 *n"]) -> Float[Tensor, "3 *n"]:
    """Unit vectors, in the bases of bones, with these angles; the inverse of ``angles_from_directions``."""
    squared = angles_rad.square().sum(0)
    small = squared < torch.finfo(squared.dtype).eps
    angle = torch.where(small, 1, squared).sqrt()
    sine_over_angle = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    cosine = torch.where(small, 1 - squared / 2, torch.cos(angle))
    return torch.cat([cosine[None], sine_over_angle * angles_rad])


@dataclass(frozen=True)
class _Bones:
    """Directions and lengths of the bones of B poses, in the order of the traversal."""

    traversal: Traversal
    directions: Float[Tensor, "3 b B"]
    lengths: Float[Tensor, "b B"]
    R_root_world: Float[Tensor, "3 3 B"]
    valid: Bool[Tensor, "b B"]

    @classmethod
    def of(cls, joints: Float[Tensor, "B J 3"], kinematics: Kinematics) -> "_Bones":
        traversal = traversal_of(kinematics, joints.device)
        positions = joints.permute(2, 1, 0).contiguous()
        directions, lengths, usable = bone_directions(positions[:, traversal.joints] - positions[:, traversal.starts])
        R_root_world, determined = root_axes(positions, traversal)
        has_unusable_ancestor = traversal.rotated_by @ (~usable).to(traversal.rotated_by) > 0
        return cls(traversal, directions, lengths, R_root_world, determined & ~has_unusable_ancestor)

    def local(self, neutral: Float[Tensor, "b 3"]) -> Float[Tensor, "3 b B"]:
        """The directions in the bases of their bones."""
        levels = []

        def read(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
            direction = self.directions[:, level.span]
            levels.append(to_basis(basis, direction))
            return direction, levels[-1]

        propagate_frames(self.traversal, self.R_root_world, neutral, read)
        return torch.cat(levels, dim=1)
