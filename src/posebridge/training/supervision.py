"""Supervised loss terms, which all methods share (Lin et al., NeurIPS 2023, Eq. 1)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.losses.keypoints import coordinate_smooth_l1, heatmap_cross_entropy, heatmap_l2, weighted_mean
from posebridge.losses.volumes import volume_cross_entropy, volume_mse
from posebridge.representations.heatmaps import map_from_image
from posebridge.representations.pose25d import cube_depth, relative_depth
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.stage import MapPair


def heat_term(
    maps: PoseMaps, heat: Float[Tensor, "B J h w"], uv_px: Float[Tensor, "B J 2"], image_px: int, weight: Tensor
) -> Float[Tensor, ""]:
    """Mean loss of heat maps against joints, weighted; joints outside the map don't count.

    Args:
        maps: the type of the heat maps.
        heat: predicted heat maps.
        uv_px: target joints in pixels of the image.
        image_px: side of the image.
        weight: (B, J) weights of the joints.
    """
    size = heat.shape[-2:]
    target, inside = maps.encode(map_from_image(uv_px, (image_px, image_px), size), *size)
    loss = heatmap_cross_entropy(heat, target) if maps.heatmap_type == "softmax" else heatmap_l2(heat, target)
    return weighted_mean(loss, weight * inside)


def depth_term(
    maps: PoseMaps, output: MapPair, target: Float[Tensor, "B J"], weight: Float[Tensor, "B J"] | Bool[Tensor, "B J"]
) -> Float[Tensor, ""]:
    """Smooth L1 of depth at the joints, in the unit of the depth maps."""
    predicted = maps.relative_depth(output[0].detach(), output[1])
    return weighted_mean(coordinate_smooth_l1(predicted[..., None], target[..., None], beta=0.1), weight)


def supervised_terms(maps: PoseMaps, output: MapPair, batch: LabelledBatch, skeleton: Skeleton) -> dict[str, Tensor]:
    """The terms ``heat`` and ``depth`` of labelled samples; depth is zero for a source without joints in space.

    Raises ``ValueError`` for a batch without joints in pixels.
    """
    heat, depth = output
    if batch.uv_px is None or batch.valid is None:
        raise ValueError("a labelled batch needs uv_px and valid")
    valid = batch.valid.float()
    terms = {"heat": heat_term(maps, heat, batch.uv_px, batch.rgb.shape[-1], valid), "depth": heat.new_zeros(())}
    if batch.joints_m is not None:
        target, weight = depth_target(maps, batch.joints_m, batch.centre_m, skeleton, valid)
        terms["depth"] = depth_term(maps, (heat, depth), target, weight)
    return terms


def volume_term(
    volumes: PoseVolumes, predicted: Float[Tensor, "B J D h w"], batch: LabelledBatch, skeleton: Skeleton
) -> Float[Tensor, ""]:
    """Mean loss of volumes against the labels of colour crops; joints outside the crop don't count.

    Joints whose depth is unknown, or beyond the range of the volumes, count in the image alone: by the marginal of a
    distribution of type ``softmax``, and not at all in volumes of type ``peak``.

    Raises ``ValueError`` for a batch without joints in pixels.
    """
    if batch.uv_px is None or batch.valid is None:
        raise ValueError("a labelled batch needs uv_px and valid")
    depth, has_depth = torch.zeros_like(batch.uv_px[..., 0]), torch.zeros_like(batch.valid)
    if batch.joints_m is not None:
        has_depth = batch.valid & batch.valid[:, [skeleton.root, *skeleton.reference]].all(dim=1, keepdim=True)
        depth = relative_depth(batch.joints_m, skeleton)
    size = predicted.shape[-3:]
    uv_map = map_from_image(batch.uv_px, batch.rgb.shape[-2:], size[1:])
    target = volumes.targets(uv_map, depth, has_depth, size)
    factors = (target.along_u, target.along_v, target.along_z)
    if volumes.volume_type == "softmax":
        return weighted_mean(volume_cross_entropy(predicted, *factors, target.has_depth), batch.valid & target.inside)
    return weighted_mean(volume_mse(predicted, *factors), batch.valid & target.has_depth)


def depth_target(
    maps: PoseMaps, joints_m: Tensor, centre_m: Tensor | None, skeleton: Skeleton, valid: Float[Tensor, "B J"]
) -> tuple[Float[Tensor, "B J"], Float[Tensor, "B J"]]:
    """Target depth of each joint in the unit of the depth maps, and its weight: 0 without a label, else 1.

    Depth relative to the root, in reference bones, needs labels of the root and of that bone's joints. Depth in a cube
    needs only the joint's own label.

    Raises ``ValueError`` for depth crops without the centres of their cubes.
    """
    if maps.cube_m is None:
        has_reference = valid[:, [skeleton.root, *skeleton.reference]].amin(dim=1, keepdim=True)
        return relative_depth(joints_m, skeleton), valid * has_reference
    if centre_m is None:
        raise ValueError("a batch of depth crops needs centre_m")
    return cube_depth(joints_m, centre_m, maps.cube_m), valid
