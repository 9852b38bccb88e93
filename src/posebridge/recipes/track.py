"""What a track of SynthShift is: a labelled source, an unlabelled target, held-out images, sizes, and its number."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import Metric
from posebridge.data.loaders import Held
from posebridge.data.sample_codec import ImageCoding
from posebridge.data.shard_reader import ShardedSet
from posebridge.errors import InputError
from posebridge.evaluation.protocols import Protocol
from posebridge.methods.mean_teacher import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.recipes.render import DEPTH_UNIT_MM, RenderConfig, open_samples, render_set
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.depth_image import depth_image
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.domains import Domain, Track
from posebridge.synthesis.stream import CHUNK
from posebridge.training.source_training import SourceTrainingConfig

_HELD_OUT = 1_000_003  # streams with seeds from here on are for scoring


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
    selection_appearance: AppearanceConfig = WEAK  # how views are re-coloured when checkpoints are compared


@dataclass(frozen=True)
class TrackPlan:
    """One track."""

    name: Track
    skeleton: Skeleton
    source: Domain
    target: Domain
    protocol: Protocol
    metric: Metric  # the number of the track's table
    sizes: Mapping[str, TrackSize]
    video_frames: int | None  # length of the target's videos; None where a track has none


@dataclass(frozen=True)
class TrackData:
    """The rendered sets of one seed. Labels of the target are here for measuring; methods get the streams."""

    source: Held[LabelledBatch]
    target: Held[UnlabelledBatch]
    target_labelled: Held[LabelledBatch]
    test_source: LabelledBatch
    test_target: LabelledBatch


def render_data(
    plan: TrackPlan,
    size: TrackSize,
    seed: int,
    told: Callable[[int], None] = lambda count: None,
    sets: Path | None = None,
) -> TrackData:
    """Render the sets of one seed; ``told`` hears how many images are there, for progress.

    With a folder for ``sets``, each set is written there by its name, or read where it lies there already.
    """

    def held(setting: Domain, count: int, stream_seed: int) -> Held[LabelledBatch]:
        return _held(plan, size, setting, count, stream_seed, None, told, sets)

    target = held(plan.target, size.target_samples, 2 * seed + 1)
    return TrackData(
        source=held(plan.source, size.source_samples, 2 * seed),
        target=target.map(lambda batch: batch.unlabelled()),
        target_labelled=target,
        test_source=held(plan.source, size.test_samples, _HELD_OUT).all(),
        test_target=held(plan.target, size.test_samples, _HELD_OUT + 1).all(),
    )


def render_videos(
    plan: TrackPlan,
    size: TrackSize,
    seed: int,
    told: Callable[[int], None] = lambda count: None,
    sets: Path | None = None,
) -> Held[UnlabelledBatch]:
    """As many frames of the target again, as videos from a camera at rest: for methods that need pairs of frames.

    Raises ``InputError`` for a track without videos.
    """
    if plan.video_frames is None:
        raise InputError(f"track {plan.name} has no videos, so methods that need pairs of frames can't run on it")
    whole = size.target_samples - size.target_samples % plan.video_frames
    held = _held(plan, size, plan.target, whole, 2 * seed + 1, plan.video_frames, told, sets)
    return held.map(lambda batch: batch.unlabelled())


def _held(
    plan: TrackPlan,
    size: TrackSize,
    setting: Domain,
    count: int,
    seed: int,
    frames: int | None,
    told: Callable[[int], None],
    sets: Path | None,
) -> Held[LabelledBatch]:
    coding = ImageCoding(depth_unit_mm=DEPTH_UNIT_MM[plan.name])
    config = RenderConfig(setting.name, count, plan.name, size.size_px, seed, frames, coding=coding)
    chunks = open_samples(config).chunks(count) if sets is None else _from_disk(config, sets)
    return hold_renders(chunks, size.maps, told)


def _from_disk(config: RenderConfig, sets: Path) -> Iterator[LabelledBatch]:
    """A set below ``sets``, rendered there first where it is missing; chunk by chunk."""
    videos = "" if config.frames is None else f"-videos{config.frames}"
    folder = sets / f"{config.track}-{config.domain}{videos}-{config.size_px}px-{config.seed}"
    render_set(config, folder)
    source = ShardedSet(folder)
    for start in range(0, config.count, CHUNK):
        yield source.samples(start, min(CHUNK, config.count - start))


def hold_renders(chunks: Iterable[LabelledBatch], maps: PoseMaps, told: Callable[[int], None]) -> Held[LabelledBatch]:
    """Rendered images as the network's sensor gives them; ``told`` hears how many were rendered.

    Depth sensors' crops are held as pictures of their cube.
    """

    def seen() -> Iterator[LabelledBatch]:
        for chunk in chunks:
            told(len(chunk))
            image = chunk.image
            if image is None:
                if maps.cube_m is None or chunk.depth_m is None or chunk.centre_m is None:
                    raise ValueError("these samples are depth crops, and the maps know no cube")
                image = depth_image(chunk.depth_m, chunk.centre_m, maps.cube_m)
            yield replace(chunk, image=image, depth_m=None, mask=None)

    return Held(seen())
