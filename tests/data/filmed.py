"""Synthetic films: textured walls, a disc that moves in front of them, cameras that rest, pan and flicker."""

import cv2
import numpy as np

from posebridge.data.crops import CropConfig, crop_frame
from posebridge.data.frames import RawFrame
from posebridge.data.pairs import PairConfig
from posebridge.data.sequences import Sequences, ShotDetector

WIDTH, HEIGHT = 192, 144


def room(seed: int, margin: int = 100) -> np.ndarray:
    """A wall (H, W, 3) of coloured blobs and lines, wider than a picture by ``margin`` on each side."""
    random = np.random.default_rng(seed)
    height, width = HEIGHT + 2 * margin, WIDTH + 2 * margin
    wall = np.zeros((height, width, 3))
    for scale, share in ((48, 60), (16, 40), (6, 20)):
        coarse = random.uniform(-share, share, (height // scale + 2, width // scale + 2, 3))
        wall += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(wall + random.uniform(60, 180, 3), 0, 255).astype(np.uint8)


def film(
    seed: int, frames: int, pan_px: float = 0.0, disc_px: int = 25, speed_px: float = 3.0, margin: int = 100
) -> list[np.ndarray]:
    """Images of a disc before a wall. ``pan_px`` is the camera's pan from frame to frame."""
    wall, pictures = room(seed, margin), []
    for i in range(frames):
        left = margin + round(pan_px * i)
        picture = wall[margin : margin + HEIGHT, left : left + WIDTH].copy()
        u, v = disc_place(i, speed_px)
        cv2.circle(picture, (round(u), round(v)), disc_px, (200, 150, 120), cv2.FILLED)
        cv2.circle(picture, (round(u), round(v)), disc_px // 2, (90, 60, 160), cv2.FILLED)
        pictures.append(picture)
    return pictures


def disc_place(i: int, speed_px: float = 3.0) -> tuple[float, float]:
    """Position of the disc in frame ``i``; it moves to and fro."""
    phase = speed_px * i / 40
    return WIDTH / 2 + 40 * np.sin(phase), HEIGHT / 2 + 25 * np.cos(1.7 * phase)


def watched(
    pictures: list[np.ndarray],
    stride: tuple[int, int] = (5, 15),
    numbers: list[int] | None = None,
    boxes: list[np.ndarray] | None = None,
    photos: bool = False,
) -> Sequences:
    """Shots and motion detected in these images, as one sequence ``clip``."""
    detector = ShotDetector()
    frames = [
        RawFrame(
            picture,
            f"clip_{number:06d}",
            "clip",
            number,
            box_xyxy=None if boxes is None else boxes[i],
        )
        for i, (picture, number) in enumerate(zip(pictures, numbers or range(len(pictures)), strict=True))
    ]
    crops = list(detector.observed((frame, crop_frame(frame, CropConfig(32))) for frame in frames))
    assert len(crops) == len(pictures)
    return detector.sequences(PairConfig(stride), photos)
