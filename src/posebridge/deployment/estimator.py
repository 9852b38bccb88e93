"""Trained models for use from Python: colour images in, joints out. Free of torch, which depth and models need."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from posebridge.contracts.files import write_atomically
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.data.datasets.options import BoxOrientation
from posebridge.data.frames import SIDES, Side
from posebridge.data.image_crops import CropConfig
from posebridge.data.target import TargetFrames, intrinsics_matrix, open_target
from posebridge.data.target_config import DetectorChoice, TargetConfig
from posebridge.deployment.array_frames import ImageArrays, as_frames, intrinsics_of, per_frame
from posebridge.deployment.crop_predictor import CropPredictor, is_onnx, load_crop_predictor
from posebridge.deployment.csv_file import keypoints_csv
from posebridge.deployment.detected_frames import DetectedBoxing
from posebridge.deployment.detection import chosen_detector, detected
from posebridge.deployment.detections import SubjectDetector, subject_kind
from posebridge.deployment.mesh_set import MeshSet, join_meshes
from posebridge.deployment.predict_config import check_cropping
from posebridge.deployment.predict_files import check_hand
from posebridge.deployment.predicted_batches import crop_batches
from posebridge.deployment.shipped_models import ModelRef, model_path
from posebridge.errors import InputError

if TYPE_CHECKING:
    from posebridge.deployment.depth_estimator import DepthEstimator


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

    predictor: CropPredictor

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
        detector: DetectorChoice | str | SubjectDetector = "none",
    ) -> Poses:
        """Poses of images, in their order.

        images: an RGB array (H, W, 3) uint8; a list, a stack (N, H, W, 3) or an iterator of them, such as a video's
            frames; or the path of an image, a video, or a folder of either.
        boxes: x0 y0 x1 y1 in pixels around each subject, (4,) for one image and one for each of several. For paths, a
            .json or .csv file. None: as ``detector``.
        hand: "left" or "right", for all images or one for each; "annotated" takes it from the file of boxes. None: as
            the file of boxes has it, else right. Must be None for models of bodies.
        intrinsics: fx fy cx cy in pixels, or K (3, 3), the same for all images. ``xyz_mm`` is then in the camera frame.
        padding: side of the crop over the box's larger side, above 0.
        every: of videos by path, each n-th frame only.
        box_orientation: of paths, whether boxes are in pixels of the upright picture or of the stored one, where a file
            carries an orientation. Poses and intrinsics are in pixels as stored.
        detector: finds the subjects where there are no boxes, in each image by itself. "none": the whole image is the
            crop. "auto": the model searches, where it states the least confidence of a subject. The folder of a
            detector. Or any object with a method ``detect`` that returns ``Detections``. Keys of further subjects of
            an image end in ``_subject1`` and so on; images without one are in ``skipped``.
        Raises ``InputError`` for arrays, boxes, hands or paths that can't be used, and where no frame is predicted.
        """
        check_cropping(padding, every, batch_size)
        intrinsics_px = None if intrinsics is None else intrinsics_of(intrinsics)
        if isinstance(images, str | Path):
            config = TargetConfig(
                path=Path(images),
                boxes=file_or_none(boxes, "boxes"),
                box_orientation=box_orientation,
                hand=_hand_of_files(hand),
                padding=padding,
                every=every,
                intrinsics_px=intrinsics_px,
            )
            target = open_target(config, self.predictor.size_px)
        else:
            frames = ImageArrays(as_frames(images, 3), per_frame(boxes, images, 3), _one_each(hand))
            target = _target_of(frames, CropConfig(self.predictor.size_px, padding, _of_all(hand)), intrinsics_px)
        if boxes is None:
            target = self._with_subjects(target, detector)
        elif detector not in ("auto", "none"):
            raise InputError("boxes and a detector are both given: leave one of them out")
        check_hand(self.predictor.skeleton, target)
        parts = [self.predictor.predict_crops(crops) for _, crops in crop_batches(target, target.crop, batch_size)]
        return joined_poses(parts, target.skipped)

    def _with_subjects(self, target: TargetFrames, detector: Path | str | SubjectDetector) -> TargetFrames:
        """The target with boxes of a detector, if any."""
        kind, found = subject_kind(self.predictor.skeleton), detector
        if isinstance(found, str) and found not in ("auto", "none"):
            found = Path(found)
        if isinstance(found, str | Path):
            found = chosen_detector(found, kind, self.predictor, hand=target.crop.hand)
        if found is None:
            return target
        if target.crop.hand == "annotated":
            raise InputError("hands of each image and a detector are both given: leave one of them out")
        return detected(target, DetectedBoxing(found), kind)


def _target_of(
    frames: ImageArrays, crop: CropConfig, intrinsics_px: tuple[float, float, float, float] | None
) -> TargetFrames:
    return TargetFrames(frames, crop, K=None if intrinsics_px is None else intrinsics_matrix(intrinsics_px))


def load_estimator(
    run_or_model: ModelRef, device: str = "auto", mano: Path | None = None
) -> "ImageEstimator | DepthEstimator":
    """The estimator of a shipped model, a run's folder, a model's, or an ONNX file: of images or of depth.

    ``mano``: MANO's file, for a model of MANO's hand.
    Raises ``InputError`` for a missing or broken model, a device that isn't there, and a missing hand model.
    """
    path = model_path(run_or_model)
    if is_onnx(path):
        if mano is not None:
            raise InputError("this model predicts joints without a hand model: leave mano out")
        return ImageEstimator(load_crop_predictor(path, device))
    from posebridge.deployment.depth_estimator import DepthEstimator
    from posebridge.deployment.devices import usable_device
    from posebridge.deployment.model_file import load_model
    from posebridge.deployment.model_kinds import IMAGE_SYNTHESIS
    from posebridge.deployment.predictor import PosePredictor

    loaded = load_model(path)
    if loaded.kind is IMAGE_SYNTHESIS:
        raise InputError(f"{path} synthesises images: use it with posebridge {loaded.kind.command}")
    predictor = loaded.predictor(usable_device(device), mano)
    cube_m = predictor.spec.cube_m
    if cube_m is not None:
        return DepthEstimator(predictor, cube_m)
    assert isinstance(predictor, PosePredictor)
    return ImageEstimator(predictor)


def joined_poses(parts: Sequence[KeypointSet], skipped: Mapping[str, str], meshes: Sequence[MeshSet] = ()) -> Poses:
    """Predicted batches as one result. Raises ``InputError`` where there is none."""
    if not parts:
        reasons = "; ".join(f"{key}: {why}" for key, why in list(skipped.items())[:1])
        raise InputError(f"no frame can be predicted{': ' if reasons else ''}{reasons}")
    joined = join(parts)
    assert joined.joint_names is not None
    assert joined.uv_px is not None
    assert joined.confidence is not None
    return Poses(
        keys=tuple(joined.key.tolist()),
        joint_names=joined.joint_names,
        uv_px=joined.uv_px,
        xyz_mm=joined.xyz_mm,
        confidence=joined.confidence,
        meshes=join_meshes(meshes) if meshes else None,
        skipped=dict(skipped),
    )


def _hand_of_files(hand: Any) -> Literal["left", "right", "annotated"] | None:
    if hand not in (None, "left", "right", "annotated"):
        raise InputError(f"hand {hand!r}: for files give left, right or annotated")
    return hand


def file_or_none(given: Any, name: str) -> Path | None:
    """The path of a file. Raises ``InputError`` for arrays beside paths; ``name`` names them."""
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
