"""The animated picture of the README: predictions of a shipped model in rendered videos of hands.

python benchmarks/readme_picture.py --out docs/images/hands.gif
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

import posebridge
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples
from posebridge.deployment.overlay import draw_pose
from posebridge.skeletons.hand import HAND21


@dataclass(frozen=True)
class Options:
    """What is drawn."""

    out: Path = Path("docs/images/hands.gif")
    """The file."""

    model: str = "hand-rgb"
    """A shipped model, or the folder of a run."""

    videos: int = 4
    """Videos beside one another."""

    frames: int = 24
    """Frames of each video."""

    seed: int = 11
    """Seed of the renders."""

    side_px: int = 200
    """Side of each video in the picture."""

    colours: int = 128
    """Colours of the picture."""


def picture(options: Options) -> None:
    """Render, predict, draw and write."""
    count = options.videos * options.frames
    config = RenderConfig(
        domain="varied", count=count, track="hand-rgb", size_px=256, seed=options.seed, frames=options.frames
    )
    batches = list(open_samples(config).chunks(count))
    images = torch.cat([batch.rgb for batch in batches]).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    estimator = posebridge.load(options.model)
    poses = estimator.predict(list(images))
    drawn = [
        np.asarray(
            Image.fromarray(draw_pose(image, uv_px, confidence, HAND21)).resize((options.side_px, options.side_px))
        )
        for image, uv_px, confidence in zip(images, poses.uv_px, poses.confidence, strict=True)
    ]
    videos = [drawn[start : start + options.frames] for start in range(0, count, options.frames)]
    rows = [np.concatenate(frames, axis=1) for frames in zip(*videos, strict=True)]
    shown = [Image.fromarray(row).quantize(options.colours, dither=Image.Dither.NONE) for row in [*rows, *rows[::-1]]]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    shown[0].save(options.out, save_all=True, append_images=shown[1:], duration=83, loop=0, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    picture(tyro.cli(Options))
