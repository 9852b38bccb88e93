"""Precision of pseudo-labels that heat maps, anatomy, or both select, by threshold.

    python benchmarks/trusted_labels.py RUN

RUN is a run of SynthShift. Its adapted model predicts the target frames that it was adapted to. A joint is right within
5% of the image side. The target's labels are used by this table alone.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Bool
from torch import Tensor

from posebridge.contracts.config_file import load_config
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import experiment_context
from posebridge.experiments.synthshift import synthshift_data, synthshift_experiment
from posebridge.experiments.synthshift_sets import render_sets
from posebridge.methods.geometric_reconstruction.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.presets.table import find_preset
from posebridge.training.options import Hardware
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import most_confident

KEPT_FRACS = (0.2, 0.4, 0.6)  # gamma_2D, as the fraction of peaks that are above it
MOVE_FRACS = (0.005, 0.01, 0.025, 0.05)  # gamma_3D, of the image side
RIGHT_FRAC = 0.05  # of the image side


@dataclass(frozen=True)
class Options:
    """Measure the precision of selected pseudo-labels."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    frames: int = 512
    """Frames of the target, evenly chosen."""

    kept_frac: float = 0.4
    """Fraction of the peaks that heat maps select in the columns of both masks."""

    out: Path | None = None
    """File for the table in Markdown, which is also printed."""


def table(options: Options) -> str:
    """Markdown: of each mask, the fraction of joints that it selects, and that of right ones among them.

    Raises ``InputError`` for a folder that is no such run.
    """
    _, config = load_config(options.run / "config.yaml", {"synthshift": SynthShiftConfig})
    network = load_model(options.run, POSE).network
    experiment = synthshift_experiment(config, Hardware())
    preset, skeleton = experiment.preset, experiment.skeleton
    teacher = find_preset(preset.family, preset.name, "mean-teacher").config_of("mean-teacher")
    assert isinstance(teacher, MeanTeacherConfig)
    sets = render_sets(config, preset, experiment.method)
    frames = sets.target.take(_evenly(len(sets.target), options.frames))
    assert frames.uv_px is not None
    assert frames.valid is not None
    labeller = PseudoLabeller(replace(teacher, kept_frac=options.kept_frac), skeleton.mirror, None)
    with torch.no_grad():
        predicted = labeller.label_unaugmented(network, frames.unlabelled())
    labelled = frames.valid
    right = (predicted.uv_px - frames.uv_px).norm(dim=-1) < RIGHT_FRAC * preset.model.size_px

    def cells(mask: Bool[Tensor, "N J"]) -> str:
        return f"{mask[labelled].float().mean():.2f} | {right[mask & labelled].float().mean():.2f}"

    lines = [
        f"| {config.track}, {config.method}: joints selected by | fraction of all | right "
        "| by this alone: fraction | right | by both: fraction | right |",
        "|---" * 7 + "|",
        f"| nothing | {cells(torch.ones_like(labelled))} | | | | |",
    ]
    for frac in KEPT_FRACS:
        kept = most_confident(predicted.confidence, frac)
        lines.append(f"| heat maps: the highest {frac:.0%} of peaks | {cells(kept)} | | | | |")
    assert isinstance(preset.model, PoseSpec)
    maps = preset.model.maps
    context = experiment_context(experiment, synthshift_data(config, preset, sets))
    limits = IntegratedLabels.from_context(LabelIntegration(), maps, context).limits
    for frac in MOVE_FRACS:
        labels = LabelIntegration(max_correction_frac=frac)
        integrated = IntegratedLabels(labels, maps, skeleton, limits).eval()
        kept = integrated.rectify(predicted, frames.camera, preset.model.size_px).kept
        alone, both = kept & ~predicted.kept, kept & predicted.kept
        name = f"anatomy: moved by less than {frac:.1%}"
        lines.append(f"| {name} | {cells(kept)} | {cells(alone)} | {cells(both)} |")
    return "\n".join(lines) + "\n"


def _evenly(count: int, chosen: int) -> Tensor:
    return torch.arange(0, count, max(1, count // chosen))[:chosen]


def main() -> None:
    options = tyro.cli(Options)
    text = table(options)
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"trusted_labels: {error}") from None
