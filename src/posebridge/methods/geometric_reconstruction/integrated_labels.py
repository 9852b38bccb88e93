"""Pseudo-labels trusted by the image, by anatomy, or by both (Lin et al., NeurIPS 2023, Sec. 3.3.1, Eq. 3).

A teacher's pose is lifted to space, its bones' lengths and its joints' angles are brought to what occurs in the source,
and it is projected again. A joint that this hardly moves is trusted for its anatomy, as one with a high peak is trusted
for its evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.geometry.joint_limits import JointLimits, correct_poses, estimate_bone_lengths
from posebridge.losses.keypoints import coordinate_smooth_l1, weighted_mean
from posebridge.representations.heatmaps import expectation, map_from_image
from posebridge.representations.pose25d import lift_pose, relative_depth
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.stage import MapPair, Terms
from posebridge.training.supervision import depth_term, heat_term

_ESTIMATE_DECAY = 0.98  # of the running estimate of bone lengths, a step
_SOURCE_BATCHES, _SOURCE_BATCH = 8, 256  # source samples by which anatomy is known


@dataclass(frozen=True)
class LabelIntegration:
    """How image and anatomy are brought together; ``combination`` has all rows of Table B(a)."""

    # 2d: heat maps of M_2D. 3d: poses of M_3D. separate: both, each by its own mask. union: both, by M_2D or M_3D.
    combination: Literal["2d", "3d", "separate", "union", "separate_then_union"] = "separate_then_union"
    union_from: float = 0.5  # T, as a share of fine-tuning; not given
    # gamma_3D, of the image's side: joints that correction moves by less are trusted. Not given; half of what PCK@0.05
    # calls right.
    least_move: float = 0.025
    # Template of the bones' lengths: the source's mean, a running estimate from the target's own poses, a parameter
    # that is learnt with the network, or numbers that are known of the subject, in the order of the skeleton's bones.
    lengths: Literal["source", "estimated", "learnt"] | tuple[float, ...] = "source"
    # Of the softmax by which the student's places are read; 1 is the paper's. See ``ReconstructionConfig``.
    joint_temperature: float = 1.0
    pose_weight: float = 0.1  # lambda_y, Eq. 3, on places in pixels of the heat map
    depth_weight: float = 0.1  # on depth, which has a unit of its own

    @property
    def weights(self) -> Mapping[str, float]:
        """Weights of the terms of Eq. 3."""
        return {"pseudo_heat": 1.0, "pseudo_pose": self.pose_weight, "pseudo_depth": self.depth_weight}


@dataclass(frozen=True)
class PseudoTargets:
    """What a teacher saw, what anatomy makes of it, and whose heat maps and poses are taught. In pixels of the crop."""

    seen: PseudoLabels  # kept: M_2D
    rectified: PseudoLabels  # kept: M_3D
    heat: Bool[Tensor, "B J"]
    pose: Bool[Tensor, "B J"]

    def taught(self) -> PseudoLabels:
        """One place a joint: where it was seen, or for a joint that only anatomy trusts where that puts it."""
        only_anatomy = self.pose & ~self.heat
        uv_px = torch.where(only_anatomy[..., None], self.rectified.uv_px, self.seen.uv_px)
        trusted = {"by_evidence": self.seen.kept, "by_anatomy": self.rectified.kept}
        return replace(self.seen, uv_px=uv_px, kept=self.heat | self.pose, **trusted)


class IntegratedLabels(nn.Module):
    """Makes lessons of what a teacher saw, and weighs a student's answers against them."""

    def __init__(self, config: LabelIntegration, maps: PoseMaps, skeleton: Skeleton, limits: JointLimits):
        super().__init__()
        self.config = config
        self.maps = maps
        self.skeleton = skeleton
        self.limits = limits
        lengths = limits.lengths if isinstance(config.lengths, str) else limits.lengths.new_tensor(config.lengths)
        if lengths.shape != limits.lengths.shape or not (lengths > 0).all():
            raise InputError(
                f"lengths {config.lengths}: give {len(limits.lengths)} positive numbers, "
                f"one for each bone of skeleton {skeleton.name}"
            )
        # A parameter and not a buffer only where it is learnt, but in the checkpoint either way.
        self.log_lengths = nn.Parameter(lengths.log(), requires_grad=config.lengths == "learnt")

    @classmethod
    def of(cls, config: LabelIntegration, maps: PoseMaps, context: Context) -> "IntegratedLabels":
        """With the anatomy of the context's source."""
        skeleton = context.skeleton
        limits = JointLimits.from_poses(source_poses(context), kinematics_of(skeleton), skeleton.reference)
        return cls(config, maps, skeleton, limits)

    def pseudo_targets(
        self, seen: PseudoLabels, camera: Camera | None, image_px: int, progress: float
    ) -> PseudoTargets:
        """Sec. 3.3.1; ``progress`` is the share of fine-tuning that is done."""
        with torch.set_grad_enabled(self.log_lengths.requires_grad and torch.is_grad_enabled()):
            rectified = self.rectify(seen, camera, image_px)
        both = seen.kept | rectified.kept
        union = self.config.combination == "union" or (
            self.config.combination == "separate_then_union" and progress >= self.config.union_from
        )
        if union:
            return PseudoTargets(seen, rectified, both, both)
        nobody = torch.zeros_like(both)
        by_heat = nobody if self.config.combination == "3d" else seen.kept
        by_pose = nobody if self.config.combination == "2d" else rectified.kept
        return PseudoTargets(seen, rectified, by_heat, by_pose)

    def rectify(self, seen: PseudoLabels, camera: Camera | None, image_px: int) -> PseudoLabels:
        """The poses as anatomy allows them; kept are joints that hardly moved in the image (M_3D).

        A pose that can't be lifted to space stays where it was seen.
        """
        space = lift_pose(seen.uv_px, seen.relative_depth, camera, self.skeleton)
        limits = self.limits.to(space.joints.device)
        if self.config.lengths == "estimated" and self.training and space.valid.any():
            with torch.no_grad():
                estimate = estimate_bone_lengths(space.joints[space.valid], limits).log()
                self.log_lengths.lerp_(estimate, 1 - _ESTIMATE_DECAY)
        pose = correct_poses(space.joints, limits, self.log_lengths.exp())
        uv_px = space.project(pose)
        moved = (uv_px - seen.uv_px).norm(dim=-1) / image_px
        kept = (moved < self.config.least_move) & space.valid[:, None]  # False for NaN
        known = uv_px.isfinite().all(-1) & space.valid[:, None]
        uv_px = torch.where(known[..., None], uv_px, seen.uv_px)
        return replace(seen, uv_px=uv_px, relative_depth=relative_depth(pose, self.skeleton), kept=kept)

    def terms(self, output: MapPair, targets: PseudoTargets, T_view: Tensor, image_px: int) -> Terms:
        """Eq. 3, a term each for heat maps, places and depths, of a student that looked through ``T_view``."""
        heat = output[0]
        size = heat.shape[-2:]
        mirror = self.skeleton.mirror
        shown = replace(targets.seen, kept=targets.heat).seen_through(T_view, mirror)
        rectified = replace(targets.rectified, kept=targets.pose).seen_through(T_view, mirror)
        by_heat, by_pose = shown.kept.float(), rectified.kept.float()
        zero = heat.new_zeros(())
        terms = {"pseudo_heat": zero, "pseudo_pose": zero, "pseudo_depth": zero}
        if self.config.combination != "3d":
            terms["pseudo_heat"] = heat_term(self.maps, heat, shown.uv_px, image_px, by_heat)
        if self.config.combination == "2d":
            terms["pseudo_depth"] = depth_term(self.maps, output, shown.relative_depth, by_heat)
            return terms
        target = map_from_image(rectified.uv_px, (image_px, image_px), size)
        places = expectation(self.maps.probability(heat / self.config.joint_temperature))
        distance = coordinate_smooth_l1(places, target)
        terms["pseudo_pose"] = weighted_mean(distance, by_pose)
        terms["pseudo_depth"] = depth_term(self.maps, output, rectified.relative_depth, by_pose)
        return terms


def source_poses(context: Context) -> Float[Tensor, "N J 3"]:
    """True poses of the source. Raises ``ValueError`` where it has none in space."""
    found = []
    stream = context.source.batches(_SOURCE_BATCH)
    for number in range(_SOURCE_BATCHES):
        batch = stream.batch(number)
        assert isinstance(batch, LabelledBatch)
        if batch.joints_m is None or batch.valid is None:
            raise ValueError("anatomy is learnt from joints in space, and the source has none")
        found.append(batch.joints_m[batch.valid.all(dim=1)])
    return torch.cat(found)
