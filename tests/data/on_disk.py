"""Small sets on disk, written in the layouts of the public releases."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image


def write_image(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> np.ndarray:
    """Write a random image and return it; lossless formats keep it exactly."""
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


def truncate(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def write_video(path: Path, frames: int = 12, width: int = 64, height: int = 48, **options: str) -> None:
    """Frame i is grey with the value 10 + 15 i and without noise, so that frames can be distinguished."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            image = np.full((height, width, 3), 10 + 15 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_pictures(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Write a video of the given images (H, W, 3) with even sides, with little compression."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def write_regressor(folder: Path) -> Path:
    """Write a joint regressor in MANO's layout: joint j is the mean of vertices 2 j and 2 j + 1."""
    weights = np.zeros((16, 778))
    for j in range(16):
        weights[j, [2 * j, 2 * j + 1]] = 0.5
    np.save(folder / "regressor.npy", weights)
    return folder / "regressor.npy"
