"""Pseudo-labels selected by confidence, by anatomy, or by both (Lin et al., NeurIPS 2023, Sec. 3.3.1, Eq. 3).

A teacher's pose is lifted to space. Its bone lengths and joint angles are corrected to the ranges of the source, and it
is projected back. Anatomy selects the joints that this correction hardly moves; confidence selects those with a high
peak in their heat map.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from posebridge.cameras.pinhole import Camera
from posebridge.data.augment import inside
from posebridge.geometry.joint_limits import JointLimits, estimate_bone_lengths
from posebridge.losses.keypoints import coordinate_smooth_l1, weighted_mean
from posebridge.representations.heatmaps import expectation, map_from_image
from posebridge.representations.pose25d import lift_pose
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.registration import register_poses, source_limits, template
from posebridge.training.stage import MapPair, Terms
from posebridge.training.supervision import depth_term, heat_term

_ESTIMATE_DECAY = 0.98  # of the running estimate of bone lengths, per step


@dataclass(frozen=True)
class LabelIntegration:
    """How the two selections are combined; ``combination`` covers all rows of Table B(a)."""

    # Labels and their mask. 2d: heat maps, M_2D (confidence). 3d: poses, M_3D (anatomy). separate: both, each with its
    # own mask. union: both, with the union of the masks.
    combination: Literal["2d", "3d", "separate", "union", "separate_then_union"] = "separate_then_union"
    union_start_frac: float = 0.5  # T, as a fraction of fine-tuning; not given
    # gamma_3D, as a fraction of the image side: anatomy selects joints that the correction moves by less. Not given;
    # half the threshold of PCK@0.05.
    max_correction_frac: float = 0.025
    # Template of bone lengths: the source's mean, a running estimate from target poses, a parameter that is trained
    # with the network, or known lengths of the subject, in the order of the skeleton's bones.
    lengths: Literal["source", "estimated", "learnt"] | tuple[float, ...] = "source"
    # Of the softmax that decodes the student's joints; 1 is the paper's. See ``ReconstructionConfig``.
    joint_temperature: float = 1.0
    pose_weight: float = 0.1  # lambda_y, Eq. 3, on joints in pixels of the heat map
    depth_weight: float = 0.1  # on depth, which has another unit

    @property
    def weights(self) -> Mapping[str, float]:
        """Weights of the terms of Eq. 3."""
        return {"pseudo_heat": 1.0, "pseudo_pose": self.pose_weight, "pseudo_depth": self.depth_weight}


@dataclass(frozen=True)
class PseudoTargets:
    """A teacher's poses before and after the correction, and the masks of the two losses. In pixels of the crop."""

    predicted: PseudoLabels  # kept: M_2D
    rectified: PseudoLabels  # kept: M_3D
    heat_mask: Bool[Tensor, "B J"]  # joints whose heat maps are pseudo-labels
    pose_mask: Bool[Tensor, "B J"]  # joints whose corrected positions are pseudo-labels

    def merged(self) -> PseudoLabels:
        """One position per joint: the corrected one for joints in the pose mask only, else the predicted one."""
        only_anatomy = self.pose_mask & ~self.heat_mask
        uv_px = torch.where(only_anatomy[..., None], self.rectified.uv_px, self.predicted.uv_px)
        masks = {"by_confidence": self.predicted.kept, "by_anatomy": self.rectified.kept}
        return replace(self.predicted, uv_px=uv_px, kept=self.heat_mask | self.pose_mask, **masks)


class IntegratedLabels(nn.Module):
    """Makes pseudo-labels from a teacher's poses, and computes a student's loss terms."""

    def __init__(self, config: LabelIntegration, maps: PoseMaps, skeleton: Skeleton, limits: JointLimits):
        super().__init__()
        self.config = config
        self.maps = maps
        self.skeleton = skeleton
        self.limits = limits
        given = config.lengths
        lengths = limits.lengths if isinstance(given, str) else template(given, skeleton).to(limits.lengths)
        # Always a parameter, so that the checkpoint holds it; trained only if it is learnt.
        self.log_lengths = nn.Parameter(lengths.log(), requires_grad=config.lengths == "learnt")

    @classmethod
    def from_context(cls, config: LabelIntegration, maps: PoseMaps, context: Context) -> "IntegratedLabels":
        """Integrated labels with the limits of the context's source."""
        return cls(config, maps, context.skeleton, source_limits(context))

    def pseudo_targets(
        self, predicted: PseudoLabels, camera: Camera | None, image_px: int, progress: float
    ) -> PseudoTargets:
        """Sec. 3.3.1; ``progress`` is the fraction of fine-tuning that is done."""
        with torch.set_grad_enabled(self.log_lengths.requires_grad and torch.is_grad_enabled()):
            rectified = self.rectify(predicted, camera, image_px)
        either = predicted.kept | rectified.kept
        union = self.config.combination == "union" or (
            self.config.combination == "separate_then_union" and progress >= self.config.union_start_frac
        )
        if union:
            return PseudoTargets(predicted, rectified, either, either)
        none = torch.zeros_like(either)
        heat_mask = none if self.config.combination == "3d" else predicted.kept
        pose_mask = none if self.config.combination == "2d" else rectified.kept
        return PseudoTargets(predicted, rectified, heat_mask, pose_mask)

    def rectify(self, predicted: PseudoLabels, camera: Camera | None, image_px: int) -> PseudoLabels:
        """The poses, corrected by anatomy; ``kept`` masks the joints that hardly moved in the image (M_3D).

        A pose that can't be lifted to space keeps its predicted joints.
        """
        space = lift_pose(predicted.uv_px, predicted.relative_depth, camera, self.skeleton)
        limits = self.limits.to(space.joints.device)
        if self.config.lengths == "estimated" and self.training and space.valid.any():
            with torch.no_grad():
                estimate = estimate_bone_lengths(space.joints[space.valid], limits).log()
                self.log_lengths.lerp_(estimate, 1 - _ESTIMATE_DECAY)
        lengths, depth = self.log_lengths.exp(), predicted.relative_depth
        pose = register_poses(space, predicted.uv_px, depth, self.skeleton, limits, lengths)
        moved = (pose.uv_px - predicted.uv_px).norm(dim=-1) / image_px
        kept = (moved < self.config.max_correction_frac) & pose.lifted[:, None]
        # The correction never moves the root, so its children show whether it is right.
        kept[:, self.skeleton.root] = kept[:, self.skeleton.root_children].all(dim=1)
        return replace(predicted, uv_px=pose.uv_px, relative_depth=pose.relative_depth, kept=kept)

    def terms(self, output: MapPair, targets: PseudoTargets, T_view: Tensor, image_px: int) -> Terms:
        """Eq. 3: terms of heat maps, joints and depth.

        Args:
            output: the student's heat maps and depth maps.
            targets: pseudo-labels in pixels of the crop.
            T_view: (B, 3, 3), pixels of the crop to pixels of the student's view.
            image_px: side of the view.
        """
        heat = output[0]
        size = heat.shape[-2:]
        mirror = self.skeleton.mirror
        predicted = replace(targets.predicted, kept=targets.heat_mask).in_view(T_view, mirror)
        rectified = replace(targets.rectified, kept=targets.pose_mask).in_view(T_view, mirror)
        heat_weight, pose_weight = (
            (labels.kept & inside(labels.uv_px, image_px, image_px)).float() for labels in (predicted, rectified)
        )
        zero = heat.new_zeros(())
        terms = {"pseudo_heat": zero, "pseudo_pose": zero, "pseudo_depth": zero}
        if self.config.combination != "3d":
            terms["pseudo_heat"] = heat_term(self.maps, heat, predicted.uv_px, image_px, heat_weight)
        if self.config.combination == "2d":
            terms["pseudo_depth"] = depth_term(self.maps, output, predicted.relative_depth, heat_weight)
            return terms
        target = map_from_image(rectified.uv_px, (image_px, image_px), size)
        joints = expectation(self.maps.probability(heat / self.config.joint_temperature))
        terms["pseudo_pose"] = weighted_mean(coordinate_smooth_l1(joints, target), pose_weight)
        terms["pseudo_depth"] = depth_term(self.maps, output, rectified.relative_depth, pose_weight)
        return terms
