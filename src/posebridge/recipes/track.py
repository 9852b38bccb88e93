"""What a track of SynthShift is: a labelled source, an unlabelled target, held-out images, sizes, and its number."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import Metric
from posebridge.data.loaders import Held
from posebridge.evaluation.protocols import Protocol
from posebridge.methods.mean_teacher import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.depth_image import depth_image
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.domains import Domain, Track
from posebridge.synthesis.stream import Samples, SampleStream, VideoSamples
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
    target_frames: int | None  # length of the target's videos; None: single images, or sets of views


@dataclass(frozen=True)
class TrackData:
    """The rendered sets of one seed. Labels of the target are here for measuring; methods get the streams."""

    source: Held[LabelledBatch]
    target: Held[UnlabelledBatch]
    target_labelled: Held[LabelledBatch]
    test_source: LabelledBatch
    test_target: LabelledBatch


def render_data(
    plan: TrackPlan, size: TrackSize, seed: int, told: Callable[[int], None] = lambda count: None
) -> TrackData:
    """Render the sets of one seed; ``told`` hears how many images were rendered, for progress.

    The target is a set of videos where the track has them; what is scored is always single scenes.
    """

    def singles(domain: Domain, count: int, stream_seed: int) -> Held[LabelledBatch]:
        return hold_renders(Samples(domain, size.size_px, stream_seed), count, size.maps, told)

    if plan.target_frames is None:
        target = singles(plan.target, size.target_samples, 2 * seed + 1)
    else:
        videos = VideoSamples(plan.target, size.size_px, 2 * seed + 1, plan.target_frames)
        target = hold_renders(videos, size.target_samples, size.maps, told)
    return TrackData(
        source=singles(plan.source, size.source_samples, 2 * seed),
        target=target.map(lambda batch: batch.unlabelled()),
        target_labelled=target,
        test_source=singles(plan.source, size.test_samples, _HELD_OUT).all(),
        test_target=singles(plan.target, size.test_samples, _HELD_OUT + 1).all(),
    )


def hold_renders(samples: SampleStream, count: int, maps: PoseMaps, told: Callable[[int], None]) -> Held[LabelledBatch]:
    """The first ``count`` images as the network's sensor gives them; ``told`` hears how many were rendered.

    Depth sensors' crops are held as pictures of their cube.
    """

    def chunks() -> Iterator[LabelledBatch]:
        for chunk in samples.chunks(count):
            told(len(chunk))
            image = chunk.image
            if image is None:
                if maps.cube_m is None or chunk.depth_m is None or chunk.centre_m is None:
                    raise ValueError("these samples are depth crops, and the maps know no cube")
                image = depth_image(chunk.depth_m, chunk.centre_m, maps.cube_m)
            yield replace(chunk, image=image, depth_m=None, mask=None)

    return Held(chunks())
