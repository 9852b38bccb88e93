"""Pose registration: 2.5D poses, corrected in space and projected back (SemiHand and the dual-modality network).

Labels of the source give bone lengths and joint angles of valid poses. A predicted pose is lifted through the camera,
corrected by ``geometry.joint_limits.correct_poses``, and projected.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.geometry.joint_limits import CorrectionConfig, JointLimits, correct_poses
from posebridge.representations.pose25d import LiftedPose, lift_pose, relative_depth
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context

_LENGTHS_AND_ANGLES = CorrectionConfig()
_SOURCE_BATCHES, _SOURCE_BATCH = 8, 256  # source samples that set the limits of bone lengths and angles


@dataclass(frozen=True)
class RegisteredPose:
    """2.5D poses after the correction; those that can't be lifted to space are unchanged and not ``lifted``."""

    uv_px: Float[Tensor, "B J 2"]
    relative_depth: Float[Tensor, "B J"]
    lifted: Bool[Tensor, "B"]


def register_poses(
    space: LiftedPose,
    uv_px: Float[Tensor, "B J 2"],
    depth: Float[Tensor, "B J"],
    skeleton: Skeleton,
    limits: JointLimits,
    lengths: Float[Tensor, "b"] | Float[Tensor, "B b"] | None = None,
    correction: CorrectionConfig = _LENGTHS_AND_ANGLES,
) -> RegisteredPose:
    """2.5D poses (``uv_px``, ``depth``), of which ``space`` is the lift, corrected as ``correct_poses`` does."""
    corrected = correct_poses(space.joints, limits, lengths, correction)
    projected = space.project(corrected)
    lifted = space.valid & projected.isfinite().all(-1).all(-1)
    return RegisteredPose(
        torch.where(lifted[:, None, None], projected, uv_px),
        torch.where(lifted[:, None], relative_depth(corrected, skeleton), depth),
        lifted,
    )


class PoseRegistration:
    """The registration P of SemiHand: a function of 2.5D poses, with the anatomy of the source or a given template."""

    def __init__(
        self,
        skeleton: Skeleton,
        limits: JointLimits,
        correction: CorrectionConfig = _LENGTHS_AND_ANGLES,
        lengths: tuple[float, ...] | None = None,
    ):
        """``lengths``: a template of bone lengths in any unit, in the order of the skeleton's bones.

        None: the source's means. Raises ``InputError`` for a template of another skeleton, and for bones without
        length.
        """
        self.skeleton = skeleton
        self.limits = limits
        self.correction = correction
        self.lengths = limits.lengths if lengths is None else template(lengths, skeleton).to(limits.lengths)

    @classmethod
    def from_context(
        cls,
        context: Context,
        correction: CorrectionConfig = _LENGTHS_AND_ANGLES,
        lengths: tuple[float, ...] | None = None,
    ) -> "PoseRegistration":
        """With the limits of the context's source. Raises as the constructor and ``source_limits``."""
        return cls(context.skeleton, source_limits(context), correction, lengths)

    def __call__(
        self, uv_px: Float[Tensor, "B J 2"], depth: Float[Tensor, "B J"], camera: Camera | None
    ) -> RegisteredPose:
        """Corrected poses of crops; without a camera, by weak perspective."""
        space = lift_pose(uv_px, depth, camera, self.skeleton)
        limits = self.limits.to(uv_px.device)
        return register_poses(
            space, uv_px, depth, self.skeleton, limits, self.lengths.to(uv_px.device), self.correction
        )


def template(lengths: tuple[float, ...], skeleton: Skeleton) -> Float[Tensor, "b"]:
    """Bone lengths in the order of the skeleton's bones.

    Raises ``InputError`` for another number of bones, and for a bone without a positive length.
    """
    if len(lengths) != len(skeleton.bones) or not all(0 < length < float("inf") for length in lengths):
        raise InputError(
            f"bone lengths {lengths}: give {len(skeleton.bones)} positive numbers, "
            f"one for each bone of skeleton {skeleton.name}"
        )
    return torch.tensor(lengths)


def source_limits(context: Context) -> JointLimits:
    """Joint limits of the context's source. Raises ``ValueError`` for a source without joints in space."""
    skeleton = context.skeleton
    return JointLimits.from_poses(source_poses(context), kinematics_of(skeleton), skeleton.reference)


def source_poses(context: Context) -> Float[Tensor, "N J 3"]:
    """Labelled poses of the source. Raises ``ValueError`` for a source without joints in space."""
    poses = []
    stream = context.source.batches(_SOURCE_BATCH)
    for number in range(_SOURCE_BATCHES):
        batch = stream.batch(number)
        assert isinstance(batch, LabelledBatch)
        if batch.joints_m is None or batch.valid is None:
            raise ValueError("limits of anatomy need joints in space, and the source has none")
        poses.append(batch.joints_m[batch.valid.all(dim=1)])
    return torch.cat(poses)
