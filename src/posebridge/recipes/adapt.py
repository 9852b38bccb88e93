"""The main job: from rendered hands or people to a user's own images or video, without a label of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig, PairStream
from posebridge.data.streams import ShuffledStream
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.geometric_reconstruction.evidence import reconstruction_sections
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.methods.mean_teacher.method import MeanTeacher
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.vgg import VggEncoder
from posebridge.recipes.adapt_sizes import SUBJECTS, AdaptMethod, AdaptSize
from posebridge.recipes.adapt_target import AdaptTarget, load_target
from posebridge.recipes.adapt_truth import crop_side, in_crops, labels_for
from posebridge.recipes.pipeline import (
    Trained,
    joints_of_source,
    label_free_selection,
    network_maker,
    predict,
    rendering_progress,
    train,
)
from posebridge.recipes.records import RunMetadata, gallery, make_record
from posebridge.recipes.track import TrackPlan, load_renders
from posebridge.representations.pose25d import reference_length
from posebridge.synthesis.domains import find_domain
from posebridge.synthesis.stream import Samples, VideoSamples
from posebridge.training.context import Context
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space
from posebridge.training.selection import BoneStatistics

_SPACE_MB = 300  # what a run of the small size leaves on disk, checkpoints included


@dataclass(frozen=True)
class AdaptConfig:
    """A run on a user's own images."""

    method: AdaptMethod
    target: TargetConfig
    source: Path | None = None
    domain: str = "varied"
    size: Literal["small", "full"] = "small"
    truth: Path | None = None
    seed: int = 0
    subject: Literal["hand", "body"] = "hand"
    stride: tuple[int, int] = (5, 15)  # of the frames of a pair, where the method redraws one from the other
    encoder_weights: str | None = None  # "timm", a file or "none"; None: as the size has it
    vgg_weights: str | None = None  # of the VGG behind style and redrawing, likewise


@dataclass(frozen=True)
class _Start:
    """What a run has before it renders and trains: whatever can be refused has been refused."""

    track: TrackPlan
    size: AdaptSize
    network: PoseResNet | None  # of the model that was given
    target: AdaptTarget
    whole: UnlabelledBatch  # all of the target's frames
    truth: KeypointSet | None
    labelled: LabelledBatch | None  # the same frames with the truth


def run_adapt(config: AdaptConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict, and leave model, predictions, record; raises ``InputError`` for bad input at once."""
    started = monotonic()
    check_space(folder, _SPACE_MB)
    start = _start(config)
    size, skeleton, whole = start.size, start.track.skeleton, start.whole
    run = Run.create(folder, "adapt", config, hardware, size)
    start.target.tell(folder)
    source, videos = _render(config, start)
    context = _context(config, start, source, videos, hardware)
    left = _train(run, config, size, context)
    final: Role = "adapted" if "adapted" in left else "source_only"

    length_m = reference_length(joints_of_source(source), skeleton).mean().item()
    spec = PoseSpec(size.network, size.maps, skeleton.name, size.size_px, length_m, config.method)
    save_model(folder, spec, left[final].network)
    predictions: dict[Role, KeypointSet] = {
        role: predict(PosePredictor(spec, trained.network), whole) for role, trained in left.items()
    }
    predictions[final].save(folder / "predictions.npz")
    scores = {} if start.truth is None else _scores(predictions, start.truth, whole, start.track)
    title = f"{config.target.path.name}, from {config.domain} renders"
    skipped, notes = start.target.skipped, start.target.notes()
    story = RunMetadata(title, config.method, skeleton, config, size, config.seed, started, skipped, notes)
    labels = start.labelled
    sections = reconstruction_sections(left[final].stages, context, pair_labels=labels, frame_labels=labels)
    record = make_record(story, left, scores, gallery(whole, predictions[final], start.truth), sections)
    save_record(record, folder)
    return record


def _start(config: AdaptConfig) -> _Start:
    """Read what the user gives. Raises ``InputError`` for all of it that can't be used."""
    subject, pairs = SUBJECTS[config.subject], PairConfig(config.stride)
    skeleton = subject.track.skeleton
    find_domain(subject.track.name, config.domain)
    size, network = subject.sizes[config.size].with_weights(config.encoder_weights, config.vgg_weights), None
    size = size.of(config.method, pairs)
    if config.source is not None:
        given = load_model(config.source, POSE)
        spec, network = given.spec, given.network
        if spec.skeleton != skeleton.name:
            wanted = f"this run needs {skeleton.name}: give a model of the --subject"
            raise InputError(f"{config.source} predicts {spec.skeleton}, and {wanted}")
        size = replace(size, size_px=spec.size_px, network=spec.network, maps=spec.maps)
    _read_weights(size, config, network)
    truth = None if config.truth is None else KeypointSet.load(config.truth)
    needed = pairs if config.method == "geometric-reconstruction" else None
    target = load_target(replace(config.target, size_px=size.size_px), skeleton, needed)
    if target.camera_moves:
        size = size.with_moving_background()
    whole = target.frames.all()
    labelled = None if truth is None else labels_for(whole, truth, skeleton)
    return _Start(subject.track, size, network, target, whole, truth, labelled)


def _read_weights(size: AdaptSize, config: AdaptConfig, network: PoseResNet | None) -> None:
    """Those that the run will need, once, before anything is rendered. Raises ``InputError`` where they can't be."""
    if network is None:
        PoseResNet(size.network)
    elif config.encoder_weights is not None:
        raise InputError(f"{config.source} brings its own encoder: leave --encoder-weights out")
    for encoder in size.vggs_of(config.method):
        VggEncoder(encoder)


def _render(
    config: AdaptConfig, start: _Start
) -> tuple[InMemoryDataset[LabelledBatch], InMemoryDataset[LabelledBatch] | None]:
    """The source's images, and videos of it where the method learns from them."""
    size, look, frames = start.size, find_domain(start.track.name, config.domain), start.track.video_frames
    count = size.source_samples if start.network is None else size.replayed_samples
    filmed = size.source_frames if size.needs_source_videos else 0
    with rendering_progress(count + filmed) as on_progress:
        stills = load_renders(Samples(look, size.size_px, config.seed).chunks(count), size.maps, on_progress)
        if filmed == 0:
            return stills, None
        assert frames is not None
        videos = VideoSamples(look, size.size_px, config.seed, frames)
        return stills, load_renders(videos.chunks(filmed), size.maps, on_progress)


def _context(
    config: AdaptConfig,
    start: _Start,
    source: InMemoryDataset[LabelledBatch],
    videos: InMemoryDataset[LabelledBatch] | None,
    hardware: Hardware,
) -> Context:
    size, skeleton, target, seed = start.size, start.track.skeleton, start.target, config.seed
    bones = BoneStatistics.of(joints_of_source(source), skeleton)
    selections = size.mean_teacher.selections
    return Context(
        new_network=network_maker(size.network, size.maps, seed),
        skeleton=skeleton,
        source=lambda batch_size: ShuffledStream(source, batch_size, seed),
        target=lambda batch_size: ShuffledStream(target.frames, batch_size, seed + 1),
        selection=label_free_selection(skeleton, bones, start.whole, start.labelled, selections),
        seed=seed,
        workers=hardware.workers,
        source_network=start.network,
        pairs=None if target.sequences is None else lambda count, wanted: target.pairs(count, wanted, seed + 1),
        # At the default stride: the user's one is about the speed of the target's motion.
        source_pairs=None if videos is None else lambda count, _: PairStream(videos, count, seed, PairConfig()),
    )


def _train(run: Run, config: AdaptConfig, size: AdaptSize, context: Context) -> dict[Role, Trained]:
    """The source model, and where it is asked for the adapted one."""
    source = train(run, 1, SourceOnly(SourceOnlyConfig(size.source)).stages(context), context.source_network)
    left: dict[Role, Trained] = {"source_only": source}
    onward = replace(context, source_network=source.network)
    if config.method == "mean-teacher":
        left["adapted"] = train(run, 2, MeanTeacher(size.mean_teacher).stages(onward))
    elif size.geometric_reconstruction is not None:
        left["adapted"] = train(run, 2, GeometricReconstruction(size.geometric_reconstruction).stages(onward))
    return left


def _scores(
    predictions: Mapping[Role, KeypointSet], truth: KeypointSet, whole: UnlabelledBatch, track: TrackPlan
) -> dict[Role, Score]:
    """By the track's protocol, in crops that are brought to the side of the median one."""
    side_px = crop_side(whole)
    true = in_crops(truth, whole, side_px)
    return {
        role: evaluate(in_crops(found, whole, side_px), true, side_px, track.protocol)
        for role, found in predictions.items()
    }
