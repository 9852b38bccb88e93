"""Predictions in COCO's formats (Lin et al., ECCV 2014; cocodataset.org/#format-results).

Pixels are those of the upright picture, as OpenCV, FFmpeg, browsers and annotation tools decode a file that carries an
orientation; ``predictions.npz`` has those as stored. The size of each image is that of the upright picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.contracts.files import json_bytes
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.frame_info import FrameInfo
from posebridge.skeletons.skeleton import Skeleton

ANNOTATIONS, RESULTS = "coco_annotations.json", "coco_results.json"
_CATEGORY = 1
_LARGEST_ID = 2**53  # exclusive: larger whole numbers lose digits in tools that read numbers of JSON as 64-bit floats
_DIGITS_PX, _DIGITS_CONFIDENCE = 3, 4
_LABELLED, _MISSING = 2, 0  # COCO's v; a network doesn't predict whether a joint is hidden


def coco_annotations(
    keypoints: KeypointSet, frames: Sequence[FrameInfo], skeleton: Skeleton, root: Path
) -> dict[str, Any]:
    """``images``, ``categories`` with names and bones of joints, and ``annotations``, one for each frame.

    An annotation's ``keypoints`` have v = 2, and 0 where a joint is missing. ``bbox`` is the box around the subject
    that was given, else the extent of the joints. ``score`` is the mean confidence, ``keypoint_scores`` holds those of
    the joints. Frames of videos have ``video_id`` and ``frame_id``.

    Args:
        keypoints: N frames with ``uv_px`` in stored pixels and ``confidence``.
        frames: the N frames, in the same order.
        skeleton: of the joints, in their order.
        root: the folder to which ``file_name`` of the images is relative.
    """
    videos = {path: i for i, path in enumerate(dict.fromkeys(f.file for f in frames if f.is_video), 1)}
    ids = image_ids(frames)
    images = []
    for number, frame in zip(ids, frames, strict=True):
        width, height = frame.upright_size_px
        image = {"id": number, "file_name": frame.file_name(root), "width": width, "height": height}
        if frame.is_video:
            image |= {"video_id": videos[frame.file], "frame_id": frame.frame}
        images.append(image)
    content: dict[str, Any] = {"info": {"description": "predictions of posebridge"}}
    if videos:
        names = {number: path.relative_to(root).as_posix() for path, number in videos.items() if path is not None}
        content["videos"] = [{"id": number, "name": name} for number, name in names.items()]
    poses = _poses(keypoints, frames)
    return content | {
        "images": images,
        "categories": [_category(skeleton)],
        "annotations": [
            {"id": i, "image_id": number, "category_id": _CATEGORY, "iscrowd": 0, **pose}
            for i, (number, pose) in enumerate(zip(ids, poses, strict=True), 1)
        ],
    }


def coco_results(annotations: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of ``coco_annotations``, for COCO's evaluation: the third number of a joint is its confidence."""
    results: list[dict[str, Any]] = []
    for annotation in annotations["annotations"]:
        triples = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        triples[:, 2] = annotation["keypoint_scores"]
        kept = {name: annotation[name] for name in ("image_id", "category_id", "score")}
        results.append(kept | {"keypoints": triples.reshape(-1).tolist()})
    return results


def coco_files(keypoints: KeypointSet, frames: Sequence[FrameInfo], skeleton: Skeleton, root: Path) -> dict[str, bytes]:
    """Both files by name; arguments as ``coco_annotations``."""
    annotations = coco_annotations(keypoints, frames, skeleton, root)
    results = coco_results(annotations)
    return {ANNOTATIONS: json_bytes(annotations, None, False), RESULTS: json_bytes(results, None, False)}


def image_ids(frames: Sequence[FrameInfo]) -> list[int]:
    """The frames' names where all are numbers, such as COCO's own (``000000000139.jpg`` is 139); else 1, 2, 3, ..."""
    keys = [frame.key for frame in frames]
    if all(key.isascii() and key.isdigit() for key in keys):
        ids = [int(key) for key in keys]
        if len({*ids}) == len(ids) and max(ids) < _LARGEST_ID:
            return ids
    return [*range(1, len(keys) + 1)]


def _category(skeleton: Skeleton) -> dict[str, Any]:
    """COCO counts joints from 1 in ``skeleton``."""
    return {
        "id": _CATEGORY,
        "name": "person" if skeleton.mirror_of else "hand",
        "supercategory": "person",
        "keypoints": [*skeleton.joints],
        "skeleton": [[parent + 1, child + 1] for parent, child in skeleton.bones],
    }


def _poses(keypoints: KeypointSet, frames: Sequence[FrameInfo]) -> list[dict[str, Any]]:
    """What describes each frame's pose, in pixels of the upright picture."""
    assert keypoints.uv_px is not None
    assert keypoints.confidence is not None
    present = keypoints.present("uv_px")
    poses: list[dict[str, Any]] = []
    for frame, uv_px, confidence, here in zip(frames, keypoints.uv_px, keypoints.confidence, present, strict=True):
        upright_px = frame.upright_px(uv_px.astype(float)).round(_DIGITS_PX)
        scores = np.where(here, confidence.astype(float), 0.0)
        triples = np.concatenate([upright_px, np.full((len(here), 1), _LABELLED)], 1)
        triples[~here] = _MISSING
        x0, y0, x1, y1 = _box(frame, upright_px[here])
        poses.append(
            {
                "keypoints": [*map(_whole_or_float, triples.reshape(-1).tolist())],
                "num_keypoints": int(here.sum()),
                "bbox": [x0, y0, round(x1 - x0, _DIGITS_PX), round(y1 - y0, _DIGITS_PX)],
                "area": round((x1 - x0) * (y1 - y0), _DIGITS_PX),
                "score": round(float(scores.mean()), _DIGITS_CONFIDENCE),
                "keypoint_scores": scores.round(_DIGITS_CONFIDENCE).tolist(),
            }
        )
    return poses


def _box(frame: FrameInfo, joints_px: np.ndarray) -> list[float]:
    box = frame.upright_box_xyxy
    if box is None:
        box = np.concatenate([joints_px.min(0), joints_px.max(0)]) if len(joints_px) else np.zeros(4)
    return box.round(_DIGITS_PX).tolist()


def _whole_or_float(number: float) -> float:
    """COCO's v are whole numbers."""
    return int(number) if number.is_integer() else number
