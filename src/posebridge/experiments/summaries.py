"""The lines that a command prints after a run: scores, and where the outputs are."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from posebridge.contracts.record import Record, Score
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.datasets.registry import dataset_named
from posebridge.experiments.configs import (
    AdaptConfig,
    AdaptDepthConfig,
    DemoConfig,
    SynthShiftConfig,
    TrainConfig,
    TrainDetectorConfig,
    TrainSourceConfig,
)
from posebridge.experiments.transfers import find_transfer

if TYPE_CHECKING:
    from posebridge.contracts.subjects import SubjectKind
    from posebridge.experiments.runner import Outcome
    from posebridge.experiments.synthshift import SynthShiftOutcome
    from posebridge.experiments.train_detector import KindScore


def outputs_summary(config: AdaptConfig | AdaptDepthConfig | TrainConfig, record: Record, folder: Path) -> list[str]:
    """Warnings, and where model, predictions and report are."""
    return [*record.warnings, *(f"{title}: {file}" for title, file in RunLayout(folder).outputs().items())]


def train_summary(config: TrainConfig, outcome: "Outcome", folder: Path) -> list[str]:
    """The score of each model on the target's test split, warnings, and where the outputs are."""
    name = find_transfer(config.recipe).target if config.recipe else config.target.name
    title, in_space = dataset_named(name).title, outcome.record.metric == "mean_error_mm"
    lines = [
        f"{role.replace('_', ' ')}: {_depth_numbers(score) if in_space else _numbers(score)} "
        f"on {score.n_frames} frames of {title}"
        for role, score in outcome.record.scores.items()
    ]
    return [*lines, *outputs_summary(config, outcome.record, folder)]


def _numbers(score: Score) -> str:
    space = "" if score.mean_error_mm is None else f", {score.mean_error_mm:.1f} mm"
    return f"PCK@0.05 {100 * score.pck_005:.1f} %{space}"


def _depth_numbers(score: Score) -> str:
    return f"{score.mean_error_mm:.1f} mm, {100 * score.success_rates['20']:.1f} % of frames below 20 mm,"


def synthshift_summary(config: SynthShiftConfig, outcome: "SynthShiftOutcome", folder: Path) -> list[str]:
    """The row of the benchmark's table as JSON."""
    return [json.dumps(outcome.row())]


def source_summary(config: TrainSourceConfig, record: Record, folder: Path) -> list[str]:
    """The score on renders of another seed, and where the outputs are."""
    score = record.scores["source_only"]
    line = f"{_numbers(score)} on {score.n_frames} renders of another seed"
    return [line, *(f"{title}: {file}" for title, file in RunLayout(folder).outputs().items())]


def detector_summary(config: TrainDetectorConfig, scores: "dict[SubjectKind, KindScore]", folder: Path) -> list[str]:
    """Recall and precision of each kind of subject, and where the outputs are."""
    lines = [
        f"{kind}: recall {score.recall:.3f}, precision {score.precision:.3f} of {score.labels} in "
        f"{config.test_scenes} scenes of another seed"
        for kind, score in scores.items()
    ]
    return [*lines, *(f"{title}: {file}" for title, file in RunLayout(folder).outputs().items())]


def demo_summary(config: DemoConfig, numbers: str, folder: Path) -> list[str]:
    """Where the outputs are, and the demo's numbers as JSON."""
    return [*(f"{title}: {file}" for title, file in RunLayout(folder).outputs().items()), numbers]
