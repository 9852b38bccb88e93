"""The main job: from rendered hands to a user's own images or video, without a label of theirs."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np
import torch

from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.augment import GeometryConfig
from posebridge.data.loaders import Held
from posebridge.data.streams import HeldStream
from posebridge.data.target import TargetConfig, open_target
from posebridge.deployment.model_file import ModelSpec, load_model, save_model
from posebridge.deployment.predict_files import list_skipped
from posebridge.deployment.predictor import Predictor
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.mean_teacher import MeanTeacher, MeanTeacherConfig
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.recipes.pipeline import (
    Trained,
    label_free_selection,
    predict,
    rendering_progress,
    train,
)
from posebridge.recipes.records import Story, gallery, make_record
from posebridge.recipes.track import hold_renders
from posebridge.rendering.photometry import STRONG
from posebridge.representations.pose25d import reference_length
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.domains import domain
from posebridge.synthesis.stream import Samples
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.options import Hardware
from posebridge.training.run import Run, SelectionPlan, check_space
from posebridge.training.selection import BoneStatistics
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import FourierStyle

_SOURCE_STATISTICS = 2048  # source samples from which bone lengths are taken
_SPACE_MB = 300  # what a run of the small size leaves on disk, checkpoints included


@dataclass(frozen=True)
class AdaptSize:
    """How large a network, and how long it trains."""

    name: str
    size_px: int
    source_samples: int
    replayed_samples: int  # of the source, where its model is given
    network: PoseResNetConfig
    maps: PoseMaps
    source: SourceTrainingConfig
    mean_teacher: MeanTeacherConfig


_GEOMETRY = GeometryConfig(rotation_deg=45.0, shear_deg=12.0, translation=0.06, scale=(0.75, 1.25))
_APPEARANCE = replace(STRONG, erase_probability=0.15)

SMALL = AdaptSize(
    name="small",
    size_px=96,
    source_samples=30_000,
    replayed_samples=6_000,
    network=PoseResNetConfig(encoder="resnet18", encoder_stride=16, decoder_channels=64, skips=True),
    maps=PoseMaps("softmax", sigma=1.5),
    source=SourceTrainingConfig(
        schedule=Schedule(
            steps=4_000, learning_rate=2e-3, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0
        ),
        batch_size=64,
        geometry=_GEOMETRY,
        appearance=_APPEARANCE,
        depth_weight=0.5,
    ),
    mean_teacher=MeanTeacherConfig(
        style=FourierStyle(),
        schedule=Schedule(steps=600, learning_rate=5e-4, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0),
        batch_size=32,
        geometry=replace(_GEOMETRY, rotation_deg=30.0),
        appearance=STRONG,
        average_decay=0.99,
        looks=2,
        kept_share=0.6,
        heat_weight=1.0,
        depth_weight=0.5,
    ),
)

FULL = AdaptSize(
    name="full",
    size_px=256,
    source_samples=60_000,
    replayed_samples=60_000,
    network=PoseResNetConfig(encoder="resnet101"),
    maps=PoseMaps("peak", sigma=2.0),
    source=SourceTrainingConfig(geometry=_GEOMETRY, appearance=_APPEARANCE),
    mean_teacher=MeanTeacherConfig(geometry=_GEOMETRY),
)

SIZES = {size.name: size for size in (SMALL, FULL)}


@dataclass(frozen=True)
class AdaptConfig:
    """A run on a user's own images."""

    method: Literal["mean-teacher", "source-only"]
    target: TargetConfig
    source: Path | None = None
    domain: str = "varied"
    size: Literal["small", "full"] = "small"
    truth: Path | None = None
    seed: int = 0


def run_adapt(config: AdaptConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict, and leave model, predictions, record; raises ``InputError`` for bad input at once."""
    started = monotonic()
    size, source_domain = SIZES[config.size], domain("hand-rgb", config.domain)
    given = None if config.source is None else load_model(config.source)
    if given is not None:
        size = _with_model(size, given[0], config.source)
    check_space(folder, _SPACE_MB)
    frames = open_target(replace(config.target, size_px=size.size_px))
    truth = None if config.truth is None else KeypointSet.load(config.truth)
    target = Held(frames)
    whole = target.all()
    labelled = None if truth is None else labels_for(whole, truth)
    run = Run.create(folder, "adapt", config, hardware, size)
    _tell_skipped(frames.skipped, len(target), folder)
    count = size.source_samples if given is None else size.replayed_samples
    with rendering_progress(count) as told:
        source = hold_renders(Samples(source_domain, size.size_px, config.seed).chunks(count), size.maps, told)
    joints_m = source.part(slice(0, _SOURCE_STATISTICS)).joints_m
    assert joints_m is not None
    bones = BoneStatistics.of(joints_m, HAND21)
    selection = label_free_selection(size.maps, HAND21, bones, whole, labelled, size.mean_teacher.selections)
    context = _context(config, size, source, target, selection, hardware)
    left = _train(run, config, size, context if given is None else replace(context, source_network=given[1]))

    length_m = reference_length(joints_m, HAND21).mean().item()
    predictions: dict[Role, KeypointSet] = {
        role: predict(Predictor(_spec(size, length_m, role), trained.network), whole) for role, trained in left.items()
    }
    final: Role = "adapted" if "adapted" in left else "source_only"
    save_model(folder, _spec(size, length_m, config.method), left[final].network)
    predictions[final].save(folder / "predictions.npz")
    scores: dict[Role, Score] = {}
    if truth is not None:
        side_px = crop_side(whole, size.size_px)
        scores |= {role: evaluate(prediction, truth, side_px) for role, prediction in predictions.items()}
    title = f"{config.target.path.name}, from {config.domain} renders"
    story = Story(title, config.method, HAND21, config, size, config.seed, started, frames.skipped)
    record = make_record(story, left, scores, gallery(whole, predictions[final], truth))
    save_record(record, folder)
    return record


def _context(
    config: AdaptConfig,
    size: AdaptSize,
    source: Held[LabelledBatch],
    target: Held[UnlabelledBatch],
    selection: SelectionPlan,
    hardware: Hardware,
) -> Context:
    def new_network() -> PoseResNet:
        torch.manual_seed(config.seed)
        return PoseResNet(size.network)

    return Context(
        new_network=new_network,
        maps=size.maps,
        skeleton=HAND21,
        source=lambda batch_size: HeldStream(source, batch_size, config.seed),
        target=lambda batch_size: HeldStream(target, batch_size, config.seed + 1),
        selection=selection,
        seed=config.seed,
        workers=hardware.workers,
    )


def _train(run: Run, config: AdaptConfig, size: AdaptSize, context: Context) -> dict[Role, Trained]:
    """The source model, and where it is asked for the adapted one."""
    source = train(run, 1, SourceOnly(SourceOnlyConfig(size.source)).stages(context), context.source_network)
    left: dict[Role, Trained] = {"source_only": source}
    if config.method == "mean-teacher":
        onward = replace(context, source_network=source.network)
        left["adapted"] = train(run, 2, MeanTeacher(size.mean_teacher).stages(onward))
    return left


def _with_model(size: AdaptSize, spec: ModelSpec, path: Path | None) -> AdaptSize:
    """The size with the given model's network. ``InputError`` for a model of another kind."""
    if spec.skeleton != HAND21.name:
        raise InputError(f"{path} predicts {spec.skeleton}, and this run needs {HAND21.name}: give a hand model")
    return replace(size, size_px=spec.size_px, network=spec.network, maps=spec.maps)


def _spec(size: AdaptSize, length_m: float, method: str) -> ModelSpec:
    return ModelSpec(size.network, size.maps, HAND21.name, size.size_px, length_m, method)


def _tell_skipped(skipped: dict[str, str], used: int, folder: Path) -> None:
    if skipped:
        listed = list_skipped(folder, used, skipped)
        print(f"{len(skipped)} files could not be used; they are listed in {listed}")


def crop_side(batch: UnlabelledBatch, size_px: int) -> float:
    """The median side of the crops, in pixels of the files."""
    assert batch.T_crop_file is not None
    scale = torch.linalg.det(batch.T_crop_file[:, :2, :2]).abs().sqrt()
    return size_px / scale.median().item()


def labels_for(batch: UnlabelledBatch, truth: KeypointSet) -> LabelledBatch:
    """The batch with labels in crop pixels, for measuring. Frames that the truth lacks have no valid joint."""
    if truth.uv_px is None:
        raise InputError("the truth has no uv_px: precision of pseudo-labels is measured in the image")
    if truth.joint_names is None and truth.n_joints != len(HAND21):
        raise InputError(f"the truth has {truth.n_joints} joints without names, {HAND21.name} has {len(HAND21)}")
    order = HAND21.order_of(truth.joint_names or HAND21.joints)
    row_of = {str(key): row for row, key in enumerate(truth.key)}
    rows = np.array([row_of.get(key, -1) for key in batch.key])
    if (rows < 0).all():
        raise InputError(
            f"the truth shares no key with the target (such as {batch.key[0]!r} and {str(truth.key[0])!r})"
        )
    uv_file = truth.uv_px[rows][:, order]
    valid = truth.present("uv_px")[rows][:, order] & (rows >= 0)[:, None] & (order >= 0)
    assert batch.T_crop_file is not None
    uv_px = apply_affine(batch.T_crop_file, torch.from_numpy(np.where(valid[..., None], uv_file, 0)).float())
    kept = torch.from_numpy(valid)
    observed = {f.name: getattr(batch, f.name) for f in fields(UnlabelledBatch)}
    return LabelledBatch(**observed, uv_px=uv_px, valid=kept, visible=kept)
