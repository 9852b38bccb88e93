"""Time of each part of ``posebridge predict``, for photographs one by one and for a video, in PyTorch and ONNX Runtime.

python benchmarks/prediction_path.py

The model is the small preset's hand network of 128 px with random weights. Files are of 640x480 pixels. Repeats of all
parts and of both runtimes alternate, and the fastest counts, so that other programs disturb little.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import tyro
from av.video.stream import VideoStream
from PIL import Image

from posebridge.data.crops import batch_of
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.video import Video
from posebridge.data.frames import RawFrame
from posebridge.data.image_crops import CropConfig, ImageCrops, crop_images
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec
from posebridge.deployment.onnx_export import export_model
from posebridge.deployment.onnx_model import OnnxModel
from posebridge.deployment.overlay import ImageOverlays, VideoOverlays, draw_pose
from posebridge.deployment.predict_config import PredictConfig
from posebridge.deployment.predict_files import predict_files
from posebridge.deployment.predictor import PosePredictor, file_pixels
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.presets.pose_specs import small_pose
from posebridge.skeletons.hand import HAND21

_SIZE = (640, 480)
_BOX = np.array([170.0, 90.0, 470.0, 390.0])
_WARMING = 8  # batches in training mode, from which a random network takes its statistics


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 30
    """Repeats of each part; the fastest counts."""

    runs: int = 3
    """Runs of the whole command on the video; the fastest counts."""

    threads: int = 2
    """CPU threads of both runtimes."""

    frames: int = 300
    """Frames of the video."""

    batch: int = 16
    """Frames of the video that are predicted together."""

    files: Path | None = None
    """Folder for model, photograph and video, which are used again where they exist. Without it: a temporary one."""


@dataclass(frozen=True)
class Paths:
    """Files of the measurement."""

    folder: Path

    @property
    def model(self) -> Path:
        """Folder of the model."""
        return self.folder / "model"

    @property
    def onnx(self) -> Path:
        """The same model as ONNX."""
        return self.folder / "hand.onnx"

    @property
    def photo(self) -> Path:
        """A photograph."""
        return self.folder / "photo.jpg"

    @property
    def video(self) -> Path:
        """A video, H.264."""
        return self.folder / "video.mp4"


def random_network() -> tuple[PoseSpec, PoseResNet]:
    """A network of random weights, whose statistics are those of random images, so that no layer overflows."""
    spec = replace(small_pose(HAND21, 128), reference_length_m=0.1)
    spec = spec.with_encoder_weights("none")
    torch.manual_seed(0)
    network = POSE.build(spec).train()
    with torch.no_grad():
        for _ in range(_WARMING):
            network(torch.nn.functional.interpolate(torch.rand(16, 3, 16, 16), size=spec.size_px, mode="bilinear"))
    return spec, network.eval()


def write_files(paths: Paths, frames: int) -> None:
    """Write model, photograph and video: a moving smooth texture, as compressible as a hand before a wall."""
    spec, network = random_network()
    save_model(paths.model, spec, network)
    export_model(paths.model, paths.onnx)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    texture = cv2.resize(noise, (2 * _SIZE[0], _SIZE[1]), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(texture[:, : _SIZE[0]]).save(paths.photo, quality=90)
    with av.open(str(paths.video), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for i in range(frames):
            start = 2 * i % _SIZE[0]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[:, start : start + _SIZE[0]], np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class TorchParts:
    """The parts of ``PosePredictor.predict_crops``."""

    def __init__(self, predictor: PosePredictor, crops: ImageCrops):
        assert isinstance(predictor.network, PoseResNet)
        self.predictor, self.network, self.crops = predictor, predictor.network, crops
        with torch.inference_mode():
            self.batch = batch_of(crops)
            self.maps = self.network(self.batch.rgb)
            self.uv_px = self.network.predict(self.batch.rgb).uv_px

    @torch.inference_mode()
    def forward(self) -> None:
        """The network alone."""
        self.network(batch_of(self.crops).rgb)

    @torch.inference_mode()
    def decode(self) -> None:
        """Maps to joints."""
        heat, depth = self.maps
        self.network.decode_maps(heat.float(), depth.float(), self.batch.rgb.shape[-2:])

    @torch.inference_mode()
    def uncrop(self) -> None:
        """Joints to pixels of the file."""
        file_pixels(self.uv_px, self.batch.T_crop_file)

    def whole(self) -> None:
        """All of it."""
        self.predictor.predict_crops(self.crops)


def fastest_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of the fastest call of each; repeats alternate, the first is not counted."""
    fastest = dict.fromkeys(calls, float("inf"))
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if repeat:
                fastest[name] = min(fastest[name], 1000 * (time.perf_counter() - started))
    return fastest


def network_calls(predictor: PosePredictor, onnx: CropPredictor, crops: ImageCrops) -> dict[str, Callable[[], object]]:
    """What both runtimes do with crops, by name."""
    parts = TorchParts(predictor, crops)
    return {
        "network": parts.forward,
        "maps to joints": parts.decode,
        "joints to pixels of the file": parts.uncrop,
        "torch": parts.whole,
        "onnx": lambda: onnx.predict_crops(crops),
    }


def photo_table(paths: Paths, predictor: PosePredictor, onnx: CropPredictor, options: Options) -> str:
    """Parts of one photograph, in milliseconds."""
    reader = ImageFolder(paths.photo)
    frame = replace(reader[0], box_xyxy=_BOX)
    config = CropConfig(predictor.size_px, 1.2)
    crops = crop_images([frame], config)
    found = predictor.predict_crops(crops)
    assert found.uv_px is not None
    assert found.confidence is not None
    uv_px, confidence = found.uv_px[0], found.confidence[0]

    def draw_and_write() -> None:
        with ImageOverlays(paths.folder / "drawn", HAND21, None) as overlays:
            overlays.add(frame, uv_px, confidence)

    shared = {
        "decode JPEG": lambda: reader[0],
        "crop": lambda: crop_images([frame], config),
        "draw": lambda: draw_pose(frame.rgb, uv_px, confidence, HAND21),
        "draw, encode and write JPEG": draw_and_write,
    }
    both = {
        "torch all": lambda: predictor.predict_crops(crop_images([frame], config)),
        "onnx all": lambda: onnx.predict_crops(crop_images([frame], config)),
    }
    ms = fastest_ms(shared | network_calls(predictor, onnx, crops) | both, options.repeats)
    return _rows("one photograph, ms", ms, [*shared])


def video_table(paths: Paths, predictor: PosePredictor, onnx: CropPredictor, options: Options) -> str:
    """Parts of a video, in milliseconds for each frame."""
    frames = [frame for frame, _ in zip(Video(paths.video), range(options.batch), strict=False)]
    frames = [replace(frame, box_xyxy=_BOX) for frame in frames]
    config = CropConfig(predictor.size_px, 1.2)
    crops = crop_images(frames, config)
    found = predictor.predict_crops(crops)
    assert found.uv_px is not None
    assert found.confidence is not None
    uv_px, confidence = found.uv_px, found.confidence
    drawn = [draw_pose(frame.rgb, uv_px[0], confidence[0], HAND21) for frame in frames]
    shared = {
        "crop": lambda: crop_images(frames, config),
        "draw": lambda: [
            draw_pose(frame.rgb, uv, c, HAND21) for frame, uv, c in zip(frames, uv_px, confidence, strict=True)
        ],
    }
    both = {
        "torch all": lambda: predictor.predict_crops(crop_images(frames, config)),
        "onnx all": lambda: onnx.predict_crops(crop_images(frames, config)),
    }
    ms = fastest_ms(shared | network_calls(predictor, onnx, crops) | both, max(3, options.repeats // 5))
    ms = {name: value / len(frames) for name, value in ms.items()}
    whole = fastest_ms(
        {
            "decode video": lambda: sum(1 for _ in Video(paths.video)),
            "encode video": lambda: _encode(paths.folder / "encoded.mp4", drawn, options.frames),
        },
        options.runs,
    )
    ms |= {name: value / options.frames for name, value in whole.items()}
    return _rows(f"video, batches of {options.batch}, ms a frame", ms, [*whole, *shared])


def _rows(title: str, ms: dict[str, float], shared: list[str]) -> str:
    """A table: parts that both runtimes share, then each runtime's."""
    lines = [f"| {title} | PyTorch | ONNX Runtime | ratio |", "|---|---|---|---|"]
    lines += [f"| {name} | {ms[name]:.2f} | {ms[name]:.2f} | |" for name in shared]
    lines += [
        f"| {name} | {ms[name]:.2f} | in the graph | |"
        for name in ("network", "maps to joints", "joints to pixels of the file")
    ]
    for name, torch_ms, onnx_ms in (
        ("network to pixels of the file", ms["torch"], ms["onnx"]),
        ("**crop to pixels of the file**", ms["torch all"], ms["onnx all"]),
    ):
        lines.append(f"| {name} | {torch_ms:.2f} | {onnx_ms:.2f} | {onnx_ms / torch_ms:.2f} |")
    return "\n".join(lines)


class DrawnFrames(VideoOverlays):
    """Writes frames that are drawn already."""

    def add_drawn(self, frame: RawFrame, image: np.ndarray) -> None:
        """Encode one frame."""
        self._write(frame, image)


def _encode(path: Path, drawn: list[np.ndarray], count: int) -> None:
    frame = RawFrame(drawn[0], path.stem, path.stem)
    with DrawnFrames(path.parent, HAND21, None, {path.stem: Fraction(30)}) as overlays:
        for i in range(count):
            overlays.add_drawn(frame, drawn[i % len(drawn)])


def command_table(paths: Paths, options: Options) -> str:
    """Frames a second of the whole command on the video."""

    def run(model: Path, overlays: int | None) -> Callable[[], object]:
        config = PredictConfig(
            model, TargetConfig(paths.video), paths.folder / "out", overlays, options.batch, device="cpu"
        )
        return lambda: predict_files(config)

    calls = {
        (drawing, runtime): run(model, overlays)
        for drawing, overlays in (("off", 0), ("on", None))
        for runtime, model in (("torch", paths.model), ("onnx", paths.onnx))
    }
    ms = fastest_ms({" ".join(key): call for key, call in calls.items()}, options.runs)
    lines = ["| `predict` of the video, frames a second | PyTorch | ONNX Runtime | ratio |", "|---|---|---|---|"]
    for drawing in ("off", "on"):
        torch_fps, onnx_fps = (1000 * options.frames / ms[f"{drawing} {runtime}"] for runtime in ("torch", "onnx"))
        lines.append(f"| drawing {drawing} | {torch_fps:.0f} | {onnx_fps:.0f} | {onnx_fps / torch_fps:.2f} |")
    return "\n".join(lines)


def tables(options: Options) -> Iterator[str]:
    """Markdown: photographs, the parts of a video, and the whole command."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(options.files or Path(folder))
        if not paths.video.exists():
            write_files(paths, options.frames)
        spec, network = random_network()
        predictor, onnx = PosePredictor(spec, network), OnnxModel.load(paths.onnx, options.threads)
        yield photo_table(paths, predictor, onnx, options)
        yield video_table(paths, predictor, onnx, options)
        yield command_table(paths, options)


if __name__ == "__main__":
    for table in tables(tyro.cli(Options)):
        print(table, end="\n\n", flush=True)
