"""Example frames for the report, with predicted and labelled joints, in pixels of the crops."""

from typing import Literal

import numpy as np

from posebridge.contracts.batch import BatchT, Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import GalleryFrame
from posebridge.data.in_memory import InMemoryDataset
from posebridge.evaluation.evaluate import frame_errors_px, select_example_frames
from posebridge.evaluation.matching import match_keypoints
from posebridge.representations.depth_image import depth_image


def gallery(
    crops: InMemoryDataset[BatchT], prediction: KeypointSet, truth: KeypointSet | None, cube_m: float | None = None
) -> tuple[GalleryFrame, ...]:
    """Example frames: best, median and worst where there are labels, else evenly chosen ones. In crop pixels.

    ``cube_m`` is the side of the cube of crops with measured depth.
    """
    keys = crops.without_images().key
    position = {key: i for i, key in enumerate(keys)}
    errors = {} if truth is None else frame_errors_px(prediction, truth)
    chosen: list[tuple[str, Literal["best", "median", "worst", "sample"]]] = (
        [*select_example_frames(errors)] if errors else []
    )
    if not chosen:
        chosen = [(key, "sample") for key in keys[:: max(1, len(keys) // 12)][:12]]
    labelled = {} if truth is None else _labelled_joints(prediction, truth)
    frames = []
    for key, kind in chosen:
        crop = crops[position[key]]
        T = None if crop.T_crop_file is None else crop.T_crop_file[0].double().numpy()
        uv_truth = _into_crop(labelled[key], T) if key in labelled else None
        frames.append(
            GalleryFrame(
                key, kind, _picture(crop, cube_m), _into_crop(_row(prediction, key), T), uv_truth, errors.get(key)
            )
        )
    return tuple(frames)


def _picture(crop: Observation, cube_m: float | None) -> np.ndarray:
    """The picture (H, W, 3) uint8 of a batch of one: its colours, or the closeness of measured depth."""
    picture = crop.image
    if picture is None:
        assert crop.depth_m is not None
        assert crop.centre_m is not None
        assert cube_m is not None
        picture = depth_image(crop.depth_m, crop.centre_m, cube_m)
    return (picture[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()


def _labelled_joints(prediction: KeypointSet, truth: KeypointSet) -> dict[str, np.ndarray]:
    """Labelled joints by key, in the order of the predicted ones; NaN for missing joints."""
    assert prediction.joint_names is not None
    matched = match_keypoints(truth, prediction)  # in the order of the second
    known = matched.prediction
    assert known.uv_px is not None
    uv_px = np.full((len(known), prediction.n_joints, 2), np.nan)
    places = [prediction.joint_names.index(name) for name in matched.joint_names]
    uv_px[:, places] = np.where(known.present("uv_px")[..., None], known.uv_px, np.nan)
    return dict(zip(map(str, known.key), uv_px, strict=True))


def _row(keypoints: KeypointSet, key: str) -> np.ndarray:
    row = int(np.flatnonzero(keypoints.key == key)[0])
    assert keypoints.uv_px is not None
    missing = ~keypoints.present("uv_px")[row]
    return np.where(missing[:, None], np.nan, keypoints.uv_px[row])


def _into_crop(uv_px: np.ndarray, T_crop_file: np.ndarray | None) -> np.ndarray:
    return uv_px if T_crop_file is None else uv_px @ T_crop_file[:2, :2].T + T_crop_file[:2, 2]
