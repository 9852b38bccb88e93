"""Time of a fine-tuning step of geometric reconstruction, and of its parts.

    python benchmarks/geometric_reconstruction.py

Network, image size and batch are the paper's by default. Weights are random, which changes no time. Each part runs by
itself, forward and backward. A step that takes longer than the sum of its parts computes something twice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import lightning as L
import torch
import tyro
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.pairs import split_pairs
from posebridge.deployment.model_spec import PoseSpec
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import experiment_context
from posebridge.experiments.synthshift import synthshift_data, synthshift_experiment
from posebridge.experiments.synthshift_sets import render_sets
from posebridge.losses.keypoints import combine
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.methods.geometric_reconstruction.integrated_labels import PseudoTargets
from posebridge.methods.geometric_reconstruction.perceptual_features import VGG19_RELU5, VggFeatures
from posebridge.methods.geometric_reconstruction.reconstructor_training import reconstruct_pairs, soft_joints
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.presets.preset import DataSizes, Preset
from posebridge.synthesis.domains import Track
from posebridge.training.options import Hardware
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.source_training import augmented
from posebridge.training.style import FourierStyle
from posebridge.training.supervision import supervised_terms

_SIZES = DataSizes(source=256, target=24, test=1)  # one video of the target
_METHOD = "geometric-reconstruction"
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Options:
    """Measure a fine-tuning step."""

    track: Track = "body-rgb"
    """A track with videos, whose images are used."""

    batch: int = 2
    """Frames of the source, and as many of the target, in half as many pairs."""

    image_px: int = 256
    """Side of the images."""

    repeats: int = 8
    """Repeats of each measurement; the fastest counts."""

    threads: int = 2
    """CPU threads."""

    hardware: Hardware = field(default_factory=Hardware)

    out: Path | None = None
    """File for the table in Markdown, which is also printed."""


class Step:
    """A fine-tuning step, whole and in parts, on one batch."""

    def __init__(self, options: Options):
        def smaller(preset: Preset) -> Preset:
            assert isinstance(preset.model, PoseSpec)
            return replace(preset, model=replace(preset.model, size_px=options.image_px), data=_SIZES)

        config = SynthShiftConfig(track=options.track, method=_METHOD, preset="full", target_frames="videos")
        experiment = synthshift_experiment(config, options.hardware, smaller)
        sets = render_sets(config, experiment.preset, experiment.method)
        context = experiment_context(experiment, synthshift_data(config, experiment.preset, sets))
        usual = experiment.preset.config_of(_METHOD)
        assert isinstance(usual, GeometricReconstructionConfig)
        self.config = _with_random_features(usual, options.batch)
        assert self.config.reconstruction is not None
        assert isinstance(self.config.style, FourierStyle)
        torch.manual_seed(0)
        reconstructor = FrameReconstructor(self.config.reconstruction.reconstructor, context.skeleton)
        restyler, network = self.config.style.restyler(), network_as(context.new_network(), PoseResNet)
        phase = Phase(self.config.schedule, start_frac=0.5)
        self.stage = FineTuning(self.config, phase, context, network, restyler, reconstructor)
        self.stage.trainer = trainer = _trainer(options.hardware)
        self.device = trainer.strategy.root_device
        self.stage.to(self.device)
        self.optimiser = self.stage.configure_optimizers()["optimizer"]
        self.batches = {name: stream.batch(0).to(self.device) for name, stream in self.stage.streams.items()}

    def whole(self) -> None:
        """All of it, Eq. 11."""
        loss = self.stage.training_step((0, self.batches), 0)
        loss.backward()
        self.update()

    def update(self) -> None:
        """The step of the optimiser, and that of the teacher's moving average."""
        self.optimiser.step()
        self.optimiser.zero_grad()
        update_average(self.stage.teacher, self.stage.student, self.config.average_decay)

    def parts(self) -> dict[str, Callable[[], None]]:
        """The parts of a step by name; the inputs of each are computed before."""
        stage, images = self.stage, self._frames.rgb
        labels = self._teach()
        targets = self._correct(labels)
        with torch.no_grad():
            uv_px = soft_joints(stage.predict_maps(stage.student, images)[0], stage.maps, images.shape[-1])
        image = self._reconstruct(uv_px).detach()
        return {
            "supervised loss, student": self._supervise,
            "pseudo-labels, teacher": lambda: void(self._teach()),
            "correction by anatomy": lambda: void(self._correct(labels)),
            "pseudo-labels, student": lambda: self._learn(targets),
            "reconstruction": lambda: self._reconstruct(uv_px).float().mean().backward(),
            "perceptual loss": lambda: self._compare(image),
            "optimiser and moving average": self.update,
        }

    def _supervise(self) -> None:
        stage, source = self.stage, self.batches["source"]
        assert isinstance(source, LabelledBatch)
        view = augmented(source, self.config, generator_for(0, 0), stage.skeleton.mirror)
        self._back(supervised_terms(stage.maps, stage.predict_maps(stage.student, view.rgb), view, stage.skeleton))

    def _teach(self) -> PseudoLabels:
        with torch.autocast(self.device.type, enabled=False):
            predict = partial(self.stage.predict_poses, self.stage.teacher)
            source_images = self.batches["source"].rgb
            return self.stage.labeller.label(predict, self._frames, source_images, generator_for(0, 0))

    def _correct(self, labels: PseudoLabels) -> PseudoTargets:
        frames = self._frames
        return self.stage.integrated.pseudo_targets(labels, frames.camera, frames.rgb.shape[-1], 0.9)

    def _learn(self, targets: PseudoTargets) -> None:
        stage, images = self.stage, self._frames.rgb
        identity = torch.eye(3, device=self.device).repeat(len(images), 1, 1)
        output = stage.predict_maps(stage.student, images)
        self._back(stage.integrated.terms(output, targets, identity, images.shape[-1]))

    def _reconstruct(self, uv_px: Float[Tensor, "B K 2"]) -> Float[Tensor, "B 3 H W"]:
        assert self.stage.reconstructor is not None
        with self.stage.trainer.precision_plugin.forward_context():
            return reconstruct_pairs(self.stage.reconstructor, self._frames, uv_px.clone().requires_grad_(True)).image

    def _compare(self, image: Float[Tensor, "B 3 H W"]) -> None:
        assert self.stage.perceptual_loss is not None
        with self.stage.trainer.precision_plugin.forward_context():
            driving = split_pairs(self._frames)[1].rgb
            loss = self.stage.perceptual_loss(image.clone().requires_grad_(True), driving).float().mean()
        loss.backward()

    @property
    def _frames(self) -> UnlabelledBatch:
        frames = self.batches["target"]
        assert isinstance(frames, UnlabelledBatch)
        return frames

    def _back(self, terms: Terms) -> None:
        combine(terms, {name: self.stage.term_weights[name] for name in terms}).backward()

    def runs(self) -> list[tuple[str, int, int]]:
        """Of each network its name, and the fewest and most runs of a layer in one step."""
        assert self.stage.reconstructor is not None
        assert self.stage.perceptual_loss is not None
        networks: dict[str, nn.Module] = {
            "student": self.stage.student,
            "teacher": self.stage.teacher,
            "warping estimator and generator": self.stage.reconstructor,
            "features": self.stage.perceptual_loss,
        }
        counts = {name: count_runs(network, self.whole) for name, network in networks.items()}
        return [(name, min(found), max(found)) for name, found in counts.items()]


def _trainer(hardware: Hardware) -> L.Trainer:
    return L.Trainer(
        accelerator=hardware.accelerator,
        devices=1,
        precision=hardware.lightning_precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _with_random_features(config: GeometricReconstructionConfig, batch: int) -> GeometricReconstructionConfig:
    assert config.reconstruction is not None
    features = VggFeatures(replace(VGG19_RELU5, pretrained="none"))
    reconstruction = replace(config.reconstruction, features=features)
    return replace(config, style=FourierStyle(), batch_size=batch, reconstruction=reconstruction)


def void(_: object) -> None:
    """Drop a result."""


def count_runs(network: nn.Module, function: Callable[[], None]) -> list[int]:
    """How often each layer with parameters runs."""
    layers = [layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None]
    found = dict.fromkeys(layers, 0)

    def count(layer: nn.Module, _: object) -> None:
        found[layer] += 1

    handles = [layer.register_forward_pre_hook(count) for layer in layers]
    function()
    for handle in handles:
        handle.remove()
    return list(found.values())


def best_ms(function: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Milliseconds of the fastest of several calls, after one that is not counted."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter()
        function()
        wait()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def table(options: Options) -> str:
    """Markdown. Raises ``InputError`` for a track without videos."""
    step = Step(options)
    parts = {name: best_ms(part, step.device, options.repeats) for name, part in step.parts().items()}
    whole, total = best_ms(step.whole, step.device, options.repeats), sum(parts.values())
    device = "GPU" if step.device.type == "cuda" else f"{options.threads} CPU threads"
    precision = step.stage.trainer.precision
    lines = [
        f"| batch {options.batch}, {options.image_px} px, {device}, {precision} | ms | fraction of the sum |",
        "|---|---|---|",
        *(f"| {name} | {ms:.0f} | {ms / total:.0%} |" for name, ms in parts.items()),
        f"| sum of the parts | {total:.0f} | |",
        f"| **whole step** | {whole:.0f} | {whole / total:.0%} |",
        "",
        "| runs of a layer in one step | fewest | most |",
        "|---|---|---|",
        *(f"| {name} | {fewest} | {most} |" for name, fewest, most in step.runs()),
    ]
    if step.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step.whole()
        peak = torch.cuda.max_memory_allocated() / 2**30
        lines += ["", f"{2000 * options.batch / whole:.0f} images a second, {peak:.1f} GiB at most."]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    text = table(options)
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"geometric_reconstruction: {error}") from None
