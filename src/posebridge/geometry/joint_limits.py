"""Which joint angles and bone lengths are anatomically valid, and poses corrected to them.

Limits come from labelled poses, as in Spurr et al., ECCV 2020: for each bone the convex hull of its flexions and
abductions, and the usual lengths. As the angles are those of right hands (``geometry.biomechanics``), so are the
limits, and left hands are to be mirrored before they are corrected.
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
    """Valid angles and usual lengths of b bones, against the tree and the neutral directions that they belong to."""

    kinematics: Kinematics
    neutral: Float[Tensor, "b 3"]
    corners: Float[Tensor, "b E 2"]  # of the convex regions in the plane of flexion and abduction; ``Polygons``
    log_length_mean: Float[Tensor, "b"]  # of lengths over the reference bone's

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
        """Limits of labelled poses, in any unit; joints without a label are NaN.

        A region is the hull of a bone's angles, with ``margin_rad`` to spare all around and at most so many ``edges``.
        The share 1 - ``coverage`` of a bone's poses that lie farthest from the rest is left out, as mislabelled.
        ``reference`` has the indices of the reference bone's joints. Raises ``InputError`` where a bone has valid
        angles in none of the poses.
        """
        neutral = neutral_directions(joints, kinematics)
        angles = joint_angles(joints, kinematics, neutral)
        if unseen := [bone for bone, count in enumerate(angles.valid.sum(0).tolist()) if count == 0]:
            ends = ", ".join(str(kinematics.end_joints[bone]) for bone in unseen)
            raise InputError(
                f"no limits of joint angles: of {len(joints)} labelled poses none has the bones that end in joints "
                f"{ends}; give poses in which all joints are labelled, or switch angle limits off"
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
        """The usual lengths, over the reference bone's."""
        return self.log_length_mean.exp()

    def angles(self, joints: Float[Tensor, "B J 3"]) -> JointAngles:
        """Angles of poses against these limits' neutral directions."""
        return joint_angles(joints, self.kinematics, self.neutral)

    def inside(self, angles_rad: Float[Tensor, "B b 2"]) -> Bool[Tensor, "B b"]:
        """Which angles are valid."""
        return Polygons(self.corners).inside(angles_rad.permute(2, 1, 0)).T

    def clamp(self, angles_rad: Float[Tensor, "B b 2"]) -> Float[Tensor, "B b 2"]:
        """The nearest valid angles: themselves, exactly, where they are valid."""
        return Polygons(self.corners).nearest(angles_rad.permute(2, 1, 0)).permute(2, 1, 0)


@dataclass(frozen=True)
class CorrectionConfig:
    """What of a pose is corrected, and how thoroughly."""

    lengths: bool = True
    angles: bool = True
    iterations: int = (
        5  # how often the root's axes are read again from the corrected pose, so that it is valid in its own
    )


def correct_poses(
    joints: Float[Tensor, "B J 3"],
    limits: JointLimits,
    lengths: Float[Tensor, "b"] | Float[Tensor, "B b"] | None = None,
    correction: CorrectionConfig = CorrectionConfig(),
) -> Float[Tensor, "B J 3"]:
    """Poses within the limits, made greedily from the root to the tips: the registration of SemiHand (Yang et al.,
    ICCV 2021) with joint angles (Lin et al., Dual-Modality Network for Semi-Supervised Hand Pose Estimation, 2022).

    The root stays where it is. Each bone starts at its corrected parent joint and points to the predicted child, as far
    as its region lets it: so errors don't add up towards the tips. Its length is that of ``lengths``, in any unit (the
    limits' means by default), times the pose's scale: the median of predicted over given lengths, weighted by the
    squares of the latter, as noise changes the ratios of short bones most. Without correction of lengths it reaches
    as close to the predicted child as it can. A pose within the limits whose bones have these lengths is left as it is.

    A joint that isn't finite is put where its neutral bone would end. Where the root's axes aren't determined, lengths
    alone are corrected. Results and gradients are finite.
    """
    walk = traversal_of(limits.kinematics, joints.device)
    places = joints.permute(2, 1, 0).contiguous()
    _, predicted, usable = bone_directions(places[:, walk.joints] - places[:, walk.starts])
    given = (limits.lengths if lengths is None else lengths).to(joints).expand(len(joints), -1).T[walk.bones]
    wanted = given * _scale(predicted, given, usable)
    R_root_world, determined = root_axes(places, walk)
    regions = _Regions(Polygons(limits.corners.to(joints)[walk.bones]), determined & correction.angles)
    target = _Target(walk, limits.neutral.to(joints), regions, places, wanted, correction.lengths)
    corrected = target.reached(R_root_world)
    for _ in range(correction.iterations if correction.angles else 0):
        corrected = target.reached(root_axes(corrected, walk)[0])
    return corrected.permute(2, 1, 0).contiguous()


def estimate_bone_lengths(joints: Float[Tensor, "N J 3"], limits: JointLimits) -> Float[Tensor, "b"]:
    """Bone lengths, over the reference bone's, of one subject from many predicted poses of any scale.

    Of each pose the scale is taken out that it has beside the limits' lengths; the median over poses is left.
    """
    lengths = limits.angles(joints).lengths.T
    usable = lengths > 0
    scale = _scale(lengths, limits.lengths.to(joints)[:, None].expand_as(lengths), usable)
    relative = torch.where(usable, lengths / scale, torch.nan).nanmedian(1).values
    return torch.where(relative.isfinite(), relative, limits.lengths.to(joints))


@dataclass(frozen=True)
class _Regions:
    """Valid regions in the walk's order, and of which poses they are asked."""

    polygons: Polygons
    hold: Bool[Tensor, "B"]

    def clamp(self, span: slice, local: Float[Tensor, "3 n B"], has_one: Bool[Tensor, "n B"]) -> Float[Tensor, "3 n B"]:
        """Valid directions of some bones in their bases. Those that have none get the neutral one."""
        local = torch.where(has_one, local, local.new_tensor([1.0, 0.0, 0.0])[:, None, None])
        return torch.where(
            self.hold, directions_from_angles(self.polygons[span].nearest(angles_from_directions(local))), local
        )


@dataclass(frozen=True)
class _Target:
    """Predicted joints to come close to, with bones of given lengths in valid directions."""

    walk: Traversal
    neutral: Float[Tensor, "b 3"]
    regions: _Regions
    places: Float[Tensor, "3 J B"]
    lengths: Float[Tensor, "b B"]
    keep_lengths: bool

    def reached(self, R_root_world: Float[Tensor, "3 3 B"]) -> Float[Tensor, "3 J B"]:
        """The greedy pose under these axes of the root."""
        walk = self.walk
        placed = [self.places[:, walk.starts[:1]].nan_to_num(0, 0, 0)]

        def extend(level: TreeLevel, basis: Tensor) -> tuple[Tensor, Tensor]:
            start = placed[-1][:, level.parent_index]
            towards, distance, has_one = bone_directions(self.places[:, walk.joints[level.span]] - start)
            local = self.regions.clamp(level.span, to_basis(basis, towards), has_one)
            direction, length = to_world(basis, local), self.lengths[level.span]
            if not self.keep_lengths:
                nearest = distance * (towards * direction).sum(0).clamp_min(0)
                length = torch.where(has_one, nearest, length)
            placed.append(start + length * direction)
            return direction, local

        propagate_frames(walk, R_root_world, self.neutral, extend)
        return torch.cat(placed, dim=1)[:, walk.joint_order]


def _scale(
    predicted: Float[Tensor, "b B"], given: Float[Tensor, "b B"], usable: Bool[Tensor, "b B"]
) -> Float[Tensor, "B"]:
    """How much larger the predicted bones of each pose are; 0 for a pose without any."""
    ratio, order = torch.where(usable, predicted / given, 0).sort(dim=0)
    weight = torch.where(usable, given.square(), 0).gather(0, order).cumsum(0)
    middle = (weight < weight[-1] / 2).sum(0, keepdim=True)
    return ratio.gather(0, middle)[0]


def _mean_log_lengths(
    joints: Float[Tensor, "N J 3"], angles: JointAngles, reference: tuple[int, int]
) -> Float[Tensor, "b"]:
    """Mean over poses of the logarithm of each bone's length divided by the reference bone's."""
    one = (joints[:, reference[1]] - joints[:, reference[0]]).norm(dim=-1)
    logs = torch.log(angles.lengths / one[:, None])
    known = angles.valid & logs.isfinite()
    count = known.sum(0)
    return torch.where(known, logs, 0).sum(0) / count.clamp_min(1)


def _without_outliers(points: NDArray, coverage: float) -> NDArray:
    """Points (N, 2) but for the share that is farthest from the mean, in units of their own spread."""
    dropped = int(len(points) * (1 - coverage) + 1e-9)
    if dropped == 0:
        return points
    centred = points - points.mean(0)
    spread = centred.T @ centred / len(points) + 1e-8 * np.eye(2)
    distance2 = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(spread), centred)
    return points[np.argsort(distance2, kind="stable")[: len(points) - dropped]]
