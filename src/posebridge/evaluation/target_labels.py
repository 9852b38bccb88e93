"""A user's labels of the target, for measuring only."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import torch

from posebridge.cameras.crop import resize_map
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


def crop_side(batch: Observation, crop_px: int) -> float:
    """The median side of crops of ``crop_px`` pixels, in pixels of the files; ``crop_px`` for frames of no file."""
    if batch.T_crop_file is None:
        return crop_px
    scale = torch.linalg.det(batch.T_crop_file[:, :2, :2]).abs().sqrt()
    return crop_px / scale.median().item()


def in_crops(keypoints: KeypointSet, batch: Observation, resize: float = 1.0) -> KeypointSet:
    """The keypoints of the batch's frames in pixels of their crops, each crop resized by the factor ``resize``.

    Fractions of the image side and distances to the border are then those of the crop. Keypoints hold ``uv_px``;
    frames that they lack are left out. Keypoints of frames that come from no file are in pixels of the crops already.
    """
    if batch.T_crop_file is None:
        return keypoints
    assert keypoints.uv_px is not None
    row_of = {str(key): row for row, key in enumerate(keypoints.key)}
    present = [i for i, key in enumerate(batch.key) if key in row_of]
    rows = np.array([row_of[batch.key[i]] for i in present], dtype=int)
    T = (resize_map(resize).double() @ batch.T_crop_file[present].double()).numpy()
    uv_px = np.einsum("nij,nkj->nki", T[:, :2, :2], keypoints.uv_px[rows]) + T[:, None, :2, 2]
    return replace(keypoints.take(rows, np.arange(keypoints.n_joints)), uv_px=uv_px)


def joint_order(truth: KeypointSet, keys: Sequence[str], skeleton: Skeleton) -> np.ndarray:
    """For each joint of the skeleton its position in the truth, or -1 where it lacks it.

    Raises ``InputError`` for a truth without places in the image, of other joints, or of other frames.
    """
    if truth.uv_px is None:
        raise InputError("the truth has no uv_px, which is measured in the image")
    if truth.joint_names is None and truth.n_joints != len(skeleton):
        raise InputError(f"the truth has {truth.n_joints} joints without names, {skeleton.name} has {len(skeleton)}")
    order = skeleton.order_of(truth.joint_names or skeleton.joints)
    if not {*map(str, truth.key)} & {*keys}:
        raise InputError(f"the truth shares no key with the target (such as {keys[0]!r} and {str(truth.key[0])!r})")
    return order


def labels_for(batch: UnlabelledBatch, truth: KeypointSet, skeleton: Skeleton) -> LabelledBatch:
    """The batch with labels in crop pixels. Frames that the truth lacks have no valid joint.

    Raises ``InputError`` for a truth without places in the image, of other joints, or of other frames.
    """
    order = joint_order(truth, batch.key, skeleton)
    assert truth.uv_px is not None
    row_of = {str(key): row for row, key in enumerate(truth.key)}
    rows = np.array([row_of.get(key, -1) for key in batch.key])
    uv_file = truth.uv_px[rows][:, order]
    valid = truth.present("uv_px")[rows][:, order] & (rows >= 0)[:, None] & (order >= 0)
    assert batch.T_crop_file is not None
    uv_px = apply_affine(batch.T_crop_file, torch.from_numpy(np.where(valid[..., None], uv_file, 0)).float())
    kept = torch.from_numpy(valid)
    observed = {f.name: getattr(batch, f.name) for f in fields(UnlabelledBatch)}
    return LabelledBatch(**observed, uv_px=uv_px, valid=kept, visible=kept)
