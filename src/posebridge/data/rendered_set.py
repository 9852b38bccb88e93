"""A labelled set, rendered once and kept. Any number of workers makes the same shards."""

import importlib.metadata
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from posebridge.bodies.anny_loading import PHENOTYPES
from posebridge.bodies.body_articulation import BODY_ANGLE_NAMES
from posebridge.bodies.hand_articulation import HAND_ANGLE_NAMES
from posebridge.bodies.shape_distribution import HAND_SHAPE_NAMES
from posebridge.contracts.plain import to_plain
from posebridge.data.render_config import DEPTH_UNIT_MM, RenderConfig
from posebridge.data.sample_codec import ImageCoding
from posebridge.data.shard_writer import Piece, ShardWriter
from posebridge.data.shards import INDEX, SetIndex, encode_piece
from posebridge.distribute import Workers
from posebridge.draw import check_seed
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.body_domains import BodyDomain
from posebridge.synthesis.depth_scene import DepthHandDomain
from posebridge.synthesis.domains import Domain, find_domain, subject_of, views_per_scene
from posebridge.synthesis.stream import Samples, SampleStream, VideoSamples

_DECIDING = ("posebridge", "torch", "warp-lang", "numpy", "opencv-python-headless", "pillow", "anny", "roma")


@dataclass(frozen=True)
class RenderedSet:
    """The rendered set on disk."""

    folder: Path
    index: SetIndex
    rendered: int  # samples that were rendered in this run
    damaged: dict[str, str] = field(default_factory=dict)  # shards that were rendered again, and why

    def __str__(self) -> str:
        size_mb = sum(shard.size_bytes for shard in self.index.shards) / 1e6
        shards = f"{len(self.index.shards)} shard{'s' if len(self.index.shards) > 1 else ''}"
        lines = [f"{self.index.samples} samples in {shards} ({size_mb:.1f} MB), listed in {self.folder / INDEX}"]
        if self.rendered < self.index.samples:
            lines.append(f"{self.rendered} rendered now, {self.index.samples - self.rendered} were there")
        lines += [f"{name} was damaged ({reason}) and is rendered again" for name, reason in self.damaged.items()]
        return "\n".join(lines)


def render_set(config: RenderConfig, out: Path, workers: Workers | None = None) -> RenderedSet:
    """Render what ``out`` lacks of the set. A stopped set is resumed.

    Every byte is a function of the config and of the versions of the libraries, on machines of one kind: all workers
    compute with one thread. Raises ``InputError`` for a folder that holds another set, or that can't be written.
    """
    index = describe(config)
    with ShardWriter(out, index) as writer:
        missing = writer.missing()
        rendered = sum(piece.samples for piece in missing)
        work = partial(render_piece, config, index.made_of["versions"])
        with _progress(writer.index.count, rendered) as bar:
            for name, reason in writer.damaged.items():
                bar.write(f"{name} is damaged ({reason}): it is rendered again")
            for piece, data in (workers or Workers()).run(work, missing):
                writer.add(piece, data)
                bar.update(piece.samples)
        return RenderedSet(out, writer.index, rendered, writer.damaged)


def describe(config: RenderConfig) -> SetIndex:
    """The index of a set of which nothing is rendered yet. Raises ``InputError`` as ``open_samples`` does.

    Also for a negative seed, and for an image format, quality or depth unit that is impossible.
    """
    check_seed(config.seed)
    samples = open_samples(config)
    chunk = samples.chunk_length
    body = config.track == "body-rgb"
    angle_names, shape_names = (BODY_ANGLE_NAMES, PHENOTYPES) if body else (HAND_ANGLE_NAMES, HAND_SHAPE_NAMES)
    made_of: dict[str, Any] = {
        "track": config.track,
        "domain": config.domain,
        "size_px": config.size_px,
        "seed": config.seed,
        "frames": config.frames,
        "chunk": chunk,
        "joint_names": list(_joint_names(samples.domain)),
        "angle_names": list(angle_names),
        "phenotype_names": list(shape_names),
        "distributions": to_plain(samples.domain),
        "versions": versions(),
    }
    if config.contents:
        made_of["contents"] = config.contents
    shard_length = -(-config.shard_length // chunk) * chunk
    return SetIndex(made_of, _coding(config), chunk, shard_length, config.count)


@lru_cache(maxsize=1)
def open_samples(config: RenderConfig) -> SampleStream:
    """What is rendered. Raises ``InputError`` for a domain that isn't there, and for what it doesn't show."""
    chosen = find_domain(config.track, config.domain)
    if config.mano is not None:
        if not isinstance(chosen, DepthHandDomain):
            raise InputError(f"track {config.track} shows Anny's hands and bodies: leave MANO out, or take hand-depth")
        chosen = replace(chosen, mano=config.mano)
    if isinstance(chosen, BodyDomain):
        chosen = replace(chosen, joints=config.joints)
    if config.count % views_per_scene(chosen):
        raise InputError(
            f"{config.count} images are not whole sets of {views_per_scene(chosen)} views: give a multiple"
        )
    if config.frames is not None:
        if config.contents:
            raise InputError("videos have one content each: leave contents out, or the number of frames")
        if isinstance(chosen, DepthHandDomain):
            raise InputError(f"track {config.track} has no videos: leave the number of frames out")
        return VideoSamples(chosen, config.size_px, config.seed, config.frames)
    return Samples(chosen, config.size_px, config.seed, config.contents)


def _coding(config: RenderConfig) -> ImageCoding:
    unit_mm = DEPTH_UNIT_MM[config.track] if config.depth_unit_mm is None else config.depth_unit_mm
    return ImageCoding(config.format, config.quality, unit_mm)


def _joint_names(chosen: Domain) -> tuple[str, ...]:
    skeleton = HAND21 if isinstance(chosen, DepthHandDomain) else subject_of(chosen).skeleton
    return skeleton.joints


def render_piece(config: RenderConfig, expected_versions: dict[str, str], piece: Piece) -> bytes:
    """Render and encode one chunk, or its beginning. Raises ``InputError`` where the worker's libraries differ."""
    if (here := versions()) != expected_versions:
        name = next(name for name in expected_versions if here.get(name) != expected_versions[name])
        raise InputError(
            f"{platform.node()} has {name} {here.get(name)}, where rendering began it is {expected_versions[name]}: "
            "install the same versions everywhere"
        )
    samples = open_samples(config)
    with _one_thread():
        batch = samples.chunk(piece.chunk)[: piece.samples]
        return encode_piece(batch, piece.chunk * samples.chunk_length, _coding(config))


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of everything that decides about a pixel. Machines whose processors differ may still differ in last digits."""
    return {name: importlib.metadata.version(name) for name in _DECIDING}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same on every machine only if they are not split among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _progress(count: int, missing: int) -> tqdm:
    """A bar on stderr after the first second, with images per second and an estimate."""
    there = count - missing
    return tqdm(
        total=count, initial=there, desc="rendering", unit="image", mininterval=0.5, delay=1, dynamic_ncols=True
    )
