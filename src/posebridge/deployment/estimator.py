"""Trained models for use from Python: arrays or files in, joints out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.files import write_atomically
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.crops import CropConfig, CubeCropConfig
from posebridge.data.datasets.options import BoxOrientation, Encoding
from posebridge.data.depth_target import DepthCrops, blob_between, open_depth
from posebridge.data.frames import SIDES, Side
from posebridge.data.target import TargetFrames, intrinsics_matrix, open_target
from posebridge.data.target_config import DepthTargetConfig, TargetConfig
from posebridge.deployment.array_frames import DepthArrays, ImageArrays, as_frames, intrinsics_of, per_frame
from posebridge.deployment.csv_file import keypoints_csv
from posebridge.deployment.depth_predictor import DepthHandPredictor, MeshPredictor, MeshSet, join_meshes
from posebridge.deployment.model_file import load_model
from posebridge.deployment.predict_config import HandJoints, check_cropping
from posebridge.deployment.predict_files import check_readable, crop_batches, usable_device
from posebridge.deployment.predictor import Predictor, join
from posebridge.deployment.refined_crops import depth_batches
from posebridge.deployment.shipped_models import ModelRef, model_path
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.named import skeleton_named


@dataclass(frozen=True)
class Poses:
    """Predicted poses of N frames, J joints each."""

    keys: tuple[str, ...]  # names of the frames: of files as ``predictions.npz`` has them, of arrays their numbers
    joint_names: tuple[str, ...]
    uv_px: np.ndarray  # (N, J, 2) pixels of the frame that was given
    xyz_mm: np.ndarray | None  # (N, J, 3) camera frame with known intrinsics, else relative to the root joint
    confidence: np.ndarray  # (N, J) in [0, 1]
    meshes: MeshSet | None = None  # of a model with a hand model
    skipped: Mapping[str, str] = field(default_factory=dict)  # frame or file -> why it has no pose

    def __len__(self) -> int:
        return len(self.keys)

    def save(self, path: Path | str) -> None:
        """Write the poses as ``predictions.npz``, or as a table where the name ends in ``.csv``, as ``keypoints_csv``.

        Raises ``InputError`` where the folder or the disk refuses.
        """
        keypoints = KeypointSet(
            np.array(self.keys), self.joint_names, self.uv_px, self.xyz_mm, confidence=self.confidence
        )
        if Path(path).suffix.lower() == ".csv":
            write_atomically(Path(path), keypoints_csv(keypoints))
        else:
            keypoints.save(path)


@dataclass(frozen=True)
class ImageEstimator:
    """Predicts poses in colour images."""

    predictor: Predictor

    def predict(
        self,
        images: Any,
        boxes: Any = None,
        hand: Side | Literal["annotated"] | Sequence[Side] | None = None,
        intrinsics: Any = None,
        *,
        padding: float = 1.0,
        every: int = 1,
        batch_size: int = 16,
        box_orientation: BoxOrientation = "upright",
    ) -> Poses:
        """Poses of images, in their order.

        images: an RGB array (H, W, 3) uint8; a list, a stack (N, H, W, 3) or an iterator of them, such as a video's
            frames; or the path of an image, a video, or a folder of either.
        boxes: x0 y0 x1 y1 in pixels around each subject, (4,) for one image and one for each of several. For paths, a
            .json or .csv file. None: the whole image is the crop.
        hand: "left" or "right", for all images or one for each; "annotated" takes it from the file of boxes. None: as
            the file of boxes has it, else right. Must be None for models of bodies.
        intrinsics: fx fy cx cy in pixels, or K (3, 3), the same for all images. ``xyz_mm`` is then in the camera frame.
        padding: side of the crop over the box's larger side, above 0.
        every: of videos by path, each n-th frame only.
        box_orientation: of paths, whether boxes are in pixels of the upright picture or of the stored one, where a file
            carries an orientation. Poses and intrinsics are in pixels as stored.
        Raises ``InputError`` for arrays, boxes, hands or paths that can't be used, and where no frame is predicted.
        """
        check_cropping(padding, every, batch_size)
        intrinsics_px = None if intrinsics is None else intrinsics_of(intrinsics)
        if isinstance(images, str | Path):
            config = TargetConfig(
                path=Path(images),
                boxes=_file_or_none(boxes, "boxes"),
                box_orientation=box_orientation,
                hand=_hand_of_files(hand),
                padding=padding,
                every=every,
                intrinsics_px=intrinsics_px,
            )
            target = open_target(config, self.predictor.spec.size_px)
        else:
            frames = ImageArrays(as_frames(images, 3), per_frame(boxes, images, 3), _one_each(hand))
            target = _target_of(frames, CropConfig(self.predictor.spec.size_px, padding, _of_all(hand)), intrinsics_px)
        check_readable(self.predictor.spec, target)
        batches = (batch for _, batch in crop_batches(target, batch_size))
        return _poses(self.predictor, batches, lambda: target.skipped)


def _target_of(
    frames: ImageArrays, crop: CropConfig, intrinsics_px: tuple[float, float, float, float] | None
) -> TargetFrames:
    return TargetFrames(frames, crop, K=None if intrinsics_px is None else intrinsics_matrix(intrinsics_px))


@dataclass(frozen=True)
class DepthEstimator:
    """Predicts hands in depth images."""

    predictor: Predictor
    cube_m: float

    def predict(
        self,
        depth: Any,
        hand: Side = "right",
        intrinsics: Any = None,
        *,
        unit_mm: float = 1.0,
        centres: Any = None,
        reach_m: tuple[float, float] = (0.1, 1.5),
        encoding: Encoding = "16-bit",
        batch_size: int = 16,
        joints: HandJoints = "hand21",
    ) -> Poses:
        """Poses of depth frames, in their order.

        depth: an array (H, W) of floats in metres, or of uint16 in steps of ``unit_mm``; a list, a stack (N, H, W) or
            an iterator of them; or the path of a picture, an archive, or a folder. 0 and NaN mean no measurement.
        hand: "left" or "right", of all frames.
        intrinsics: fx fy cx cy in pixels, or K (3, 3). Needed unless the path has its own.
        unit_mm: millimetres of one step of uint16, above 0.
        centres: middle of each hand's cube in mm, camera frame: (3,) for one array, one for each of several, or a
            file for paths. None: the nearest blob, then the middle of the joints that are predicted around it.
        reach_m: from where to where, in metres from the camera, a hand is searched.
        encoding: of pictures on disk, as in ``DepthTargetConfig``.
        joints: of the mesh that are returned: those of the network, of NYU ("nyu14"), or of ICVL ("icvl16").
        Raises ``InputError`` for arrays, centres or paths that can't be used, and where no frame is predicted.
        """
        check_cropping(1.0, 1, batch_size)
        if hand not in ("left", "right"):
            raise InputError(f"hand {hand!r} is neither left nor right")
        intrinsics_px = None if intrinsics is None else intrinsics_of(intrinsics)
        blob = blob_between(*reach_m)
        if isinstance(depth, str | Path):
            file = _file_or_none(centres, "centres")
            frames = open_depth(DepthTargetConfig(Path(depth), intrinsics_px, unit_mm, encoding, file, reach_m, hand))
        else:
            frames = _depth_arrays(depth, intrinsics_px, hand, unit_mm, centres)
        crops = DepthCrops(frames, CubeCropConfig(self.predictor.spec.size_px, self.cube_m, hand), blob)
        batches = depth_batches(crops, self.predictor, batch_size)
        return _poses(_with_joints(self.predictor, joints), batches, lambda: crops.skipped)


def _with_joints(predictor: Predictor, joints: HandJoints) -> Predictor:
    """The predictor with other joints of its mesh. Raises ``InputError`` for unknown joints, or without a mesh."""
    if joints not in get_args(HandJoints):
        raise InputError(f"no joints {joints!r}: choose {', '.join(get_args(HandJoints))}")
    if isinstance(predictor, DepthHandPredictor):
        return replace(predictor, skeleton=skeleton_named(joints))
    if joints != HAND21.name:
        raise InputError(f"this model predicts the joints of {HAND21.name} without a mesh: leave joints out")
    return predictor


def load_estimator(
    run_or_model: ModelRef, device: str = "auto", mano: Path | None = None
) -> ImageEstimator | DepthEstimator:
    """The estimator of a shipped model, a run's folder or a model's: of images or of depth, as the model reads.

    ``mano``: MANO's file, for a model of MANO's hand.
    Raises ``InputError`` for a missing or broken model, a device that isn't there, and a missing hand model.
    """
    predictor = load_model(model_path(run_or_model)).predictor(usable_device(device), mano)
    cube_m = predictor.spec.cube_m
    return ImageEstimator(predictor) if cube_m is None else DepthEstimator(predictor, cube_m)


def _poses(predictor: Predictor, batches: Iterator[UnlabelledBatch], skipped: Any) -> Poses:
    """Predict batch by batch; ``skipped`` returns what was left out, once all batches are read."""
    parts: list[KeypointSet] = []
    meshes: list[MeshSet] = []
    for batch in batches:
        if isinstance(predictor, MeshPredictor):
            keypoints, mesh = predictor.predict_meshes(batch)
            meshes.append(mesh)
        else:
            keypoints = predictor.predict_batch(batch)
        parts.append(keypoints)
    left_out = dict(skipped())
    if not parts:
        reasons = "; ".join(f"{key}: {why}" for key, why in list(left_out.items())[:1])
        raise InputError(f"no frame can be predicted{': ' if reasons else ''}{reasons}")
    joined = join(parts)
    assert joined.uv_px is not None
    assert joined.confidence is not None
    return Poses(
        keys=tuple(joined.key.tolist()),
        joint_names=predictor.joint_names,
        uv_px=joined.uv_px,
        xyz_mm=joined.xyz_mm,
        confidence=joined.confidence,
        meshes=join_meshes(meshes) if meshes else None,
        skipped=left_out,
    )


def _hand_of_files(hand: Any) -> Literal["left", "right", "annotated"] | None:
    if hand not in (None, "left", "right", "annotated"):
        raise InputError(f"hand {hand!r}: for files give left, right or annotated")
    return hand


def _file_or_none(given: Any, name: str) -> Path | None:
    if given is not None and not isinstance(given, str | Path):
        raise InputError(f"{name} of files must be a file as well: give its path, or give arrays for both")
    return None if given is None else Path(given)


def _one_each(hand: Any) -> Iterable[Side] | None:
    """The hands of arrays, one for each; None where one is given for all."""
    return None if hand is None or isinstance(hand, str) else hand


def _of_all(hand: Any) -> Literal["left", "right", "annotated"] | None:
    """How crops of arrays are mirrored. Raises ``InputError`` for a hand that is neither left nor right."""
    if hand is None:
        return None
    if not isinstance(hand, str):
        return "annotated"
    for side in SIDES:
        if hand == side:
            return side
    raise InputError(f"hand {hand!r}: for arrays give left, right, or one of them for each image")


def _depth_arrays(
    depth: Any,
    intrinsics_px: tuple[float, float, float, float] | None,
    hand: Side,
    unit_mm: float,
    centres: Any,
) -> DepthArrays:
    if intrinsics_px is None:
        raise InputError("depth needs its camera's intrinsics: give fx fy cx cy in pixels")
    if not (np.isfinite(unit_mm) and unit_mm > 0):
        raise InputError(f"a unit of {unit_mm:g} mm is impossible: give the millimetres of one step, above 0")
    if isinstance(centres, str | Path):
        raise InputError("centres of arrays must be arrays as well: give x y z in mm, one for each frame")
    K = intrinsics_matrix(intrinsics_px)
    return DepthArrays(as_frames(depth, 2), K, hand, unit_mm, per_frame(centres, depth, 2))
