"""Valid joint angles and bone lengths, and the correction of poses to them.

Limits come from labelled poses, as in Spurr et al., ECCV 2020: for each bone the convex hull of its flexions and
abductions, and its mean length. They hold for right hands (``geometry.biomechanics``); mirror left hands first.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from posebridge.errors import InputError
from posebridge.geometry.biomechanics import (
    JointAngles,
    angles_from_directions,
    directions_from_angles,
    joint_angles,
    neutral_directions,
)
from posebridge.geometry.kinematics import (
    Kinematics,
    Traversal,
    TreeLevel,
    bone_directions,
    propagate_frames,
    root_axes,
    to_basis,
    to_world,
    traversal_of,
)
from posebridge.geometry.polygons import Polygons


@dataclass(frozen=True)
class JointLimits:
    """Valid angles and mean lengths of b bones, with the kinematics and neutral directions that they refer to."""

    kinematics: Kinematics
    neutral: Float[Tensor, "b 3"]
    corners: Float[Tensor, "b E 2"]  # of convex regions of (flexion, abduction); see ``Polygons``
    log_length_mean: Float[Tensor, "b"]  # of lengths divided by the reference bone's

    @classmethod
    def from_poses(
        cls,
        joints: Float[Tensor, "N J 3"],
        kinematics: Kinematics,
        reference: tuple[int, int],
        margin_rad: float = 0.1,
        coverage: float = 0.9995,
        edges: int = 12,
    ) -> "JointLimits":
        """Limits from labelled poses in any unit; joints without a label are NaN.

        The region of a bone is the hull of its angles, widened by ``margin_rad`` and reduced to at most ``edges``
        edges. The fraction 1 - ``coverage`` of angles farthest from the mean is dropped as outliers. ``reference``
        holds the joint indices of the reference bone. Raises ``InputError`` if a bone has no valid angles in any pose.
        """
        neutral = neutral_directions(joints, kinematics)
        angles = joint_angles(joints, kinematics, neutral)
        if unseen := [bone for bone, count in enumerate(angles.valid.sum(0).tolist()) if count == 0]:
            ends = ", ".join(str(kinematics.end_joints[bone]) for bone in unseen)
            raise InputError(
                f"joint limits can't be computed: none of {len(joints)} labelled poses has the bones that end in "
                f"joints {ends}; give poses in which all joints are labelled, or switch angle limits off"
            )
        values, valid = angles.angles_rad.double().cpu().numpy(), angles.valid.cpu().numpy()
        points = [
            _without_outliers(values[valid[:, bone], bone], coverage) for bone in range(len(kinematics.end_joints))
        ]
        mean = _mean_log_lengths(joints, angles, reference)
        corners = Polygons.from_points(points, margin_rad, edges).corners.to(joints)
        return cls(kinematics, neutral, corners, mean)

    def to(self, like: torch.device | torch.dtype | Tensor) -> "JointLimits":
        """The same limits on another device or in another precision."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(like) for name, value in tensors.items()})

    @property
    def lengths(self) -> Float[Tensor, "b"]:
        """Mean lengths divided by the reference bone's."""
        return self.log_length_mean.exp()

    def angles(self, joints: Float[Tensor, "B J 3"]) -> JointAngles:
        """Joint angles of poses relative to the neutral directions of these limits."""
        return joint_angles(joints, self.kinematics, self.neutral)

    def inside(self, angles_rad: Float[Tensor, "B b 2"]) -> Bool[Tensor, "B b"]:
        """Whether each pair of angles is valid."""
        return Polygons(self.corners).inside(angles_rad.permute(2, 1, 0)).T

    def clamp(self, angles_rad: Float[Tensor, "B b 2"]) -> Float[Tensor, "B b 2"]:
        """The nearest valid angles; valid angles are returned unchanged."""
        return Polygons(self.corners).nearest(angles_rad.permute(2, 1, 0)).permute(2, 1, 0)


@dataclass(frozen=True)
class CorrectionConfig:
    """Which properties of a pose are corrected."""

    lengths: bool = True
    angles: bool = True
    iterations: int = 5  # the root's axes are recomputed from the corrected pose this often


def correct_poses(
    joints: Float[Tensor, "B J 3"],
    limits: JointLimits,
    lengths: Float[Tensor, "b"] | Float[Tensor, "B b"] | None = None,
    correction: CorrectionConfig = CorrectionConfig(),
) -> Float[Tensor, "B J 3"]:
    """Poses corrected to the limits, greedily from the root to the tips.

    Implements the registration of SemiHand (Yang et al., ICCV 2021) with joint angles (Lin et al., Dual-Modality
    Network for Semi-Supervised Hand Pose Estimation, 2022).

    The root is unchanged. Each bone starts at its corrected parent joint and points to the predicted child, clamped to
    its region, so errors don't accumulate towards the tips. Bone lengths are ``lengths`` (in any unit; the limits'
    means by default) times the scale of the pose. The scale is the median of predicted over given lengths, weighted by
    the squared given lengths, as noise affects the ratios of short bones most. Without correction of lengths, the bone
    ends as close to the predicted child as its direction allows. Valid poses with these lengths are unchanged.

    A joint that isn't finite is replaced by the end of its neutral bone. If the root's axes are undetermined, only
    lengths are corrected. Results and gradients are finite.
    """
    traversal = traversal_of(limits.kinematics, joints.device)
    positions = joints.permute(2, 1, 0).contiguous()
    _, predicted, usable = bone_directions(positions[:, traversal.joints] - positions[:, traversal.starts])
    given = (limits.lengths if lengths is None else lengths).to(joints).expand(len(joints), -1).T[traversal.bones]
    target_lengths = given * _scale(predicted, given, usable)
    R_root_world, determined = root_axes(positions, traversal)
    polygons = Polygons(limits.corners.to(joints)[traversal.bones]) if correction.angles else None
    regions = _Regions(polygons, determined)
    target = _Target(
        traversal, limits.neutral.to(joints), regions, positions, target_lengths, keep_lengths=correction.lengths
    )
    corrected = target.pose(R_root_world)
    for _ in range(correction.iterations if correction.angles else 0):
        corrected = target.pose(root_axes(corrected, traversal)[0])
    return corrected.permute(2, 1, 0).contiguous()


def estimate_bone_lengths(joints: Float[Tensor, "N J 3"], limits: JointLimits) -> Float[Tensor, "b"]:
    """Bone lengths of one subject, divided by the reference bone's, from predicted poses of any scale.

    They are medians over poses, after division by each pose's scale relative to the limits' lengths.
    """
    lengths = limits.angles(joints).lengths.T
    usable = lengths > 0
    scale = _scale(lengths, limits.lengths.to(joints)[:, None].expand_as(lengths), usable)
    relative = torch.where(usable, lengths / scale, torch.nan).nanmedian(1).values
    return torch.where(relative.isfinite(), relative, limits.lengths.to(joints))


@dataclass(frozen=True)
class _Regions:
    """Valid regions in the order of the traversal, and the poses to which they are applied."""

    polygons: Polygons | None  # None: no direction is clamped
    applies: Bool[Tensor, "B"]

    def clamp(
        self, span: slice, local: Float[Tensor, "3 n B"], has_direction: Bool[Tensor, "n B"]
    ) -> Float[Tensor, "3 n B"]:
        """Directions in the bases of bones, clamped to the regions; bones without a direction get the neutral one."""
        local = torch.where(has_direction, local, local.new_tensor([1.0, 0.0, 0.0])[:, None, None])
        if self.polygons is None:
            return local
        nearest = self.polygons[span].nearest(angles_from_directions(local))
        return torch.where(self.applies, directions_from_angles(nearest), local)


@dataclass(frozen=True)
class _Target:
    """Predicted joints to approximate by bones of given lengths in valid directions."""

    traversal: Traversal
    neutral: Float[Tensor, "b 3"]
    regions: _Regions
    positions: Float[Tensor, "3 J B"]
    lengths: Float[Tensor, "b B"]
    keep_lengths: bool

    def pose(self, R_root_world: Float[Tensor, "3 3 B"]) -> Float[Tensor, "3 J B"]:
        """The greedily corrected pose for the given axes of the root."""
        traversal = self.traversal
        placed = [self.positions[:, traversal.starts[:1]].nan_to_num(0, 0, 0)]

        def extend(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
            start = placed[-1][:, level.parent_index]
            towards, distance, has_direction = bone_directions(self.positions[:, traversal.joints[level.span]] - start)
            local = self.regions.clamp(level.span, to_basis(basis, towards), has_direction)
            direction, length = to_world(basis, local), self.lengths[level.span]
            if not self.keep_lengths:
                nearest = distance * (towards * direction).sum(0).clamp_min(0)
                length = torch.where(has_direction, nearest, length)
            placed.append(start + length * direction)
            return direction, local

        propagate_frames(traversal, R_root_world, self.neutral, extend)
        return torch.cat(placed, dim=1)[:, traversal.joint_order]


def _scale(
    predicted: Float[Tensor, "b B"], given: Float[Tensor, "b B"], usable: Bool[Tensor, "b B"]
) -> Float[Tensor, "B"]:
    """Weighted median over bones of predicted / given length; 0 for a pose without usable bones."""
    ratio, order = torch.where(usable, predicted / given, 0).sort(dim=0)
    weight = torch.where(usable, given.square(), 0).gather(0, order).cumsum(0)
    middle = (weight < weight[-1] / 2).sum(0, keepdim=True)
    return ratio.gather(0, middle)[0]


def _mean_log_lengths(
    joints: Float[Tensor, "N J 3"], angles: JointAngles, reference: tuple[int, int]
) -> Float[Tensor, "b"]:
    """Mean over poses of the logarithm of each bone's length divided by the reference bone's."""
    unit_length = (joints[:, reference[1]] - joints[:, reference[0]]).norm(dim=-1)
    logs = torch.log(angles.lengths / unit_length[:, None])
    known = angles.valid & logs.isfinite()
    count = known.sum(0)
    return torch.where(known, logs, 0).sum(0) / count.clamp_min(1)


def _without_outliers(points: NDArray, coverage: float) -> NDArray:
    """Points (N, 2) without the fraction of largest Mahalanobis distance from the mean."""
    dropped = int(len(points) * (1 - coverage) + 1e-9)
    if dropped == 0:
        return points
    centred = points - points.mean(0)
    spread = centred.T @ centred / len(points) + 1e-8 * np.eye(2)
    distance2 = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(spread), centred)
    return points[np.argsort(distance2, kind="stable")[: len(points) - dropped]]
