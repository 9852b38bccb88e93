"""The recipes at a size that trains in a second or two, and targets for them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.on_disk import truncate
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructorConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.warping import WarpingConfig
from posebridge.recipes import body_rgb, hand_depth, hand_rgb
from posebridge.recipes.adapt_sizes import BODY, HAND, AdaptSize
from posebridge.recipes.track import TrackSize
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_domains import STREET
from posebridge.synthesis.stream import Samples
from posebridge.training.options import Hardware

ONE_CPU = Hardware(accelerator="cpu", precision="32")
CPU_FLAGS = ("--accelerator", "cpu", "--precision", "32")
SIDE, WIDTH, HEIGHT = 32, 72, 56  # of the network's crops, and of the target's files
PLACE = (10, 4)  # left upper corner of a 48 px render in its file
FRAMES = 12

_NETWORK = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8)
_REDRAWING = FrameReconstructorConfig(
    warping=WarpingConfig(HourglassConfig(blocks=2, channels=4, most_channels=8)),
    generator=GeneratorConfig(channels=4, most_channels=8, residual_blocks=1),
)


def _source(config, steps):
    return replace(config, schedule=replace(config.schedule, steps=steps), batch_size=8)


def _mean_teacher(config, steps):
    return replace(_source(config, steps), selections=3)


def _geometric(config, steps):
    reconstruction = config.reconstruction
    schedule = replace(reconstruction.schedule, steps=4)
    warm_start = replace(reconstruction.warm_start, steps=4)
    reconstruction = replace(
        reconstruction, reconstructor=_REDRAWING, schedule=schedule, warm_start=warm_start, batch_pairs=4
    )
    source = None if config.source is None else _source(config.source, 12)
    return replace(_mean_teacher(config, steps), source=source, pretraining=None, reconstruction=reconstruction)


def _adapt(size: AdaptSize) -> AdaptSize:
    return replace(
        size,
        size_px=SIDE,
        source_samples=64,
        replayed_samples=32,
        source_frames=24,
        network=replace(_NETWORK, joints=size.network.joints),
        source=_source(size.source, 12),
        mean_teacher=_mean_teacher(size.mean_teacher, 9),
        geometric_reconstruction=_geometric(size.geometric_reconstruction, 9),
    )


SMALL_HAND_ADAPT = _adapt(HAND.sizes["small"])
SMALL_BODY_ADAPT = _adapt(BODY.sizes["small"])


def _track(size: TrackSize) -> TrackSize:
    return replace(
        size,
        size_px=SIDE,
        source_samples=66,
        target_samples=48,
        test_samples=24,
        network=replace(_NETWORK, joints=size.network.joints),
        source=_source(size.source, 12),
        supervised_target=_source(size.supervised_target, 6),
        mean_teacher=_mean_teacher(size.mean_teacher, 9),
        geometric_reconstruction=size.geometric_reconstruction and _geometric(size.geometric_reconstruction, 9),
    )


SMALL_HAND_RGB = _track(hand_rgb.SMALL)
SMALL_BODY_RGB = _track(body_rgb.SMALL)
SMALL_HAND_DEPTH = _track(hand_depth.SMALL)


def shrink(monkeypatch) -> None:
    """The size ``small`` of every recipe becomes smaller still."""
    monkeypatch.setitem(HAND.sizes, "small", SMALL_HAND_ADAPT)
    monkeypatch.setitem(BODY.sizes, "small", SMALL_BODY_ADAPT)
    monkeypatch.setitem(hand_rgb.HAND_RGB.sizes, "small", SMALL_HAND_RGB)
    monkeypatch.setitem(body_rgb.BODY_RGB.sizes, "small", SMALL_BODY_RGB)
    monkeypatch.setitem(hand_depth.HAND_DEPTH.sizes, "small", SMALL_HAND_DEPTH)


class TargetOnDisk(NamedTuple):
    """A user's images, and their labels."""

    images: Path
    truth: Path
    labels: KeypointSet  # of every readable image, our joints in our order


def write_target(folder: Path) -> TargetOnDisk:
    """Street renders inside larger, oblong images; a broken file among them.

    The truth is in another order of frames and joints, lacks a frame and a joint, and has a frame too many.
    """
    batch = Samples(STREET, 48, seed=99).samples(0, FRAMES)
    images = folder / "images"
    images.mkdir(parents=True)
    for i, image in enumerate(batch.rgb):
        canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        canvas[PLACE[1] : PLACE[1] + 48, PLACE[0] : PLACE[0] + 48] = pixels
        Image.fromarray(canvas).save(images / f"frame_{i:02d}.png")
    Image.fromarray(canvas).save(images / "frame_50.jpg")
    truncate(images / "frame_50.jpg")
    keys = np.array([f"frame_{i:02d}" for i in range(FRAMES)])
    labels = KeypointSet(keys, HAND21.joints, uv_px=batch.uv_px.numpy() + np.array(PLACE))
    frames, joints = np.arange(FRAMES)[:0:-1], np.arange(20)[::-1]
    shuffled = labels.take(frames, joints)
    extra = np.append(shuffled.key, "frame_77")
    uv_px = np.append(shuffled.uv_px, np.zeros((1, 20, 2)), axis=0)
    replace(shuffled, key=extra, uv_px=uv_px).save(folder / "truth.npz")
    return TargetOnDisk(images, folder / "truth.npz", labels)
