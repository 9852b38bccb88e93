"""The record of a run: scores, checkpoint choice, learning curves, example frames, sections of the method."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from posebridge.contracts.plain import to_plain
from posebridge.contracts.record import (
    Candidate,
    CheckpointChoice,
    GalleryFrame,
    Metric,
    Provenance,
    PublishedRow,
    Record,
    Role,
    Score,
    Skipped,
)
from posebridge.contracts.run_layout import StageLayout
from posebridge.contracts.section import Section
from posebridge.experiments.training import Trained
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_label_section import pseudo_label_sections
from posebridge.training.run import command_line, environment
from posebridge.training.selection import CRITERION
from posebridge.training.stage_report import StageReport


@dataclass(frozen=True)
class RunMetadata:
    """What a record holds beside the numbers of a run."""

    title: str
    method: str
    skeleton: Skeleton
    config: Any  # of the run
    recipe: Any  # the preset behind it
    seed: int
    started: float  # by time.monotonic
    metric: Metric  # of the gap
    skipped: Mapping[str, str]  # input files that could not be used, with reasons
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    published: tuple[PublishedRow, ...] = ()


def make_record(
    metadata: RunMetadata,
    trained: Mapping[Role, Trained],
    final: Role,
    scores: Mapping[Role, Score],
    frames: tuple[GalleryFrame, ...],
    sections: tuple[Section, ...],
) -> Record:
    """The record of a run. Checkpoint choice and pseudo-labels are those of the ``final`` model."""
    reports = trained[final].reports
    return Record(
        title=metadata.title,
        method=metadata.method,
        joint_names=metadata.skeleton.joints,
        bones=metadata.skeleton.bones,
        provenance=Provenance(
            command=command_line(),
            seed=metadata.seed,
            seconds=monotonic() - metadata.started,
            config={"run": to_plain(metadata.config), "recipe": to_plain(metadata.recipe)},
            versions=environment(),
            checkpoint=checkpoint_choice(reports[-1]) if reports else None,
        ),
        groups=metadata.skeleton.group_indices(),
        scores=scores,
        curves=learning_curves([files for model in trained.values() for files in model.files]),
        gallery=frames,
        skipped=tuple(Skipped(file, reason) for file, reason in metadata.skipped.items()),
        notes=metadata.notes,
        warnings=metadata.warnings,
        metric=metadata.metric,
        published=metadata.published,
        sections=(*sections, *(pseudo_label_sections(reports[-1].candidates) if reports else ())),
    )


def checkpoint_choice(report: StageReport) -> CheckpointChoice | None:
    """The choice of a stage's checkpoint, and the one that labels of the target would have made."""
    if not report.candidates or report.chosen_step is None:
        return None
    candidates = tuple(Candidate(int(c["step"]), c["score"]) for c in report.candidates)
    oracle = at_choice = None
    if all("oracle" in c for c in report.candidates):
        best = max(report.candidates, key=lambda c: c["oracle"])
        oracle = Candidate(int(best["step"]), best["oracle"])
        at_choice = next(c["oracle"] for c in report.candidates if c["step"] == report.chosen_step)
    return CheckpointChoice(
        CRITERION, report.chosen_step, candidates=candidates, oracle=oracle, oracle_at_choice=at_choice
    )


def learning_curves(stages: Iterable[StageLayout]) -> Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]]:
    """The tables of metrics of finished stages, by their numbers."""
    curves = {}
    for files in sorted(stages, key=lambda files: int(files.folder.name.partition("-")[0])):
        with files.metrics.open() as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "step"]
        curves[files.folder.name] = {
            name: tuple((int(row["step"]), float(row[name])) for row in rows if row[name]) for name in names
        }
    return curves
