"""Rendered samples in memory, as a network takes them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.source_labels import SourceLabels
from posebridge.contracts.track import BodyJoints
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples, render_set
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.source_labels import rendered_source, select_rendered
from posebridge.deployment.model_spec import ModelSpec
from posebridge.experiments.tracks import TrackSpec
from posebridge.methods.registry import MethodEntry
from posebridge.presets.preset import Preset
from posebridge.synthesis.domains import Track
from posebridge.synthesis.stream import CHUNK
from posebridge.training.frames import InMemoryFrames


@dataclass(frozen=True)
class RenderLoader:
    """Renders sets into memory.

    Args:
        track: what is rendered.
        model: the network, which gives the size of the images, and whether they are depth in metres.
        labels: the labels that the method asks for; others are dropped.
        sets: folder where rendered sets are kept and read from; None: they are rendered anew.
        mano: MANO's file, whose hand is rendered; None: Anny's.
        contents: number of contents that recur in single images; 0: each image has its own.
        on_progress: called with the size of each rendered chunk.
    """

    track: Track
    model: ModelSpec
    labels: SourceLabels
    sets: Path | None = None
    mano: Path | None = None
    contents: int = 0
    on_progress: Callable[[int], None] = lambda count: None

    def load(
        self, domain: str, count: int, seed: int, video_frames: int | None = None
    ) -> InMemoryDataset[LabelledBatch]:
        """``count`` images of a domain; with ``video_frames``, frames of videos of that length.

        Raises ``InputError`` for an unknown domain, for videos of a track that has none, and for missing labels.
        """
        config = RenderConfig(
            domain=domain,
            count=count,
            track=self.track,
            size_px=self.model.size_px,
            seed=seed,
            frames=video_frames,
            mano=self.mano,
            joints=body_joints(self.model.skeleton),
            contents=0 if video_frames else self.contents,
        )
        chunks = open_samples(config).chunks(count) if self.sets is None else _from_disk(config, self.sets)
        return InMemoryDataset(self._as_input(chunk) for chunk in self._counted(chunks))

    def _counted(self, chunks: Iterator[LabelledBatch]) -> Iterator[LabelledBatch]:
        for chunk in chunks:
            self.on_progress(len(chunk))
            yield chunk

    def _as_input(self, chunk: LabelledBatch) -> LabelledBatch:
        if self.model.takes_depth_m:
            return replace(select_rendered(chunk, self.labels, self.mano), visible=None)
        return rendered_source(chunk, self.labels, self.model.cube_m, self.mano)


def render_source(
    preset: Preset,
    method: MethodEntry,
    track: TrackSpec,
    domain: str,
    seed: int,
    *,
    mano: Path | None = None,
    model_given: bool = False,
    extra_labels: SourceLabels = frozenset(),
) -> InMemoryFrames[LabelledBatch]:
    """The rendered source of a run: images or sets of views, and videos where the method trains on them.

    With ``model_given``, a trained source model, fewer of them. ``extra_labels`` are kept beside the method's.
    Raises ``InputError`` for an unknown domain.
    """
    sizes = preset.data
    count = sizes.source_with_model if model_given else sizes.source
    video_frames = sizes.source_video_frames if preset.config_of(method.name).source_videos else 0
    if count is None or video_frames is None:
        raise ValueError(f"preset {preset.name} of {preset.family} has no size of rendered sources")
    with rendering_progress(count + video_frames) as on_progress:
        labels = preset.config_of(method.name).source_labels(frozenset(method.source_labels)) | extra_labels
        loader = RenderLoader(
            track.name, preset.model, labels, mano=mano, contents=sizes.contents, on_progress=on_progress
        )
        stills = loader.load(domain, count, seed)
        videos = loader.load(domain, video_frames, seed, track.video_frames) if video_frames else None
    if sizes.contents and videos is None:
        videos = stills
    return InMemoryFrames(stills, seed, videos)


def _from_disk(config: RenderConfig, sets: Path) -> Iterator[LabelledBatch]:
    """A set below ``sets``, rendered there first where it is missing; chunk by chunk."""
    videos = "" if config.frames is None else f"-videos{config.frames}"
    joints = "" if config.joints == RenderConfig.joints else f"-{config.joints}"
    contents = f"-contents{config.contents}" if config.contents else ""
    folder = sets / f"{config.track}-{config.domain}{videos}{joints}{contents}-{config.size_px}px-{config.seed}"
    render_set(config, folder)
    source = ShardedSet(folder)
    for start in range(0, config.count, CHUNK):
        yield source.samples(start, min(CHUNK, config.count - start))


def body_joints(skeleton: str) -> BodyJoints:
    """The joints that renders of people label for a model of these joints; the default where it predicts hands."""
    by_name: dict[str, BodyJoints] = {joints: joints for joints in get_args(BodyJoints)}
    return by_name.get(skeleton, RenderConfig.joints)


@contextmanager
def rendering_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; the callback takes the number of images that were rendered."""
    with tqdm(total=total, desc="0 rendering", unit="image", mininterval=2.0, dynamic_ncols=True) as bar:

        def on_progress(count: int) -> None:
            bar.update(count)

        yield on_progress
