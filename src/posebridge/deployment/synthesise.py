"""Latent walks, pose transfer and a page of sliders, from a model of image synthesis and images or seeds."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from posebridge.contracts.files import write_atomically
from posebridge.data.crops import batch_of
from posebridge.data.image_crops import crop_images
from posebridge.data.target import open_target
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.latent_walks import combine_latents, interpolate, transfer
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import IMAGE_SYNTHESIS
from posebridge.deployment.overlay import VideoFile
from posebridge.deployment.synthesise_config import SynthesiseConfig
from posebridge.errors import InputError
from posebridge.networks.image_synthesis import ImageSynthesisNetwork
from posebridge.synthesis.domains import find_domain
from posebridge.synthesis.stream import Samples

_GAP_PX, _GROUND = 4, 255  # between the images of a grid
_FRAMES = 2_500  # of a page: about 5 MB at 64 px
_QUALITY = 88
_SHOWN_PX = 320  # images are enlarged by a whole factor to at least this side in films


@dataclass(frozen=True)
class SynthesisedFile:
    """What was written."""

    file: Path
    inputs: int
    images: int  # synthesised

    def __str__(self) -> str:
        return f"{self.images} images synthesised from {self.inputs} inputs in {self.file}"


def synthesise(config: SynthesiseConfig) -> SynthesisedFile:
    """Write the file of a config.

    Raises ``InputError`` for a model of another kind, inputs that can't be read or are fewer than two, a page of too
    many images, and where the folder or the disk refuses.
    """
    model = load_model(config.model, IMAGE_SYNTHESIS)
    network = model.network
    inputs = _rendered(config, model.spec.size_px) if config.images is None else _read(config, model.spec.size_px)
    if len(inputs) < 2:
        raise InputError(f"{len(inputs)} input gives nothing to combine: give two images or seeds, or more")
    match config.kind:
        case "walk":
            count = _write_walk(config, network, inputs)
        case "transfer":
            count = _write_transfer(config, network, inputs)
        case "page":
            count = _write_page(config, network, inputs)
    return SynthesisedFile(config.out, len(inputs), count)


def _read(config: SynthesiseConfig, size_px: int) -> Float[Tensor, "N 3 S S"]:
    assert config.images is not None
    given = TargetConfig(config.images, boxes=config.boxes, detector="none", hand=config.hand, every=config.every)
    target = open_target(given, size_px)
    frames = [*islice(target, config.most)]
    return batch_of(crop_images(frames, target.crop)).rgb


def _rendered(config: SynthesiseConfig, size_px: int) -> Float[Tensor, "N 3 S S"]:
    domain = find_domain("hand-rgb", config.domain)
    return torch.cat([Samples(domain, size_px, seed, config.contents).samples(0, 1).rgb for seed in config.seeds])


def _write_walk(config: SynthesiseConfig, network: ImageSynthesisNetwork, inputs: Float[Tensor, "N 3 S S"]) -> int:
    """Walks from each input to the next one. The factor that stays is that of the first input throughout."""
    if config.factor == "pose":
        moving, still = network.pose_latents, network.content_latents(inputs[:1])
    else:
        moving, still = network.content_latents, network.pose_latents(inputs[:1])
    with torch.inference_mode():
        path = interpolate(*_ends(moving(inputs)), config.steps)
        rows = [
            combine_latents(network, part, still).image[:, 0]
            if config.factor == "pose"
            else combine_latents(network, still, part).image[0]
            for part in path
        ]
    if config.out.suffix.lower() == ".png":
        grid = [[first, *row, last] for (first, last), row in zip(pairwise(inputs), rows, strict=True)]
        _save_grid(config.out, grid)
    else:
        _save_film(config, [image for row in rows for image in row])
    return sum(map(len, rows))


def _ends(latents: Float[Tensor, "N d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Of the lines from each latent vector to the next one."""
    return latents[:-1], latents[1:]


def _write_transfer(config: SynthesiseConfig, network: ImageSynthesisNetwork, inputs: Float[Tensor, "N 3 S S"]) -> int:
    """A grid of all inputs' poses (rows) in all inputs' contents (columns), with the inputs at its edges."""
    made = transfer(network, inputs, inputs).image
    head = [torch.ones_like(inputs[0]), *inputs]
    _save_grid(config.out, [head, *([image, *row] for image, row in zip(inputs, made, strict=True))])
    return made.shape[0] * made.shape[1]


def _write_page(config: SynthesiseConfig, network: ImageSynthesisNetwork, inputs: Float[Tensor, "N 3 S S"]) -> int:
    with torch.inference_mode():
        poses, contents = (
            _path(latents, config.steps) for latents in (network.pose_latents(inputs), network.content_latents(inputs))
        )
    count = len(poses) * len(contents)
    if count > _FRAMES:
        raise InputError(f"a page of {count} images is too large: take fewer inputs or --steps, up to {_FRAMES} images")
    rows = (combine_latents(network, pose, contents).image[0] for pose in poses[:, None])
    frames = [[_jpeg(_pixels(image)) for image in row] for row in rows]
    write_atomically(config.out, _page(frames, network.config.size_px).encode())
    return count


def _path(latents: Float[Tensor, "N d"], steps: int) -> Float[Tensor, "n d"]:
    """The way along all latent vectors, each end of a line once."""
    lines = interpolate(*_ends(latents), steps)
    return torch.cat([lines[:, :-1].flatten(0, 1), latents[-1:]])


def _pixels(image: Float[Tensor, "3 S S"]) -> UInt8[np.ndarray, "S S 3"]:
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _save_grid(path: Path, rows: Sequence[Sequence[Float[Tensor, "3 S S"]]]) -> None:
    side = rows[0][0].shape[-1]
    step = side + _GAP_PX
    canvas = np.full((len(rows) * step + _GAP_PX, len(rows[0]) * step + _GAP_PX, 3), _GROUND, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = _GAP_PX + y * step, _GAP_PX + x * step
            canvas[top : top + side, left : left + side] = _pixels(image)
    write_atomically(path, _encoded(canvas, "PNG"))


def _save_film(config: SynthesiseConfig, images: Iterable[Float[Tensor, "3 S S"]]) -> None:
    frames = [_enlarged(_pixels(image)) for image in images]
    if config.out.suffix.lower() == ".gif":
        first, *others = (Image.fromarray(frame) for frame in frames)
        data = io.BytesIO()
        first.save(data, "GIF", save_all=True, append_images=others, duration=round(1000 / config.fps), loop=0)
        write_atomically(config.out, data.getvalue())
        return
    film = VideoFile(config.out, frames[0].shape[:2], Fraction(config.fps))
    for frame in frames:
        film.add(frame)
    film.finish()


def _enlarged(pixels: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "T T 3"]:
    factor = max(1, -(-_SHOWN_PX // len(pixels)))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _encoded(pixels: UInt8[np.ndarray, "H W 3"], form: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, form, quality=_QUALITY)
    return data.getvalue()


def _jpeg(pixels: UInt8[np.ndarray, "S S 3"]) -> str:
    return base64.b64encode(_encoded(pixels, "JPEG")).decode()


def _page(frames: Sequence[Sequence[str]], size_px: int) -> str:
    """A page with one image and two sliders. ``frames`` are JPEG files in base64, a row for each pose."""
    shown = max(_SHOWN_PX, size_px)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>Pose and content</title>
<style>
  body {{ font: 16px sans-serif; max-width: {shown}px; margin: 2em auto; }}
  img, input {{ width: 100%; }}
  img {{ image-rendering: pixelated; }}
</style>
<h1>Pose and content</h1>
<img id="image" alt="synthesised hand">
<label>Pose <input id="pose" type="range" min="0" max="{len(frames) - 1}" value="0"></label>
<label>Content <input id="content" type="range" min="0" max="{len(frames[0]) - 1}" value="0"></label>
<script>
  const frames = {json.dumps(frames)};
  const [image, pose, content] = ["image", "pose", "content"].map((id) => document.getElementById(id));
  const show = () => (image.src = "data:image/jpeg;base64," + frames[pose.value][content.value]);
  for (const slider of [pose, content]) slider.addEventListener("input", show);
  show();
</script>
</html>
"""
