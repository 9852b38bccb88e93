"""From a depth hand model and depth files to joints, meshes and pictures of them."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from tqdm import tqdm

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, blob_between, open_depth
from posebridge.data.frames import FrameStream, RawFrame, UnreadableFrameError
from posebridge.deployment.depth_overlay import DepthOverlays
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, keypoints_of
from posebridge.deployment.devices import usable_device
from posebridge.deployment.exports import EXPORTED, Exports
from posebridge.deployment.frame_info import FrameInfo
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.mesh_files import MESHES, PLY_FOLDER, MeshFiles, open_meshes
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.plausible_predictions import implausible_frames, implausible_notes
from posebridge.deployment.predict_config import PredictDepthConfig
from posebridge.deployment.predict_files import (
    OVERLAYS,
    PARTIAL,
    PREDICTIONS,
    PredictedFiles,
    check_writable,
    drop_earlier,
    list_skipped,
    save_config,
)
from posebridge.deployment.refined_crops import depth_batches
from posebridge.deployment.shipped_models import model_path
from posebridge.deployment.space_view import RECORDING, SpaceView
from posebridge.errors import InputError
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.skeletons.named import skeleton_named

_REPLACED = (PARTIAL, *EXPORTED, f"{OVERLAYS}/**/*.jpg", MESHES, f"{PLY_FOLDER}/**/*.ply", RECORDING)


@dataclass(frozen=True)
class _Outputs:
    """Writes meshes, pictures and the 3D view batch by batch; keypoints are kept, about a kilobyte a frame."""

    predictor: DepthHandPredictor
    overlays: DepthOverlays
    meshes: MeshFiles | None
    space: SpaceView | None
    exports: Exports
    keypoints: list[KeypointSet] = field(default_factory=list)

    @classmethod
    def open(cls, config: PredictDepthConfig, predictor: DepthHandPredictor, meshes: MeshFiles | None) -> "_Outputs":
        """Raises ``InputError`` for a 3D view without Rerun, or where its file can't be written."""
        skeleton, cube_m, faces = predictor.skeleton, predictor.spec.cube_m, predictor.hand.faces(torch.device("cpu"))
        overlays = DepthOverlays(config.out / OVERLAYS, faces, skeleton, cube_m, config.overlays)
        space = SpaceView(config.out / RECORDING, faces, skeleton, cube_m) if config.view_3d else None
        exports = Exports.of(config.formats, config.out, config.target.path, skeleton)
        return cls(predictor, overlays, meshes, space, exports)

    def add(self, crops: UnlabelledBatch, hands: DepthHands) -> None:
        """Write a batch, as the predictor returns it. Raises ``InputError`` where the disk refuses."""
        hands = self.predictor.with_output_joints(hands)
        self.keypoints.append(keypoints_of(self.predictor, crops, hands))
        if self.meshes is not None or self.exports.takes_meshes:
            mesh = self.predictor.mesh_set(crops, hands)
            if self.meshes is not None:
                self.meshes.add(mesh)
            self.exports.add_meshes(mesh)
        self.overlays.add(crops, hands)
        if self.space is not None:
            self.space.add(crops, hands)


def predict_depth_files(config: PredictDepthConfig) -> PredictedFiles:
    """Predict every readable depth frame into ``config.out``, replacing earlier predictions.

    Calibrated views of one moment are predicted together. With ``follow`` each frame is predicted by itself.
    After an interruption or an error, the keypoints until then are in ``predictions.partial.npz``.
    Raises ``InputError`` for a bad model, target, device or output folder, and where nothing can be read.
    """
    device = usable_device(config.device)
    fitting = HandFittingConfig(config.fit_steps) if config.fit_steps else None
    loaded = load_model(model_path(config.model), DEPTH_HAND)
    spec = loaded.spec
    predictor = DepthHandPredictor(spec, loaded.network.to(device), config.mano, fitting, skeleton_named(config.joints))
    crop = CubeCropConfig(spec.size_px, spec.cube_m, config.target.hand)
    check_writable(config.out, config.target.path, config.overlays != 0, _REPLACED)
    skipped: dict[str, str] = {}
    frames = _NotedFrames(open_depth(config.target))
    predict = _followed if config.follow else _each
    progress = tqdm(desc="predict", unit="frame", mininterval=0.5, delay=1, dynamic_ncols=True)
    with open_meshes(config.out, config.meshes) as meshes:
        outputs = _Outputs.open(config, predictor, meshes)
        try:
            with outputs.space or nullcontext(), progress as bar:
                for crops, hands in predict(config, frames, predictor, crop, skipped):
                    outputs.add(crops, hands)
                    bar.update(len(crops))
            return _save(config, outputs, frames.infos, skipped)
        except BaseException:
            if outputs.keypoints:
                join(outputs.keypoints).save(config.out / PARTIAL)
            raise


class _NotedFrames:
    """A reader's frames in order; ``infos`` describes those that were read so far, by key."""

    def __init__(self, frames: FrameStream):
        self._frames = frames
        self.skipped = frames.skipped  # the reader's own, which grows while it reads
        self.infos: dict[str, FrameInfo] = {}

    def __iter__(self) -> Iterator[RawFrame]:
        for frame in self._frames:
            self.infos[frame.key] = FrameInfo.of(frame)
            yield frame


def _each(
    config: PredictDepthConfig,
    frames: _NotedFrames,
    predictor: DepthHandPredictor,
    crop: CubeCropConfig,
    skipped: dict[str, str],
) -> Iterator[tuple[UnlabelledBatch, DepthHands]]:
    """Hands of all frames, batch by batch; all views of a moment are in one batch."""
    crops = DepthCrops(frames, crop, blob_between(*config.target.reach_m))
    for batch in depth_batches(crops, replace(predictor, fitting=None), config.batch_size):
        yield batch, predictor(batch.to(predictor.device))
    skipped |= crops.skipped


def _followed(
    config: PredictDepthConfig,
    frames: _NotedFrames,
    predictor: DepthHandPredictor,
    crop: CubeCropConfig,
    skipped: dict[str, str],
) -> Iterator[tuple[UnlabelledBatch, DepthHands]]:
    """Hands of all frames of a stream, one by one."""
    track = HandTracker(predictor, crop, blob_between(*config.target.reach_m))
    for frame in frames:
        try:
            tracked = track(frame)
        except UnreadableFrameError as error:
            skipped[error.file] = error.reason
            continue
        yield tracked.crop, tracked.hands
    skipped |= frames.skipped


def _save(
    config: PredictDepthConfig, outputs: _Outputs, infos: dict[str, FrameInfo], skipped: dict[str, str]
) -> PredictedFiles:
    frames, drawn = sum(map(len, outputs.keypoints)), outputs.overlays.files
    predictions = join(outputs.keypoints) if frames else None
    implausible = {} if predictions is None else implausible_frames(predictions, outputs.predictor.skeleton)
    listed = list_skipped(config.out, frames, skipped, implausible)
    if predictions is None:
        raise InputError(f"{config.target.path}: no frame can be predicted; {listed} lists the reasons")
    predictions.save(config.out / PREDICTIONS)
    save_config("predict-depth", config)
    exported = outputs.exports.write(predictions, infos)
    written = exported | drawn
    if outputs.meshes is not None:
        written |= outputs.meshes.finish()
    if config.view_3d:
        written.add(config.out / RECORDING)
    drop_earlier(config.out, _REPLACED, written)
    notes = implausible_notes(implausible, frames, listed)
    return PredictedFiles(
        config.out / PREDICTIONS, frames, skipped, len(drawn), exported=tuple(sorted(exported)), notes=notes
    )
