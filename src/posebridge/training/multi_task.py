"""Loss terms of 2.5D poses, masks and depth maps (Eq. 6.2, 6.3 and 7.1 of Yang's dissertation, 2022).

Poses are read from heat maps by their mean, so that their distance has gradients. Positions count in pixels of a 64 px
map, whatever the size of the maps, since the papers' weights and thresholds are of that unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.crop import warp_images
from posebridge.cameras.pixel_maps import resize_map
from posebridge.contracts.batch import LabelledBatch
from posebridge.losses.keypoints import weighted_mean
from posebridge.losses.pose_distance import pose_distance
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.representations.heatmaps import expectation, image_from_map, map_from_image
from posebridge.representations.pose25d import reference_length
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.stage import Terms
from posebridge.training.supervision import depth_target, heat_term

MAP_PX = 64  # side of the map in whose pixels positions count
_UNIT = (MAP_PX, MAP_PX)

_INSIDE = 0.999  # weight of a warped pixel whose bilinear sample lies inside


@dataclass(frozen=True)
class SoftPose:
    """2.5D poses of B crops. Positions are in pixels of a 64 px map that covers the crop."""

    uv: Float[Tensor, "B J 2"]
    depth: Float[Tensor, "B J"]  # relative to the root, in reference bones

    @classmethod
    def of_maps(cls, maps: PoseMaps, heat: Float[Tensor, "B J h w"], depth: Float[Tensor, "B J h w"]) -> "SoftPose":
        """The means of heat maps, with depth maps weighted by them."""
        probability = maps.probability(heat)
        uv = image_from_map(expectation(probability), _UNIT, heat.shape[-2:])
        return cls(uv, (probability * depth).sum(dim=(-2, -1)))

    @classmethod
    def of_image(cls, uv_px: Float[Tensor, "B J 2"], depth: Float[Tensor, "B J"], image_px: int) -> "SoftPose":
        """Joints in pixels of square crops."""
        return cls(map_from_image(uv_px, (image_px, image_px), _UNIT), depth)

    def uv_px(self, image_px: int) -> Float[Tensor, "B J 2"]:
        """The positions in pixels of square crops."""
        return image_from_map(self.uv, (image_px, image_px), _UNIT)

    def distance(self, other: "SoftPose", depth_weight: float = 50.0) -> Float[Tensor, "B J"]:
        """``pose_distance`` of each joint (Eq. 6.2)."""
        return pose_distance(self.uv, self.depth, other.uv, other.depth, depth_weight)


def labelled_terms(
    maps: PoseMaps, predicted: Sequence[MultiTaskMaps], batch: LabelledBatch, skeleton: Skeleton, depth_weight: float
) -> Terms:
    """The terms of labelled samples, which are means over stacks.

    ``pose`` is the distance of Eq. 6.2, over joints with labels; depth counts where root and reference bone are
    labelled. ``mask`` and ``depth_map`` are present for networks that predict them (Eq. 7.1). ``heat`` compares heat
    maps with those of the labels: the papers have no such term, but a map that is trained through its mean alone starts
    slowly. Give it the weight 0 to leave it out.

    Raises ``ValueError`` for a batch without joints in space, without ``hand_mask`` where masks are predicted, and
    without ``hand_mask`` and ``depth_label_m`` where depth maps are predicted.
    """
    if batch.uv_px is None or batch.valid is None or batch.joints_m is None:
        raise ValueError("a labelled batch needs uv_px, valid and joints_m")
    valid, image_px = batch.valid.float(), batch.rgb.shape[-1]
    depth, has_depth = depth_target(maps, batch.joints_m, batch.centre_m, skeleton, valid)
    target = SoftPose.of_image(batch.uv_px, depth, image_px)
    found: dict[str, list[Tensor]] = {"pose": [], "heat": []}
    surface: SurfaceDepth | None = None
    for stack in predicted:
        pose = SoftPose.of_maps(maps, stack.heat, stack.depth)
        across = weighted_mean((pose.uv - target.uv).square().sum(-1), valid)
        along = weighted_mean((pose.depth - target.depth).square(), has_depth)
        found["pose"].append(across + depth_weight * along)
        found["heat"].append(heat_term(maps, stack.heat, batch.uv_px, image_px, valid))
        if stack.mask is not None:
            if batch.hand_mask is None:
                raise ValueError("masks are trained on the hand without its forearm, and these samples have none")
            found.setdefault("mask", []).append(mask_term(stack.mask, batch.hand_mask))
        if stack.depth_map is not None:
            surface = surface or SurfaceDepth.of(batch, skeleton)
            expected, weight = reduced_depth(surface, stack.depth_map.shape[-1])
            found.setdefault("depth_map", []).append(weighted_mean((stack.depth_map - expected).abs(), weight))
    return {name: torch.stack(values).mean() for name, values in found.items()}


@dataclass(frozen=True)
class SurfaceDepth:
    """Depth maps of the visible hand, as networks take and predict them.

    ``values`` are in [0, 1]: the root has 0.5, the end of the range before it 1, the end behind it 0, as has the
    background. The range is ``PoseVolumes.depth_range`` reference bones on either side of the root.
    """

    values: Float[Tensor, "B H W"]
    hand: Bool[Tensor, "B H W"]
    known: Bool[Tensor, "B H W"]  # False on a hand without depth, and everywhere without root or reference bone

    @classmethod
    def of(cls, batch: LabelledBatch, skeleton: Skeleton) -> "SurfaceDepth":
        """The depth maps of labelled samples. Raises ``ValueError`` for samples without the labels that they need."""
        hand, depth_m, joints_m, valid = batch.hand_mask, batch.depth_label_m, batch.joints_m, batch.valid
        if hand is None or depth_m is None or joints_m is None or valid is None:
            raise ValueError("depth maps of a hand need joints_m, valid, hand_mask and depth_label_m")
        measured = hand & (depth_m > 0)
        anchored = valid[:, [skeleton.root, *skeleton.reference]].all(dim=1)[:, None, None]
        length_m = reference_length(joints_m, skeleton)[:, None, None].clamp_min(torch.finfo(depth_m.dtype).tiny)
        behind = (depth_m - joints_m[:, skeleton.root, 2, None, None]) / length_m
        values = (0.5 - behind / (2 * PoseVolumes.depth_range)).clamp(0, 1)
        return cls(torch.where(measured & anchored, values, 0), hand, (measured | ~hand) & anchored)


def reduced_depth(depth: SurfaceDepth, side: int) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B h w"]]:
    """Depth maps at a side that divides theirs, and the weight of each pixel: 1 where depth is known, else 0.

    A pixel that the hand covers by half or more has the mean depth of the hand in it, which mixes with no background;
    others have 0.
    """
    covered = reduced(depth.hand, side) >= 0.5
    measured = reduced(depth.hand & depth.known, side)
    mean = reduced(depth.values, side) / measured.clamp_min(torch.finfo(measured.dtype).tiny)
    known = torch.where(covered, measured > 0, reduced(~depth.hand & depth.known, side) > 0)
    return torch.where(covered & known, mean, 0), known.float()


def mask_term(
    logits: Float[Tensor, "B h w"], mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Mean absolute error of predicted masks (the second term of Eq. 6.3); true ones are reduced to the maps' size."""
    return (logits.sigmoid() - reduced(mask, logits.shape[-1])).abs().mean()


def warped_maps(
    maps: Float[Tensor, "B h h"], T_view_crop: Float[Tensor, "B 3 3"], image_px: int
) -> tuple[Float[Tensor, "B h h"], Float[Tensor, "B h h"]]:
    """Maps that cover square crops, warped to views of them, and which pixels come from inside of the maps (0 or 1)."""
    T_map_image = torch.from_numpy(resize_map(maps.shape[-1] / image_px)).to(T_view_crop)
    T_warped_map = T_map_image @ T_view_crop @ torch.linalg.inv(T_map_image)
    layers = torch.stack([maps, torch.ones_like(maps)], dim=1)
    side = maps.shape[-1]
    values, weight = warp_images(layers, T_warped_map, side, side, antialias=False).unbind(1)
    return values, (weight > _INSIDE).to(values.dtype)


def reduced(maps: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """Square maps, averaged to a side that divides theirs."""
    return F.avg_pool2d(maps.float()[:, None], maps.shape[-1] // side)[:, 0]
