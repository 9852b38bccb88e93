"""Adaptation from rendered hands or people to a user's own unlabelled images or video."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.contracts.reference_frames import check_reference_frame
from posebridge.contracts.track import BodyJoints
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.mask_files import MaskFiles
from posebridge.data.pairs import PairConfig
from posebridge.data.source_labels import select_labels
from posebridge.data.subset import even_positions
from posebridge.data.target_backgrounds import background_bank, with_backgrounds
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.model_spec import skeleton_of
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.evaluation.target_labels import labels_for
from posebridge.experiments.choices import method_for, named_method, source_path
from posebridge.experiments.configs import AdaptConfig
from posebridge.experiments.data import (
    MEASURED_FRAMES,
    ExperimentData,
    SelectionData,
    spread,
    statistics_joints_m,
)
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.renders import render_source
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.experiments.source_model import load_source_model
from posebridge.experiments.target import LoadedTarget, load_target
from posebridge.experiments.tracks import TrackSpec, track_of
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.registry import MethodEntry, default_method
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.synthesis.domains import find_domain
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.pseudo_label_metrics import predict_joints
from posebridge.training.run import Run, check_space


@dataclass(frozen=True)
class _Start:
    """Checked inputs of a run, before anything is rendered or trained."""

    method: MethodEntry
    track: TrackSpec
    preset: Preset
    source_model: LoadedModel | None
    target: LoadedTarget
    masks: MaskFiles | None
    truth: KeypointSet | None
    labelled: InMemoryDataset[LabelledBatch] | None  # the target's frames with the truth
    choice: tuple[str, ...] = ()  # why the method was chosen

    def notes(self) -> tuple[str, ...]:
        """On the choice of the method and on the target, a line each."""
        return self.choice + self.target.notes() + (() if self.masks is None else self.masks.notes())


def run_adapt(config: AdaptConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict; leave model, predictions and record. Raises ``InputError`` for bad input at once."""
    Run.check(folder, "adapt", config, hardware)
    start = _start(config, folder)
    run = Run.create(folder, "adapt", config, hardware, start.preset)
    outputs = RunOutputs.of(folder)
    outputs.save_skipped(len(start.target.dataset), start.target.skipped)
    outputs.print_skipped(start.target.skipped)
    for note in start.notes():
        print(note)
    if start.target.sequences is not None:
        outputs.save_sequences(start.target.sequences)
    experiment = Experiment(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=start.method,
        preset=start.preset,
        seed=config.seed,
        hardware=hardware,
        config=config,
        source_model=start.source_model,
    )
    return run_experiment(experiment, _data(config, start), run).record


def _start(config: AdaptConfig, folder: Path) -> _Start:
    """Read and check all inputs. Raises ``InputError`` for those that can't be used."""
    method, track, pairs = named_method(config.method), track_of(config.subject), PairConfig(config.stride)
    preset = _preset(config, method or default_method("colour", "pairs"), named=method is not None)
    check_space(folder, preset.space_mb)
    find_domain(track.name, config.domain)
    is_body = config.subject == "body"
    source, model = source_path(config.source, track.name, config.preset), None
    if source is not None:
        skeletons = get_args(BodyJoints) if is_body else ()
        model = load_source_model(source, preset.model, skeletons=skeletons, own_models=preset.own_models)
        preset = replace(preset, model=model.spec)
        if config.encoder_weights is not None and not preset.own_models:
            raise InputError(f"{source} brings its own encoder: leave --encoder-weights out")
    skeleton = skeleton_of(preset.model)
    preset.check_weights(model_given=model is not None)
    truth = None if config.truth is None else _truth(config.truth)
    masks = None if config.masks is None else MaskFiles(config.masks)
    needed = pairs if method is None or method.target == "pairs" else None
    target = load_target(
        config.target,
        preset.model.size_px,
        skeleton,
        needed,
        pairs_needed=method is not None,
        predictor=None if model is None else PosePredictor(model.spec, model.network),
        masks=masks,
    )
    choice = ()
    if method is None:
        method, why = method_for(target)
        preset, choice = preset.keeping(method.name), (why,)
    method_config = preset.config_of(method.name).with_pairs(pairs)
    if target.camera_moves:
        method_config = method_config.with_moving_camera()
    preset = preset.with_config(method.name, method_config.for_target(target.dataset.without_images()))
    labelled = None if truth is None else target.dataset.map(lambda batch: labels_for(batch, truth, skeleton))
    return _Start(method, track, preset, model, target, masks, truth, labelled, choice)


def _preset(config: AdaptConfig, method: MethodEntry, *, named: bool) -> Preset:
    """The preset with the given weights; of a method that the user ``named`` alone, or of all."""
    method.check_sensor("colour", "the target of adapt")
    preset = find_preset(f"adapt/{config.subject}", config.preset, method.name)
    preset = preset.keeping(method.name) if named else preset
    if config.masks is not None and not preset.config_of(method.name).needs_target_masks:
        raise InputError(f"method {method.name} uses no masks of the target: leave --masks out")
    preset = preset.with_unconstrained(method.name, config.unconstrained)
    return preset.with_weights(config.encoder_weights, config.feature_weights)


def _truth(path: Path) -> KeypointSet:
    truth = KeypointSet.load_labels(path)
    check_reference_frame(truth, str(path))
    return truth


def _data(config: AdaptConfig, start: _Start) -> ExperimentData:
    frames, labelled = start.target.dataset, start.labelled
    source = _source(config, start)
    return ExperimentData(
        source=source,
        target=start.target.frames(config.seed + 1),
        source_joints_m=statistics_joints_m(source.dataset),
        evaluation=InMemoryEvaluation(frames, start.truth, start.track.protocol),
        selection=SelectionData(
            spread(frames, SELECTION_FRAMES), None if labelled is None else spread(labelled, SELECTION_FRAMES)
        ),
        frame_labels=None if labelled is None else _measured(labelled),
        target_masks=None if start.masks is None else start.masks.store,
        unusable=start.target.skipped,
        remarks=start.notes(),
        target_labels=None if labelled is None else labelled.without_images(),
    )


_BACKGROUNDS = 512  # pictures that are looked for
_PREDICTED_AT_ONCE = 256  # frames


def _source(config: AdaptConfig, start: _Start) -> InMemoryFrames[LabelledBatch]:
    """The renders; where a source model is given, some of them before pictures of the target."""
    model, fraction = start.source_model, start.preset.data.target_backgrounds
    before_target = model is not None and fraction > 0
    source = render_source(
        start.preset,
        start.method,
        start.track,
        config.domain,
        config.seed,
        model_given=model is not None,
        extra_labels=frozenset({"mask"}) if before_target else frozenset(),
    )
    if model is None or not before_target:
        return source
    found = torch.cat(
        [predict_joints(model.network, part) for part in start.target.dataset.batches(_PREDICTED_AT_ONCE)]
    )
    bank = background_bank(start.target.dataset, found, skeleton_of(start.preset.model), _BACKGROUNDS, config.seed)
    if len(bank) == 0:
        return source
    renders = with_backgrounds(source.dataset, bank, fraction, config.seed)
    kept = frozenset(start.method.source_labels)
    return replace(source, dataset=renders.map(lambda batch: select_labels(batch, kept)))


def _measured(labelled: InMemoryDataset[LabelledBatch]) -> LabelledBatch:
    """The frames on which trusted joints are measured: all, or of many, evenly chosen ones with a label."""
    if len(labelled) <= MEASURED_FRAMES:
        return labelled.all()
    valid = labelled.without_images().valid
    assert valid is not None
    known = valid.any(1).nonzero()[:, 0]
    return labelled.take(known[even_positions(len(known), MEASURED_FRAMES)])
