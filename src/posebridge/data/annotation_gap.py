"""A simulated gap between the annotation conventions of source and target, to measure how methods respond to it.

Datasets define the same joint differently: SURREAL's shoulders are closer to the chest than Human3.6M's (Lin et al.,
NeurIPS 2023, supplement E). Here, some joints of the source are moved towards a neighbour in space, and their pixels
accordingly. The target's labels are unchanged and measure the residual gap.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

GAPS: Mapping[str, Mapping[str, str]] = {  # skeleton -> joint -> the neighbour it is moved towards
    "hand21": {f"{finger}_1": f"{finger}_2" for finger in ("thumb", "index", "middle", "ring", "pinky")},
    "h36m17": {"left_shoulder": "thorax", "right_shoulder": "thorax"},
}


def with_gap(batch: LabelledBatch, skeleton: Skeleton, factor: float) -> LabelledBatch:
    """The batch with joints moved towards their neighbours, by the interpolation factor ``factor`` in [0, 1].

    Raises ``InputError`` for a skeleton without a defined gap, and for samples without joints in space or cameras.
    """
    if batch.joints_m is None or batch.camera is None or batch.uv_px is None:
        raise InputError("an annotation gap needs samples with joints in space (joints_m) and a camera")
    joints, towards = gap_joints(skeleton)
    moved_m = batch.joints_m.clone()
    moved_m[:, joints] = torch.lerp(batch.joints_m[:, joints], batch.joints_m[:, towards], factor)
    uv_px = batch.uv_px.clone()
    uv_px[:, joints] = batch.camera.project(moved_m[:, joints])
    return replace(batch, joints_m=moved_m, uv_px=uv_px)


def gap_joints(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """Indices of the moved joints and of their neighbours. Raises ``InputError`` for a skeleton without a gap."""
    if skeleton.name not in GAPS:
        raise InputError(f"skeleton {skeleton.name} has no annotation gap: choose from {', '.join(GAPS)}")
    moves = GAPS[skeleton.name]
    return [skeleton.index(joint) for joint in moves], [skeleton.index(towards) for towards in moves.values()]


def residual_gap(
    uv_px: Float[Tensor, "B J 2"], uv_true_px: Float[Tensor, "B J 2"], skeleton: Skeleton, side_px: int
) -> float:
    """Median interpolation factor, from label to neighbour, at which the model predicts the moved joints.

    It is 0 for a model that follows the target's convention, and the factor of ``with_gap`` for one that follows the
    source's. Bones shorter than a twentieth of the image side are excluded: noise dominates their direction. So are
    joints with an error above the bone's length, which the model confuses with other joints. NaN without any joint.
    ``uv_true_px`` are the labels, and ``side_px`` is the image side.
    """
    joints, towards = gap_joints(skeleton)
    bone = uv_true_px[:, towards] - uv_true_px[:, joints]
    length2 = bone.square().sum(-1)
    error = uv_px[:, joints] - uv_true_px[:, joints]
    valid = (length2.sqrt() > side_px / 20) & (error.square().sum(-1) < length2)
    factors = (error * bone).sum(-1) / length2.clamp_min(1e-6)
    return factors[valid].median().item()
