"""Pseudo-labels of the branches of colour and fusion, before and after the correction by anatomy (Sec. 7.3.5.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.networks.pose_network import PoseOutput
from posebridge.training.multi_task import SoftPose
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.registration import PoseRegistration


@torch.no_grad()
def consistent_labels(
    poses: Sequence[PoseOutput],
    camera: Camera | None,
    image_px: int,
    register: PoseRegistration,
    max_variance: float,
    depth_weight: float,
) -> PseudoLabels:
    """The mean of each branch's pose before and after the correction, kept where these poses agree.

    Args:
        poses: the predictions of the branches in the same B square crops.
        camera: of the crops; None: weak perspective.
        image_px: side of the crops.
        register: the correction of bone lengths and joint angles.
        max_variance: epsilon, in the unit of Eq. 6.2.
        depth_weight: lambda_d of Eq. 6.2.

    Poses that can't be lifted to space have no corrected pose and are not kept. Raises ``ValueError`` for poses without
    depth.
    """
    candidates: list[tuple[Tensor, Tensor]] = []
    lifted = []
    for pose in poses:
        if pose.relative_depth is None:
            raise ValueError("pseudo-labels need relative depth, and the network predicts none")
        corrected = register(pose.uv_px, pose.relative_depth, camera)
        candidates += [(pose.uv_px, pose.relative_depth), (corrected.uv_px, corrected.relative_depth)]
        lifted.append(corrected.lifted)
    uv_px, depth = (torch.stack(values) for values in zip(*candidates, strict=True))
    mean = SoftPose.of_image(uv_px.mean(0), depth.mean(0), image_px)
    distances = [SoftPose.of_image(*candidate, image_px).distance(mean, depth_weight) for candidate in candidates]
    variance = torch.stack(distances).mean(0)
    # Eq. 7.8 keeps C <= epsilon, while the text keeps "a confidence larger than epsilon" and says that confidence is
    # determined by the variance. Both keep consistent samples if C is the variance.
    kept = (variance.mean(1) <= max_variance) & torch.stack(lifted).all(0)
    confidence = torch.exp(-variance / max_variance)
    return PseudoLabels(uv_px.mean(0), depth.mean(0), confidence, kept[:, None].expand_as(confidence))
