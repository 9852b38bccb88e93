"""Predictions of the page: of an image, a video, or a camera. One thread predicts all of them."""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from posebridge.contracts.files import json_bytes
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.data.datasets.video import Video
from posebridge.data.datasets.video_index import index_video
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.image_file import read_picture
from posebridge.deployment.detected_frames import FollowedBoxing
from posebridge.errors import InputError, one_line
from posebridge.serve.frame_prediction import FrameOptions, FramePoses, FramePredictor
from posebridge.serve.uploads import RefusedError

Source = Literal["image", "video", "camera"]
State = Literal["running", "done", "failed", "cancelled"]
T = TypeVar("T")

_KEPT = 8  # predictions whose results stay in memory, about a kilobyte a frame
_CAMERA_FRAMES = 9_000  # of one camera; the last ones stay: five minutes at 30 frames a second
_CHUNK_S = 0.1  # of a video, between which frames of a camera get their turn
_FRAMES_A_REPLY = 500
_ABANDONED_S = 120.0  # a video that no page asks for any more is given up; hidden pages ask once a minute


@dataclass
class Prediction:
    """Frames of one image, video or camera, predicted so far."""

    source: Source
    options: FrameOptions
    boxing: FollowedBoxing | None = None  # of a camera
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: State = "running"
    frames: deque[FramePoses] = field(default_factory=lambda: deque(maxlen=_CAMERA_FRAMES))
    count: int = 0  # of frames predicted, those that were dropped from ``frames`` included
    total: int | None = None
    skipped: dict[str, str] = field(default_factory=dict)  # key -> why the frame has no pose
    error: str = ""
    started: float = field(default_factory=time.monotonic)
    asked: float = field(default_factory=time.monotonic)  # when a page asked last

    def add(self, poses: FramePoses, without_subject: str) -> None:
        """Append a frame; ``without_subject`` is the reason where it shows no subject."""
        self.frames.append(poses)
        self.count += 1
        if poses.keypoints is None:
            self.skipped[poses.key] = without_subject

    def as_json(self, since: int) -> str:
        """State and the frames from number ``since`` on, some hundred at most, as JSON."""
        self.asked = time.monotonic()
        dropped = self.count - len(self.frames)
        first = max(since, dropped)
        sent = [frame.json_text for frame in islice(self.frames, first - dropped, first - dropped + _FRAMES_A_REPLY)]
        state = {
            "id": self.id,
            "source": self.source,
            "state": self.state,
            "count": self.count,
            "total": self.total,
            "next": first + len(sent),
            "seconds": round(time.monotonic() - self.started, 1),
            "error": self.error,
            "skipped": len(self.skipped),
        }
        return f'{json.dumps(state)[:-1]}, "frames": [{", ".join(sent)}]}}'

    def poses(self) -> list[KeypointSet]:
        """The poses of each frame that has one. Raises ``RefusedError`` where none has."""
        parts = [frame.keypoints for frame in self.frames if frame.keypoints is not None]
        if not parts:
            raise RefusedError("no frame has a pose, so there is nothing to download", 404)
        return parts


class Worker:
    """One thread that predicts, so that the event loop never waits."""

    def __init__(self, predictor: FramePredictor):
        self.predictor = predictor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that runs in the thread, after what was asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def close(self) -> None:
        """Let the thread end after its current piece of work."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Predictions:
    """The predictions that pages have asked for; the oldest ones are dropped."""

    def __init__(self, worker: Worker, max_video_frames: int):
        self.worker = worker
        self.max_video_frames = max_video_frames
        self.without_subject = f"no {'hand' if worker.predictor.is_hand else 'person'} in the frame"
        self._kept: dict[str, Prediction] = {}
        self._videos: dict[str, asyncio.Task[None]] = {}
        self._cameras_in_flight: set[str] = set()

    def find(self, name: str) -> Prediction:
        """The prediction of that id. Raises ``RefusedError`` for one that isn't there any more."""
        if name not in self._kept:
            raise RefusedError("this prediction is not kept any more: predict again", 404)
        return self._kept[name]

    async def image(self, file: Path, options: FrameOptions) -> Prediction:
        """Predict an image file, which is removed. Raises ``InputError`` where it can't be read."""
        prediction = Prediction("image", options, total=1)
        try:
            frame = await self.worker.run(_image_frame, file, "image", 0)
            prediction.add(await self.worker.run(self.worker.predictor, frame, options), self.without_subject)
        finally:
            file.unlink(missing_ok=True)
        prediction.state = "done"
        return self._keep(prediction)

    def video(self, file: Path, options: FrameOptions) -> Prediction:
        """Start to predict a video file, which is removed at the end. Raises ``RefusedError`` while another runs."""
        if self._videos:
            file.unlink(missing_ok=True)
            raise RefusedError("another video is being predicted: wait for its end, or cancel it", 409)
        prediction = self._keep(Prediction("video", options))
        task = asyncio.create_task(self._predict_video(prediction, file))
        self._videos[prediction.id] = task
        task.add_done_callback(lambda _: self._videos.pop(prediction.id, None))
        return prediction

    def camera(self, options: FrameOptions) -> Prediction:
        """Start the prediction of a camera, whose frames follow one by one."""
        return self._keep(Prediction("camera", options, boxing=self.worker.predictor.following()))

    async def camera_frame(self, name: str, picture: Path, options: FrameOptions) -> FramePoses:
        """Predict the next frame of a camera from an image file, which is removed.

        Raises ``RefusedError`` while the frame before is being predicted: pages send the newest one afterwards.
        """
        prediction = self.find(name)
        if name in self._cameras_in_flight:
            picture.unlink(missing_ok=True)
            raise RefusedError("the frame before is still being predicted: send the newest one after its answer", 429)
        self._cameras_in_flight.add(name)
        try:
            poses = await self.worker.run(self._camera_poses, picture, prediction, options)
        finally:
            self._cameras_in_flight.discard(name)
            picture.unlink(missing_ok=True)
        prediction.add(poses, self.without_subject)
        return poses

    async def cancel(self, name: str) -> None:
        """End a video or camera; its frames so far stay."""
        prediction = self.find(name)
        if prediction.state == "running":
            prediction.state = "done" if prediction.source == "camera" else "cancelled"
        task = self._videos.get(name)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """End all work."""
        for name in list(self._videos):
            await self.cancel(name)
        self.worker.close()

    def _keep(self, prediction: Prediction) -> Prediction:
        ended = [name for name, kept in self._kept.items() if kept.state != "running" or kept.source == "camera"]
        for name in ended[: max(0, len(self._kept) + 1 - _KEPT)]:
            del self._kept[name]
        self._kept[prediction.id] = prediction
        return prediction

    def _camera_poses(self, picture: Path, prediction: Prediction, options: FrameOptions) -> FramePoses:
        number = prediction.count
        frame = _image_frame(picture, f"camera_{number:06d}", number)
        return self.worker.predictor(frame, options, prediction.boxing)

    async def _predict_video(self, prediction: Prediction, file: Path) -> None:
        """Predict frame after frame in pieces of ``_CHUNK_S``, until the end, a refusal or a cancellation."""
        try:
            index = await self.worker.run(index_video, file)
            if index.count > self.max_video_frames:
                most = self.max_video_frames
                raise InputError(f"the video has {index.count} frames, and {most} are allowed: shorten it")
            prediction.total, prediction.frames = index.count, deque(maxlen=max(1, index.count))
            video = Video(file)
            frames = self._video_frames(video, index.times_s(), prediction.options)
            while prediction.state == "running":
                poses, is_end = await self.worker.run(_next_chunk, frames)
                for frame_poses in poses:
                    prediction.add(frame_poses, self.without_subject)
                if is_end:
                    prediction.skipped |= {key.replace(str(file), "video"): why for key, why in video.skipped.items()}
                    prediction.state = "done"
                elif time.monotonic() - prediction.asked > _ABANDONED_S:
                    prediction.state = "cancelled"
            await self.worker.run(frames.close)
        except InputError as error:
            prediction.state, prediction.error = "failed", str(error).removeprefix(f"{file}: ")
        except Exception as error:
            prediction.state, prediction.error = "failed", f"a defect of posebridge: {one_line(error)}"
            raise
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    def _video_frames(
        self, video: Video, times_s: np.ndarray | None, options: FrameOptions
    ) -> Generator[FramePoses, None, None]:
        boxing = self.worker.predictor.following()
        for frame in video:
            time_s = None if times_s is None or frame.frame >= len(times_s) else float(times_s[frame.frame])
            named = replace(frame, key=f"video_{frame.frame:06d}")
            yield self.worker.predictor(named, options, boxing, time_s)


def _next_chunk(frames: Iterator[FramePoses]) -> tuple[list[FramePoses], bool]:
    """The frames that are predicted within ``_CHUNK_S``, one at least, and whether they end."""
    until, chunk = time.monotonic() + _CHUNK_S, []
    for poses in frames:
        chunk.append(poses)
        if time.monotonic() > until:
            return chunk, False
    return chunk, True


def poses_npz(poses: Sequence[KeypointSet], folder: Path) -> bytes:
    """The content of ``predictions.npz`` as ``posebridge predict`` writes it, by way of a file in a folder."""
    file = folder / f"{secrets.token_hex(8)}.npz"
    try:
        join(poses).save(file)
        return file.read_bytes()
    finally:
        file.unlink(missing_ok=True)


def poses_json(poses: Sequence[KeypointSet], model: str, skipped: Mapping[str, str]) -> bytes:
    """The same poses as JSON: model, joint_names, frames with key, uv_px, xyz_mm and confidence, and skipped by key."""
    keypoints = join(poses)
    arrays = {"uv_px": keypoints.uv_px, "xyz_mm": keypoints.xyz_mm, "confidence": keypoints.confidence}
    known = {name: np.round(array.astype(np.float64), 4) for name, array in arrays.items() if array is not None}
    frames = [
        {"key": str(key), **{name: array[row].tolist() for name, array in known.items()}}
        for row, key in enumerate(keypoints.key)
    ]
    content = {"model": model, "joint_names": keypoints.joint_names, "frames": frames, "skipped": dict(skipped)}
    return json_bytes(content, indent=None)


def _image_frame(file: Path, key: str, number: int) -> RawFrame:
    """A picture as a frame. Raises ``InputError`` where it can't be decoded."""
    try:
        picture = read_picture(file)
    except UnreadableFrameError as error:
        raise InputError(f"the picture can't be read: {error.reason}") from error
    return RawFrame(picture.image, key, frame=number, turn=picture.turn, mirror=picture.mirror)
