"""Rendered samples in memory, as a network takes them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples, render_set
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.source_labels import rendered_source, select_rendered
from posebridge.experiments.preset import Preset
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.synthesis.domains import Track
from posebridge.synthesis.stream import CHUNK


@dataclass(frozen=True)
class RenderLoader:
    """Renders sets into memory.

    Args:
        track: what is rendered.
        preset: image size, and whether the network takes images or depth in metres.
        labels: the labels that the method asks for; others are dropped.
        sets: folder where rendered sets are kept and read from; None: they are rendered anew.
        mano: MANO's file, whose hand is rendered; None: Anny's.
        on_progress: called with the size of each rendered chunk.
    """

    track: Track
    preset: Preset
    labels: SourceLabels
    sets: Path | None = None
    mano: Path | None = None
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
            size_px=self.preset.size_px,
            seed=seed,
            frames=video_frames,
            mano=self.mano,
        )
        chunks = open_samples(config).chunks(count) if self.sets is None else _from_disk(config, self.sets)
        return InMemoryDataset(self._as_input(chunk) for chunk in self._counted(chunks))

    def _counted(self, chunks: Iterator[LabelledBatch]) -> Iterator[LabelledBatch]:
        for chunk in chunks:
            self.on_progress(len(chunk))
            yield chunk

    def _as_input(self, chunk: LabelledBatch) -> LabelledBatch:
        if isinstance(self.preset.network, DepthHandConfig):  # takes depth in metres, not images of it
            return replace(select_rendered(chunk, self.labels, self.mano), visible=None)
        return rendered_source(chunk, self.labels, self.preset.maps.cube_m, self.mano)


def _from_disk(config: RenderConfig, sets: Path) -> Iterator[LabelledBatch]:
    """A set below ``sets``, rendered there first where it is missing; chunk by chunk."""
    videos = "" if config.frames is None else f"-videos{config.frames}"
    folder = sets / f"{config.track}-{config.domain}{videos}-{config.size_px}px-{config.seed}"
    render_set(config, folder)
    source = ShardedSet(folder)
    for start in range(0, config.count, CHUNK):
        yield source.samples(start, min(CHUNK, config.count - start))


@contextmanager
def rendering_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; the callback takes the number of images that were rendered."""
    with tqdm(total=total, desc="0 rendering", unit="image", mininterval=2.0, dynamic_ncols=True) as bar:

        def on_progress(count: int) -> None:
            bar.update(count)

        yield on_progress
