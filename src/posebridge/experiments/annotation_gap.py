"""A planted gap between the annotation conventions of two domains, to see what a method makes of it.

Data sets put the same joint in different places: SURREAL's shoulders lie nearer to the chest than Human3.6M's (Lin et
al., NeurIPS 2023, supplement E). Here some joints of the source alone are moved towards a neighbour by a share of the
way, in space, and their pixels with them; the target's labels stay, and say how much of the gap is left.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

GAPS: Mapping[str, Mapping[str, str]] = {  # skeleton -> joint -> the neighbour that it is moved towards
    "hand21": {f"{finger}_1": f"{finger}_2" for finger in ("thumb", "index", "middle", "ring", "pinky")},
    "h36m17": {"left_shoulder": "thorax", "right_shoulder": "thorax"},
}


def with_gap(batch: LabelledBatch, skeleton: Skeleton, share: float) -> LabelledBatch:
    """The batch with joints moved by a share of the way to their neighbours.

    Raises ``InputError`` for a skeleton without a gap of its own, or samples without joints in space and cameras.
    """
    if batch.joints_m is None or batch.camera is None or batch.uv_px is None:
        raise InputError("an annotation gap is planted in space: the samples need joints_m and a camera")
    joints, towards = gap_joints(skeleton)
    moved_m = batch.joints_m.clone()
    moved_m[:, joints] = torch.lerp(batch.joints_m[:, joints], batch.joints_m[:, towards], share)
    uv_px = batch.uv_px.clone()
    uv_px[:, joints] = batch.camera.project(moved_m[:, joints])
    return replace(batch, joints_m=moved_m, uv_px=uv_px)


def gap_joints(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """The joints that are moved, and those that they are moved towards. Raises ``InputError`` where there are none."""
    if skeleton.name not in GAPS:
        raise InputError(f"skeleton {skeleton.name} has no annotation gap to plant: choose from {', '.join(GAPS)}")
    moves = GAPS[skeleton.name]
    return [skeleton.index(joint) for joint in moves], [skeleton.index(towards) for towards in moves.values()]


def residual_gap(uv_px: Float[Tensor, "B J 2"], truth: LabelledBatch, skeleton: Skeleton) -> float:
    """Where the moved joints are seen, as a share of the way from their true place to the neighbour's; the median.

    The planted share for a model that follows the source's convention, 0 for one that follows the target's. Left out
    are bones seen shorter than a twentieth of the image's side, as their direction is mostly noise, and joints farther
    from their true place than the bone is long, which were taken for others: a left shoulder that is found on the right
    would count as a share of 2. NaN where nothing is left.
    """
    assert truth.uv_px is not None
    joints, towards = gap_joints(skeleton)
    way = truth.uv_px[:, towards] - truth.uv_px[:, joints]
    length2 = way.square().sum(-1)
    off = uv_px[:, joints] - truth.uv_px[:, joints]
    told = (length2.sqrt() > truth.rgb.shape[-1] / 20) & (off.square().sum(-1) < length2)
    shares = (off * way).sum(-1) / length2.clamp_min(1e-6)
    return shares[told].median().item()
