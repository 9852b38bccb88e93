"""Labels of the pose models: 3D pose, canonical pose and viewpoint, in the axes of an augmented view."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.geometry.canonical_pose import canonical_poses
from posebridge.representations.pose25d import reference_length
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class PoseLabels:
    """Of B samples, in reference bones. A sample that lacks a joint is not usable, and has zeros."""

    pose: Float[Tensor, "B J 3"]  # relative to the root, with the axes of the view: x right, y down
    canonical: Float[Tensor, "B J 3"]
    viewpoint: Float[Tensor, "B 3 3"]  # rotation from the canonical to the 3D pose
    usable: Bool[Tensor, "B"]


def pose_labels(
    batch: LabelledBatch, skeleton: Skeleton, T_view_crop: Float[Tensor, "B 3 3"] | None = None
) -> PoseLabels:
    """The labels of a batch of crops, in views of them where maps are given.

    Poses turn and mirror with the image, about the optical axis through the root.
    Raises ``InputError`` for a source without joints in space.
    """
    if batch.joints_m is None or batch.valid is None:
        raise InputError(f"{batch.key[0]}: this source has no joints in space, which the model decodes: choose another")
    length_m = reference_length(batch.joints_m, skeleton)
    usable = batch.valid.all(dim=1) & (length_m > 0)
    relative = batch.joints_m - batch.joints_m[:, [skeleton.root]]
    pose = torch.where(usable[:, None, None], relative / torch.where(usable, length_m, 1)[:, None, None], 0)
    pose = in_axes(pose, _joined(batch.T_crop_file, T_view_crop))
    split = canonical_poses(pose, kinematics_of(skeleton))
    return PoseLabels(pose, split.canonical, split.viewpoint, usable & split.determined)


def _joined(T_crop_file: Tensor | None, T_view_crop: Tensor | None) -> Tensor | None:
    if T_crop_file is None or T_view_crop is None:
        return T_view_crop if T_crop_file is None else T_crop_file
    return T_view_crop.to(T_crop_file) @ T_crop_file


def in_axes(pose: Float[Tensor, "B J 3"], T: Float[Tensor, "B 3 3"] | None) -> Float[Tensor, "B J 3"]:
    """Poses with the axes of images that similarity maps of pixels make: turned and mirrored, not scaled.

    The inverse of ``deployment.predictor.file_axes``.
    """
    if T is None:
        return pose
    A = T[:, :2, :2].to(pose)
    scale = (A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0]).abs().sqrt()
    turn = A / scale[:, None, None]
    return torch.cat([pose[..., :2] @ turn.transpose(1, 2), pose[..., 2:]], dim=-1)
