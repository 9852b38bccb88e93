"""Run a published transfer: train, choose without labels, score on the test split beside the papers' rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from time import monotonic

from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.contracts.section import Section
from posebridge.data.dataset_stream import DatasetPairStream, DatasetStream, dataset_pairs
from posebridge.data.pairs import FramePairs, PairConfig
from posebridge.data.skipped_list import SkippedList
from posebridge.data.streams import Stream
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import PoseSpec
from posebridge.deployment.predict_files import list_skipped
from posebridge.deployment.predictor import PosePredictor
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.geometric_reconstruction.evidence import reconstruction_sections
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.methods.mean_teacher.method import MeanTeacher
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTarget, SupervisedTargetConfig
from posebridge.networks.vgg import VggEncoder
from posebridge.recipes.pipeline import (
    SELECTION_FRAMES,
    Trained,
    label_free_selection,
    network_maker,
    prediction_device,
    train,
)
from posebridge.recipes.predict_test import Predicted, gallery_of_test_split, predict_test_split
from posebridge.recipes.records import RunMetadata, make_record
from posebridge.recipes.transfer import (
    TransferConfig,
    TransferData,
    TransferMethod,
    TransferPlan,
    TransferSize,
    load_subset,
    open_transfer,
    source_joints,
)
from posebridge.representations.pose25d import reference_length
from posebridge.training.context import Context
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space
from posebridge.training.selection import BoneStatistics
from posebridge.training.stage import Stage

_SHOWN_PAIRS = 16  # at most
_ROLE_OF: dict[TransferMethod, Role] = {"source-only": "source_only", "supervised-target": "supervised_target"}


def run_transfer(plan: TransferPlan, config: TransferConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, choose, predict, and leave model, predictions, record.

    Raises ``InputError`` before anything is trained where a dataset, its pairs of frames or weights are missing.
    """
    started = monotonic()
    job = TransferJob.open(plan, config, folder, hardware)
    context = job.context()
    job.check(context)
    run = Run.create(folder, "train", config, hardware, job.size)
    trained = job.train(run, context)
    predicted = job.predict(trained)
    final = _ROLE_OF.get(config.method, "adapted")
    record = job.record(trained, predicted, final, started)
    record = replace(record, sections=(*job.sections(trained[final].stages, context), *record.sections))
    save_model(folder, job.spec(config.method), trained[final].network.cpu())
    predicted.by_role[final].save(folder / "predictions.npz")
    if skipped := job.all_skipped():
        list_skipped(folder, len(predicted.frames), skipped)
    save_record(record, folder)
    return record


@dataclass(frozen=True)
class TransferJob:
    """A transfer and a run's config of it, with the numbers and the datasets that they come to."""

    plan: TransferPlan
    config: TransferConfig
    size: TransferSize
    data: TransferData
    joints_m: Float[Tensor, "n J 3"]  # true poses of the source, from which lengths of bones are taken
    skipped: SkippedList
    hardware: Hardware

    @classmethod
    def open(cls, plan: TransferPlan, config: TransferConfig, folder: Path, hardware: Hardware) -> "TransferJob":
        """Raises ``InputError`` where the run's folder refuses or a dataset isn't there."""
        size = plan.sized(config)
        check_space(folder, size.space_mb)
        data = open_transfer(plan, config, size)
        joints_m = source_joints(data.source.frames)
        return cls(plan, config, size, data, joints_m, Run.unreadable(folder), hardware)

    def context(self) -> Context:
        """Streams from disk. Labels of the target go to the measure that sits beside the label-free choice, no further.

        Raises ``InputError`` where not one frame of the target can be read.
        """
        data, seed, skipped = self.data, self.config.seed, self.skipped

        def pairs(count: int, wanted: PairConfig) -> Stream[UnlabelledBatch]:
            return DatasetPairStream(data.target, self.pairs_of(wanted), count, seed + 1, skipped)

        return Context(
            new_network=network_maker(self.size.network, self.size.maps, seed),
            skeleton=self.plan.skeleton,
            source=lambda batch_size: DatasetStream(data.source, batch_size, seed, skipped),
            target=lambda batch_size: DatasetStream(data.target, batch_size, seed + 1, skipped),
            selection=label_free_selection(
                self.plan.skeleton,
                BoneStatistics.of(self.joints_m, self.plan.skeleton),
                self.measured.unlabelled(),
                self.measured,
                self.size.mean_teacher.selections,
            ),
            seed=seed,
            workers=self.hardware.workers,
            pairs=pairs,
        )

    @cached_property
    def measured(self) -> LabelledBatch:
        """The part of the target by which checkpoints are compared, in memory, with its labels."""
        return load_subset(self.data.target_labelled, SELECTION_FRAMES, self.skipped, self.hardware.workers)

    @cached_property
    def pairs_of(self) -> Callable[[PairConfig], FramePairs]:
        """The target's pairs of frames, found once, for it takes seconds. Raises ``InputError`` where it has none."""
        return cache(lambda wanted: dataset_pairs(self.data.target.frames, wanted))

    def check(self, context: Context) -> None:
        """Find out what would otherwise stop the run after hours. Raises ``InputError``."""
        context.source(1).batch(0)
        context.new_network()
        for encoder in self.size.vgg_of(self.config.method):
            VggEncoder(encoder)
        reconstruction = self.size.geometric_of(self.config.method).reconstruction
        if self.config.method == "geometric-reconstruction" and reconstruction and context.pairs:
            context.pairs(1, reconstruction.pairs)

    def train(self, run: Run, context: Context) -> dict[Role, Trained]:
        """The source model, and the one that the method makes of it."""
        size, method = self.size, self.config.method
        source = train(run, 1, SourceOnly(SourceOnlyConfig(size.source)).stages(context))
        left: dict[Role, Trained] = {"source_only": source}
        onward = replace(context, source_network=source.network)
        if method == "mean-teacher":
            left["adapted"] = train(run, 2, MeanTeacher(size.mean_teacher).stages(onward))
        elif method == "supervised-target":
            supervised = SupervisedTargetConfig(size.source, size.supervised_target)
            stages = SupervisedTarget(supervised, self._labelled_target).stages(onward)
            left["supervised_target"] = train(run, 2, stages)
        elif method != "source-only":
            geometric = size.geometric_of(method)
            # Without a source stage of its own, as in the paper, its pretraining starts from nothing.
            given = context if geometric.source is None else onward
            left["adapted"] = train(run, 2, GeometricReconstruction(geometric).stages(given))
        return left

    def _labelled_target(self, batch_size: int) -> DatasetStream[LabelledBatch]:
        return DatasetStream(self.data.target_labelled, batch_size, self.config.seed, self.skipped)

    def spec(self, method: str) -> PoseSpec:
        """How to rebuild and read a network of this run."""
        size, skeleton = self.size, self.plan.skeleton
        length_m = reference_length(self.joints_m, skeleton).mean().item()
        return PoseSpec(size.network, size.maps, skeleton.name, size.size_px, length_m, method)

    def predict(self, trained: Mapping[Role, Trained]) -> Predicted:
        """What every model says of the test split."""
        device = prediction_device(self.hardware)
        predictors: dict[Role, PosePredictor] = {
            role: PosePredictor(self.spec(role), left.network.to(device)) for role, left in trained.items()
        }
        return predict_test_split(predictors, self.data.test, self.plan.skeleton, self.skipped, self.hardware.workers)

    def all_skipped(self) -> dict[str, str]:
        """What the readers left out, and what could not be read since."""
        return {**self.data.skipped, **self.skipped.read()}

    def record(self, trained: Mapping[Role, Trained], predicted: Predicted, final: Role, started: float) -> Record:
        """The scores by the protocol, with the papers' rows; pictures of the ``final`` model."""
        plan, data = self.plan, self.data
        truth = predicted.truth(plan.scored)
        scores: dict[Role, Score] = {
            role: evaluate(predicted.in_crops(found), truth, self.size.size_px, plan.protocol)
            for role, found in predicted.by_role.items()
        }
        story = RunMetadata(
            title=f"{plan.source.name} to {plan.target.name}, {self.size.name}",
            method=self.config.method,
            skeleton=plan.skeleton,
            config=self.config,
            recipe=self.size,
            seed=self.config.seed,
            started=started,
            skipped=self.all_skipped(),
            notes=(
                f"Labelled: {len(data.source)} frames of {plan.source.name}. Unlabelled: {len(data.target)} frames of "
                f"{plan.target.name}. Scored on {len(predicted.frames)} frames of its test split.",
            ),
        )
        frames = gallery_of_test_split(predicted, final, data.test, self.skipped)
        return replace(make_record(story, trained, scores, frames), published=plan.published())

    def sections(self, stages: Sequence[Stage], context: Context) -> tuple[Section, ...]:
        """The sections of the method, empty for most."""
        reconstruction = self.size.geometric_of(self.config.method).reconstruction
        if self.config.method != "geometric-reconstruction" or reconstruction is None:
            return ()
        pairs, seed = self.pairs_of(reconstruction.pairs), self.config.seed + 1
        # The first pairs of the stream, which are those that are reconstructed, with their labels.
        labels = DatasetPairStream(self.data.target_labelled, pairs, _SHOWN_PAIRS, seed, self.skipped).batch(0)
        return reconstruction_sections(stages, context, pair_labels=labels, frame_labels=self.measured)
