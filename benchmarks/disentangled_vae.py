"""Disentangled VAE on renders: few labels (Fig. 4.9 of Yang's dissertation, 2022), and image synthesis.

python benchmarks/disentangled_vae.py labels --fractions 0.05,0.1,0.2,1 --seeds 3 --json FILE
python benchmarks/disentangled_vae.py synthesis --preset small-synthesis --seeds 3 --json FILE

labels: the error in space of each setting (methods/disentangled_vae/settings.py) for fractions of labelled samples.
synthesis: how well pose and content are separated, and how a pose network that is trained on ordinary renders reads
images whose pose was transferred.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor
from torch.nn.functional import interpolate

from over_seeds import OverSeeds, seeds_table
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import PCK_005
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.evaluation_sets import truth_of
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift, synthshift_experiment
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.methods.disentangled_vae.config import DisentangledVAEConfig
from posebridge.methods.disentangled_vae.pose_labels import pose_labels
from posebridge.methods.disentangled_vae.settings import SETTINGS
from posebridge.networks.image_synthesis import ImageSynthesisNetwork
from posebridge.networks.pose_network import network_as
from posebridge.presets.disentangled_vae import METHOD
from posebridge.presets.preset import Change, Preset
from posebridge.skeletons.hand import HAND21
from studies import chosen, report_numbers

# Root and scale are given, as in the chapter: the root is the base of the middle finger, and the scale is the length of
# the bone from the wrist to it, in whose unit poses are decoded.
EPE = replace(PCK_005, root="middle_1")
ERROR = "EPE mm"
WALKS = ("pose moved by content walks, over pose walks", "content moved by pose walks, over content walks")
READ = ("read ordinary mm", "read transferred mm", "transferred / ordinary", "read given poses mm")


@dataclass(frozen=True)
class Study(OverSeeds):
    """What both studies share."""

    domain: str = "studio"
    """Domain of training and test renders."""

    out: Path = Path("runs/disentangled-vae")
    """Folder of the runs. Stages that are finished there are not trained again."""

    def synthshift(self, seed: int, method: str = METHOD, preset: str | None = None) -> SynthShiftConfig:
        """A run that is scored on test renders of the domain."""
        return SynthShiftConfig(
            method=method, preset=preset or self.preset, seed=seed, target_domain=self.domain, sets=self.sets
        )


@dataclass(frozen=True)
class Labels(Study):
    """Errors of each setting over fractions of labelled samples."""

    settings: Annotated[str, tyro.conf.arg(help=f"Settings, separated by commas: {', '.join(SETTINGS)}.")] = ",".join(
        SETTINGS
    )

    fractions: str = "0.05,0.1,0.2,0.5,1"
    """Fractions of the source that are labelled, separated by commas; at 1 only the supervised setting is trained."""

    def run(self) -> str:
        """The table. Raises ``InputError`` for an unknown setting."""
        names = chosen(self.settings, SETTINGS)
        rows: list[dict[str, Any]] = []
        for seed in self.seed_numbers:
            config = self.synthshift(seed)
            experiment = synthshift_experiment(config, self.hardware)
            sets = render_sets(config, experiment.preset, experiment.method)
            for fraction in map(float, self.fractions.split(",")):
                labelled = max(1, round(fraction * len(sets.source)))
                for name in names:
                    if labelled == len(sets.source) and name != "supervised":
                        continue
                    folder = self.out / f"{self.preset}-{self.domain}-{seed}" / f"{name}-{labelled}"
                    outcome = run_synthshift(config, folder, self.hardware, change=_setting(name, labelled), sets=sets)
                    rows.append({"setting": f"{name}, {fraction:g}", "seed": seed, **_errors(outcome, sets)})
                    self.save(rows)
        return seeds_table(self.with_others(rows), "setting", (ERROR, "viewpoint degrees"), lambda column: 1)


@dataclass(frozen=True)
class Synthesis(Study):
    """Disentanglement, and transferred images read by a pose network of ordinary renders."""

    preset: str = "small-synthesis"
    """small-synthesis or full-synthesis, or with -extra behind it for the model without tag images."""

    read: int = 512
    """Test images whose poses are transferred."""

    def run(self) -> str:
        """The table."""
        rows: list[dict[str, Any]] = []
        for seed in self.seed_numbers:
            config = self.synthshift(seed)
            experiment = synthshift_experiment(config, self.hardware)
            sets = render_sets(config, experiment.preset, experiment.method)
            cell = self.out / f"{self.preset}-{self.domain}-{seed}"
            outcome = run_synthshift(config, cell / "synthesis", self.hardware, sets=sets)
            reader = self._reader(seed, cell)
            network = network_as(outcome.trained["source_only"].network, ImageSynthesisNetwork)
            numbers = report_numbers(outcome)
            rows.append(
                {
                    "preset": self.preset,
                    "seed": seed,
                    **_errors(outcome, sets),
                    **{name: numbers[name] for name in WALKS},
                    **_read(network, reader, sets.test_target.part(slice(0, self.read))),
                }
            )
            self.save(rows)
        return seeds_table(self.with_others(rows), "preset", (ERROR, *WALKS, *READ))

    def _reader(self, seed: int, cell: Path) -> PosePredictor:
        """A heat-map network, trained on renders each of which has its own content."""
        preset = self.preset.partition("-")[0]
        config = self.synthshift(seed, "source-only", preset)
        outcome = run_synthshift(config, cell / "reader", self.hardware)
        predictor = outcome.predictions["source_only"].predictor
        assert isinstance(predictor, PosePredictor)
        return predictor


def _setting(name: str, labelled: int) -> Change:
    def change(preset: Preset) -> Preset:
        config = preset.config_of(METHOD)
        assert isinstance(config, DisentangledVAEConfig)
        return preset.with_config(METHOD, SETTINGS[name](config, labelled))

    return change


def _errors(outcome: SynthShiftOutcome, sets: SynthShiftSets) -> dict[str, Any]:
    truth = sets.test_target.without_images()
    numbers = report_numbers(outcome)
    return {
        ERROR: error_mm(outcome.predictions["source_only"].keypoints, truth),
        "viewpoint degrees": numbers.get("viewpoint"),
        "minutes": outcome.training_minutes,
    }


def error_mm(predicted: KeypointSet, truth: LabelledBatch) -> float | None:
    """Mean joint error with root and scale given."""
    return evaluate(predicted, truth_of(truth, HAND21.joints), 1.0, EPE).mean_error_mm


@torch.inference_mode()
def _read(network: ImageSynthesisNetwork, reader: PosePredictor, test: LabelledBatch) -> dict[str, float | None]:
    """Errors of the pose network on ordinary images, and on the same poses in the contents of other images."""
    network = network.eval()
    images, contents = test.rgb, network.content_latents(test.rgb.roll(1, 0))
    transferred, _ = network.synthesise(network.pose_latents(images), contents)
    given, _ = network.synthesise(network.latents_of_poses(pose_labels(test, HAND21).pose), contents)
    found = {
        name: error_mm(reader.predict_batch(_as_input(made, test.key, reader)), replace(test, image=None))
        for name, made in zip((READ[0], READ[1], READ[3]), (images, transferred, given), strict=True)
    }
    ordinary, moved = found[READ[0]], found[READ[1]]
    return {**found, READ[2]: None if not ordinary or moved is None else moved / ordinary}


def _as_input(images: Tensor, keys: Sequence[str], reader: PosePredictor) -> UnlabelledBatch:
    size = reader.size_px
    if images.shape[-1] != size:
        images = interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return UnlabelledBatch(images, tuple(keys))


if __name__ == "__main__":
    try:
        print(tyro.extras.subcommand_cli_from_dict({"labels": Labels, "synthesis": Synthesis}).run())
    except InputError as error:
        raise SystemExit(f"disentangled_vae: {error}") from None
