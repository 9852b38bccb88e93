"""From a model and image files to predictions, drawn skeletons, and a list of skipped frames. Free of torch."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from posebridge.background import CallsBehind
from posebridge.contracts.config_file import as_yaml, signed
from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.contracts.plain import with_absolute_paths
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.video import Video, VideoFolder
from posebridge.data.datasets.video_file import open_video
from posebridge.data.frames import FrameStream
from posebridge.data.target import TargetFrames, open_target
from posebridge.deployment.crop_predictor import CropPredictor, load_crop_predictor
from posebridge.deployment.detected_frames import DetectedBoxing
from posebridge.deployment.detection import detected, following, target_detector, times_of
from posebridge.deployment.detections import subject_kind
from posebridge.deployment.exports import EXPORTED, UNKNOWN_RATE, Exports
from posebridge.deployment.frame_info import FrameInfo
from posebridge.deployment.overlay import ImageOverlays, Overlays, VideoOverlays
from posebridge.deployment.plausible_predictions import implausible_frames, implausible_notes
from posebridge.deployment.predict_config import PredictConfig, PredictDepthConfig
from posebridge.deployment.predicted_batches import PredictedBatch, predicted_batches
from posebridge.deployment.selected_joints import SelectedJoints
from posebridge.deployment.shipped_models import model_path
from posebridge.errors import InputError, printable
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.skeleton import Skeleton

PREDICTIONS, PARTIAL, SKIPPED, OVERLAYS = "predictions.npz", "predictions.partial.npz", "skipped.json", "overlays"
_DRAWN = (".jpg", ".mp4")
_DRAWN_BEHIND = 1  # batches that are drawn beside the one that is predicted
_LISTED = 4  # names of exported files in the summary
CONFIG = "predict.yaml"  # of the prediction, from which ``view`` finds the frames again
_REPLACED = (PARTIAL, *EXPORTED, *(f"{OVERLAYS}/**/*{suffix}" for suffix in _DRAWN))


@dataclass(frozen=True)
class PredictedFiles:
    """What a run of ``predict`` wrote and skipped."""

    predictions: Path
    frames: int
    skipped: dict[str, str] = field(default_factory=dict)  # file or frame -> why
    overlays: int = 0
    in_mm: bool = True  # False: the model has no reference length, so there are no joints in space
    exported: tuple[Path, ...] = ()  # files of other formats
    notes: tuple[str, ...] = ()  # on the input and the predictions, a line each
    subjects: int | None = None  # in all frames together; None: one in each

    def __str__(self) -> str:
        drawn = f", {self.overlays} of them drawn in {self.predictions.parent / OVERLAYS}" if self.overlays else ""
        subjects = f"; {self.subjects} subjects" if self.subjects not in (None, self.frames) else ""
        lines = [f"{self.frames} frames in {self.predictions}{drawn}{subjects}"]
        if self.exported:
            names = [str(file.relative_to(self.predictions.parent)) for file in self.exported]
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            lines.append(printable(f"also written: {', '.join(names[:_LISTED])}{more}"))
        if not self.in_mm:
            lines.append("no xyz_mm: the model has no length of its reference bone (reference_length_m)")
        lines += self.notes
        if self.skipped:
            first, reason = map(printable, next(iter(self.skipped.items())))
            others = ", ..." if len(self.skipped) > 1 else ""
            listed = self.predictions.parent / SKIPPED
            lines.append(f"skipped {len(self.skipped)} (listed in {listed}): {first}: {reason}{others}")
        return "\n".join(lines)


def list_skipped(folder: Path, used: int, skipped: dict[str, str], warnings: dict[str, str] | None = None) -> Path:
    """Write ``skipped.json``: how many frames were used, how many were not, and why; and warnings of frames by key."""
    content = {"used": used, "skipped": len(skipped), "reasons": skipped}
    if warnings:
        content["warnings"] = warnings
    write_atomically(folder / SKIPPED, json_bytes(content))
    return folder / SKIPPED


def save_config(kind: str, config: PredictConfig | PredictDepthConfig) -> None:
    """Write the config beside the predictions, with absolute paths. Raises ``InputError`` where the disk refuses."""
    write_atomically(config.out / CONFIG, signed(as_yaml(kind, with_absolute_paths(config))).encode())


def drop_earlier(folder: Path, names: Sequence[str], written: Set[Path]) -> None:
    """Remove the files of earlier predictions, by patterns of their names, except those that were ``written`` now.

    Raises ``InputError`` where the folder refuses.
    """
    for file in {*_files(folder, names)} - written:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot remove {file} of earlier predictions: {error.strerror}") from error


def _files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    return (file for name in names for file in folder.glob(name) if file.is_file())


def predict_files(config: PredictConfig) -> PredictedFiles:
    """Predict every readable frame into ``config.out``, replacing earlier predictions.

    Frames are read, drawn and released batch by batch, in threads beside the prediction. Only keypoints stay in memory
    (about a kilobyte a frame).
    Workers receive crops and return keypoints, so they need neither the files nor the model's folder.
    After an interruption or an error, the keypoints until then are in ``predictions.partial.npz``.
    Raises ``InputError`` for a bad model, target, device or output folder, and where nothing can be read.
    """
    workers = config.workers
    device = "cpu" if workers.is_remote and config.device == "auto" else config.device
    predictor = load_crop_predictor(model_path(config.model), device, device_is_here=workers.ray is None)
    if config.joints is not None:
        predictor = SelectedJoints(predictor, BODIES[config.joints])
    skeleton = predictor.skeleton
    target = open_target(config.target, predictor.size_px)
    videos = _videos(target.frames)
    rates = {path.stem: rate or UNKNOWN_RATE for path, (rate, _) in videos.items()}
    least = predictor.least_confidence if config.min_confidence is None else config.min_confidence
    target = _with_detector(target, config, predictor, rates, least)
    check_hand(skeleton, target)
    check_writable(config.out, config.target.path, config.overlays != 0, _REPLACED)

    overlays = _overlays(config, skeleton, rates)
    exports = Exports.of(config.formats, config.out, config.target.path, skeleton, rates)
    parts: list[KeypointSet] = []
    infos: dict[str, FrameInfo] = {}
    empty: dict[str, str] = {}
    try:
        with (
            overlays or nullcontext(),
            _progress(target.frames, videos, config.target.every) as bar,
            CallsBehind(_DRAWN_BEHIND) as drawing,
        ):
            read = target.with_empty() if isinstance(overlays, VideoOverlays) else iter(target)
            for batch in predicted_batches(target, read, predictor, config, gpus=int(device.startswith("cuda"))):
                poses = batch.confident(least, empty)
                if poses.rows.size:
                    parts.append(poses.joints)
                infos |= {frame.key: FrameInfo.of(frame) for frame in poses.with_joints()}
                drawing.add(_draw, overlays, poses)
                bar.update(target.read - bar.n)
            bar.update(target.read - bar.n)  # frames without a subject at the end
        return _save(config, parts, target.skipped | empty, target.notes(), overlays, exports, infos)
    except BaseException:
        if parts:
            join(parts).save(config.out / PARTIAL)
        raise


def _with_detector(
    target: TargetFrames,
    config: PredictConfig,
    predictor: CropPredictor,
    rates: Mapping[str, Fraction],
    least_confidence: float | None,
) -> TargetFrames:
    """The target with boxes of a detector, where it has none. Boxes of videos follow the joints."""
    kind = subject_kind(predictor.skeleton)
    detector = target_detector(config.target, kind, predictor, least_confidence)
    follows = detector is not None and bool(rates) and not config.workers.is_remote
    if config.smooth and not follows:
        raise InputError("joints are smoothed where a detector follows videos in this process: leave --smooth out")
    if detector is None:
        return target
    boxing = following(detector, times_of(rates), least_confidence) if follows else DetectedBoxing(detector)
    return detected(target, boxing, kind)


def _save(
    config: PredictConfig,
    parts: list[KeypointSet],
    skipped: dict[str, str],
    target_notes: tuple[str, ...],
    overlays: Overlays | None,
    exports: Exports,
    infos: dict[str, FrameInfo],
) -> PredictedFiles:
    subjects = sum(map(len, parts))
    frames = len({(info.file, info.sequence, info.view, info.frame) for info in infos.values()})
    predictions = join(parts) if parts else None
    implausible = {} if predictions is None else implausible_frames(predictions, exports.skeleton)
    listed = list_skipped(config.out, frames, skipped, implausible)
    if predictions is None:
        raise InputError(f"{config.target.path}: no frame can be predicted; {listed} lists the reasons")
    predictions.save(config.out / PREDICTIONS)
    save_config("predict", config)
    exported = exports.write(predictions, infos)
    drop_earlier(config.out, _REPLACED, exported | (set() if overlays is None else overlays.files))
    drawn = 0 if overlays is None else overlays.drawn
    in_mm = predictions.xyz_mm is not None
    notes = (*target_notes, *exports.notes(predictions), *implausible_notes(implausible, subjects, listed))
    return PredictedFiles(
        config.out / PREDICTIONS, frames, skipped, drawn, in_mm, tuple(sorted(exported)), notes, subjects
    )


def _draw(overlays: Overlays | None, batch: PredictedBatch) -> None:
    joints = batch.joints
    if overlays is None or joints.uv_px is None or joints.confidence is None:
        return
    poses = dict(zip(batch.rows.tolist(), zip(joints.uv_px, joints.confidence, strict=True), strict=True))
    for row, frame in enumerate(batch.frames):
        if row in poses:
            overlays.add(frame, *poses[row])
        else:
            overlays.add_empty(frame)


def _overlays(config: PredictConfig, skeleton: Skeleton, rates: Mapping[str, Fraction]) -> Overlays | None:
    folder = config.out / OVERLAYS
    if config.overlays == 0:
        return None
    if not rates:
        return ImageOverlays(folder, skeleton, config.overlays)
    slower = {sequence: rate / config.target.every for sequence, rate in rates.items()}
    return VideoOverlays(folder, skeleton, config.overlays, slower)


def _videos(frames: FrameStream) -> dict[Path, tuple[Fraction | None, int]]:
    """Rate (frames a second) and declared number of frames of each video; (None, 0) for a broken file.

    Nothing for images.
    """
    files = [frames.path] if isinstance(frames, Video) else frames.files if isinstance(frames, VideoFolder) else []
    found: dict[Path, tuple[Fraction | None, int]] = {}
    for path in files:
        try:
            container, stream = open_video(path)
        except InputError:
            found[path] = (None, 0)
            continue
        with container:
            found[path] = (stream.average_rate, stream.frames)
    return found


def _progress(
    frames: FrameStream, videos: Mapping[Path, tuple[Fraction | None, int]], every: int
) -> AbstractContextManager[tqdm]:
    """A bar on stderr after the first second; with an estimate where the number of frames is known."""
    if isinstance(frames, ImageFolder):
        total = len(frames)
    else:
        declared = [count for _, count in videos.values()]
        total = sum(-(-count // every) for count in declared) if all(declared) else None
    return tqdm(total=total, desc="predict", unit="frame", mininterval=0.5, delay=1, dynamic_ncols=True)


def check_hand(skeleton: Skeleton, target: TargetFrames) -> None:
    """Raise ``InputError`` where a target of people has left or right hands."""
    if target.crop.hand is not None and subject_kind(skeleton) == "person":
        raise InputError(f"the model predicts bodies ({skeleton.name}): leave hand out, and the boxes' column hand")


def check_writable(out: Path, source: Path, draws: bool, replaced: Sequence[str]) -> None:
    """Raise ``InputError`` where the folder can't be written, or where input and output overlap.

    Files that are ``replaced``, by patterns of their names, must not be input. A folder as input has its images and
    videos read, other files only where they are named. Overlays inside the input folder would be input next time.
    """
    for file in _files(out, (PREDICTIONS, *replaced)):
        read_with_folder = file.suffix in _DRAWN and file.resolve().is_relative_to(source.resolve())
        if read_with_folder or file.resolve() == source.resolve():
            raise InputError(f"{file} is an input and would be replaced: give another output folder")
    if draws and source.resolve().is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} lies in {source}, where overlays would be read as input: give another output folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise InputError(f"cannot write into {out}: {error.strerror}; choose another folder") from error
