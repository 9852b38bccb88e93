"""What a track of SynthShift is: a labelled source, an unlabelled target, held-out images, sizes, and its number."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import Metric
from posebridge.contracts.source_labels import JOINTS, SourceLabels
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.sample_codec import ImageCoding
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.source_labels import rendered_source
from posebridge.errors import InputError
from posebridge.evaluation.protocols import EvaluationProtocol
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.recipes.render import DEPTH_UNIT_MM, RenderConfig, open_samples, render_set
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.domains import Domain, Track
from posebridge.synthesis.stream import CHUNK
from posebridge.training.source_training import SourceTrainingConfig

Footage = Literal["stills", "videos"]  # what is adapted to: single images, or frames of videos
TEST_SEED = 1_000_003  # streams with seeds from here on are for scoring


@dataclass(frozen=True)
class TrackSize:
    """How many images, how large a network, and how long it trains."""

    name: str
    size_px: int
    source_samples: int
    target_samples: int
    test_samples: int
    network: PoseResNetConfig
    maps: PoseMaps
    source: SourceTrainingConfig
    supervised_target: SourceTrainingConfig
    mean_teacher: MeanTeacherConfig
    geometric_reconstruction: GeometricReconstructionConfig | None = None  # None where a track has no colour
    selection_appearance: AppearanceConfig = WEAK  # how views are re-coloured when checkpoints are compared


@dataclass(frozen=True)
class TrackPlan:
    """One track."""

    name: Track
    skeleton: Skeleton
    source: Domain
    target: Domain
    protocol: EvaluationProtocol
    metric: Metric  # the number of the track's table
    sizes: Mapping[str, TrackSize]
    video_frames: int | None  # length of the target's videos; None where a track has none


@dataclass(frozen=True)
class TrackData:
    """The rendered sets of one seed. Labels of the target are here for measuring; methods get the streams."""

    source: InMemoryDataset[LabelledBatch]
    target_labelled: InMemoryDataset[LabelledBatch]  # what is adapted to
    source_videos: InMemoryDataset[LabelledBatch] | None  # where the target is videos
    bound_labelled: InMemoryDataset[
        LabelledBatch
    ]  # what the upper bound learns from: single images, whatever is adapted to
    test_source: LabelledBatch
    test_target: LabelledBatch

    @property
    def target(self) -> InMemoryDataset[UnlabelledBatch]:
        """What is adapted to, without its labels."""
        return self.target_labelled.map(lambda batch: batch.unlabelled())


@dataclass(frozen=True)
class TrackRenderer:
    """Renders the images of a track at one size.

    With a folder for ``sets``, each set is written there by its name, or read where it lies there already.
    ``on_progress`` is called with the number of images of each chunk.
    """

    plan: TrackPlan
    size: TrackSize
    sets: Path | None = None
    on_progress: Callable[[int], None] = lambda count: None

    def data(self, seed: int, footage: Footage = "stills") -> TrackData:
        """The sets of one seed, of which the scored ones are the same for all seeds.

        Raises ``InputError`` for videos of a track that has none.
        """
        plan, size = self.plan, self.size
        videos = self.videos(seed) if footage == "videos" else None
        stills = self._load(plan.target, size.target_samples, 2 * seed + 1)
        return TrackData(
            source=self._load(plan.source, size.source_samples, 2 * seed),
            target_labelled=stills if videos is None else videos,
            source_videos=None if videos is None else self.source_videos(seed),
            bound_labelled=stills,
            test_source=self._load(plan.source, size.test_samples, TEST_SEED).all(),
            test_target=self._load(plan.target, size.test_samples, TEST_SEED + 1).all(),
        )

    def videos(self, seed: int) -> InMemoryDataset[LabelledBatch]:
        """As many frames of the target again, from cameras at rest: for methods that need pairs of frames.

        Raises ``InputError`` for a track without videos.
        """
        return self._videos(self.plan.target, 2 * seed + 1, self._video_frames())

    def source_videos(self, seed: int) -> InMemoryDataset[LabelledBatch]:
        """The same of the source, with its labels: for methods that learn from pairs of it.

        Raises ``InputError`` for a track without videos.
        """
        return self._videos(self.plan.source, 2 * seed, self._video_frames())

    def _video_frames(self) -> int:
        frames = self.plan.video_frames
        if frames is None:
            raise InputError(f"track {self.plan.name} has no videos: methods that need pairs of frames can't run on it")
        return frames

    def _videos(self, setting: Domain, seed: int, frames: int) -> InMemoryDataset[LabelledBatch]:
        whole = self.size.target_samples - self.size.target_samples % frames
        return self._load(setting, whole, seed, frames)

    def _load(
        self, setting: Domain, count: int, seed: int, frames: int | None = None
    ) -> InMemoryDataset[LabelledBatch]:
        track = self.plan.name
        coding = ImageCoding(depth_unit_mm=DEPTH_UNIT_MM[track])
        config = RenderConfig(setting.name, count, track, self.size.size_px, seed, frames, coding=coding)
        chunks = open_samples(config).chunks(count) if self.sets is None else _from_disk(config, self.sets)
        return load_renders(chunks, self.size.maps, self.on_progress)


def _from_disk(config: RenderConfig, sets: Path) -> Iterator[LabelledBatch]:
    """A set below ``sets``, rendered there first where it is missing; chunk by chunk."""
    videos = "" if config.frames is None else f"-videos{config.frames}"
    folder = sets / f"{config.track}-{config.domain}{videos}-{config.size_px}px-{config.seed}"
    render_set(config, folder)
    source = ShardedSet(folder)
    for start in range(0, config.count, CHUNK):
        yield source.samples(start, min(CHUNK, config.count - start))


def load_renders(
    chunks: Iterable[LabelledBatch],
    maps: PoseMaps,
    on_progress: Callable[[int], None],
    labels: SourceLabels = JOINTS,
) -> InMemoryDataset[LabelledBatch]:
    """Rendered samples in memory, as the network takes them: depth crops as pictures of their cube.

    ``labels`` are kept and all others dropped; ``on_progress`` is called with each chunk's size. Raises ``InputError``
    for a label that the renders lack.
    """

    def samples() -> Iterator[LabelledBatch]:
        for chunk in chunks:
            on_progress(len(chunk))
            yield rendered_source(chunk, labels, maps.cube_m)

    return InMemoryDataset(samples())
