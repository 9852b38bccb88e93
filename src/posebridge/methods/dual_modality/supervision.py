"""The multi-modal loss M of predictions and labels, and of predictions of two branches (Eq. 7.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import inside
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.multi_task import SoftPose, labelled_terms
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.stage import Terms
from posebridge.training.supervision import heat_term


@dataclass(frozen=True)
class ModalityWeights:
    """Weights within M, the paper's. It has no term of heat maps: see ``labelled_terms``."""

    heat: float = 0.0
    depth: float = 50.0  # lambda_d of Eq. 6.2, within the distance of poses
    mask: float = 100.0  # lambda_m
    depth_map: float = 50.0  # lambda_d of Eq. 7.1

    @property
    def labelled(self) -> Mapping[str, float]:
        """Of the terms of labelled samples."""
        return {"pose": 1.0, "heat": self.heat, "mask": self.mask, "depth_map": self.depth_map}

    def pseudo_labelled(self, weight: float) -> Mapping[str, float]:
        """Of the terms of pseudo-labels; ``weight`` is lambda_l."""
        return {"pseudo_pose": weight, "pseudo_heat": weight * self.heat}

    def distilled(self, weight: float) -> Mapping[str, float]:
        """Of the terms between two branches; ``weight`` is lambda_f."""
        return {
            "distilled_pose": weight,
            "distilled_mask": weight * self.mask,
            "distilled_depth_map": weight * self.depth_map,
        }


def supervised_terms(
    maps: PoseMaps, branches: Sequence[MultiTaskMaps], labels: LabelledBatch, skeleton: Skeleton, depth_weight: float
) -> Terms:
    """Eq. 7.6: the sum over branches of their terms, as ``labelled_terms`` has them."""
    means = labelled_terms(maps, branches, labels, skeleton, depth_weight)
    return {name: len(branches) * value for name, value in means.items()}


def pseudo_terms(
    maps: PoseMaps,
    branches: Sequence[MultiTaskMaps],
    labels: PseudoLabels,
    image_px: int,
    depth_weight: float,
) -> Terms:
    """Eq. 7.8: the distance of poses from pseudo-labels, summed over branches.

    As printed, it is a mean over all samples. Those that are not kept count 0, and so do joints outside the view.
    """
    weight = (labels.kept & inside(labels.uv_px, image_px, image_px)).float()
    target = SoftPose.of_image(labels.uv_px, labels.relative_depth, image_px)
    pose, heat = [], []
    for branch in branches:
        distance = SoftPose.of_maps(maps, branch.heat, branch.depth).distance(target, depth_weight)
        pose.append((weight * distance).mean())
        heat.append(weight.mean() * heat_term(maps, branch.heat, labels.uv_px, image_px, weight))
    return {"pseudo_pose": torch.stack(pose).sum(), "pseudo_heat": torch.stack(heat).sum()}


def distance_terms(maps: PoseMaps, first: MultiTaskMaps, second: MultiTaskMaps, depth_weight: float) -> Terms:
    """Eq. 7.9: M of the predictions of two branches."""
    assert first.mask is not None
    assert first.depth_map is not None
    assert second.mask is not None
    assert second.depth_map is not None
    pose, other = (SoftPose.of_maps(maps, branch.heat, branch.depth) for branch in (first, second))
    return {
        "distilled_pose": pose.distance(other, depth_weight).mean(),
        "distilled_mask": (first.mask.sigmoid() - second.mask.sigmoid()).abs().mean(),
        "distilled_depth_map": (first.depth_map - second.depth_map).abs().mean(),
    }
