"""The command that trains a published run from public datasets: ``train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posebridge.training.options import Hardware

Recipe = Literal["rhd-to-h3d", "rhd-to-mvhand", "surreal-to-human36m", "surreal-to-3dpw"]
Method = Literal[
    "geometric-reconstruction", "integrated-pseudo-labels", "mean-teacher", "source-only", "supervised-target"
]


@dataclass(frozen=True)
class TrainCommand:
    """Train a published transfer: from a labelled synthetic dataset to a real one whose labels no method sees.

    Trains a source model, adapts it by the method, chooses the checkpoint without labels, predicts the target's test
    split, and writes model, predictions and a report with the papers' numbers beside the run's. docs/recipes.md tells
    how each dataset is to lie on disk.
    """

    recipe: Annotated[tyro.conf.Positional[Recipe], tyro.conf.arg(metavar="RECIPE")]
    """The transfer: rhd-to-h3d, rhd-to-mvhand, surreal-to-human36m or surreal-to-3dpw."""

    source: Path
    """Folder of the labelled dataset, as it was released."""

    target: Path
    """Folder of the real dataset, as it was released."""

    out: Path
    """Folder of the run; one that was stopped there goes on."""

    method: Method = "geometric-reconstruction"
    """integrated-pseudo-labels is geometric-reconstruction without the reconstruction; source-only stops before any
    adaptation; supervised-target reads the target's training labels, as the upper bound to measure by."""

    size: Literal["small", "full"] = "small"
    """small is made for CPUs (64 px, a first look), full for a GPU (256 px, the paper's values)."""

    seed: int = 0
    """Seed of everything that is drawn."""

    hand: Literal["left", "right"] | None = None
    """Of H3D, whose release doesn't say which hand it shows. Without it: left, as the public benchmark has it."""

    encoder_weights: str | None = None
    """Where the pose network's encoder starts: timm (downloads ImageNet weights), a file, or none. Without it: timm in
    size full, none in size small."""

    vgg_weights: str | None = None
    """Of the VGG-19 that style and redrawing need in size full: timm (downloads), a file, or none, which does without
    (Fourier style, the pose network's own features). Without it: timm."""

    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Train, score and report."""
        from posebridge.recipes.transfer import TransferConfig

        config = TransferConfig(
            self.recipe,
            # Absolute, so that the run can be resumed from anywhere.
            self.source.absolute(),
            self.target.absolute(),
            self.method,
            self.size,
            self.seed,
            self.hand,
            absolute_weights(self.encoder_weights),
            absolute_weights(self.vgg_weights),
        )
        run_and_report(config, self.out, self.hardware)


def run_and_report(config, folder: Path, hardware: Hardware) -> None:
    """Run a ``TransferConfig``, write the report, and say what there is."""
    from posebridge.recipes.transfer_run import run_transfer
    from posebridge.recipes.transfers import TRANSFERS
    from posebridge.report.page import write_report

    plan = TRANSFERS[config.recipe]
    record = run_transfer(plan, config, folder, hardware)
    write_report(record, folder / "report.html")
    for role, score in record.scores.items():
        space = "" if score.mean_error_mm is None else f", {score.mean_error_mm:.1f} mm"
        name = role.replace("_", " ")
        print(f"{name}: PCK@0.05 {100 * score.pck_005:.1f} %{space} on {score.n_frames} frames of {plan.target.name}")
    print(f"Model: {folder / 'model.safetensors'}")
    print(f"Predictions: {folder / 'predictions.npz'}")
    print(f"Report: {folder / 'report.html'}")


def absolute_weights(weights: str | None) -> str | None:
    """A path as seen from anywhere; words for weights as they are."""
    return weights if weights in (None, "timm", "none") else str(Path(weights).absolute())
