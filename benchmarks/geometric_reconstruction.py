"""How long a fine-tuning step of geometric reconstruction takes, against the sum of its parts.

    python benchmarks/geometric_reconstruction.py --out docs/tables/geometric-reconstruction.md

The network, image size and batch are the paper's unless other ones are asked for; weights are random, which changes no
time. Each part runs by itself, forwards and backwards. A whole step that takes longer than all of them together runs
something twice; one that is faster shares work.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import lightning as L
import torch
import tyro
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.pairs import split_pairs
from posebridge.draw import generator_for
from posebridge.losses.keypoints import combine
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.methods.geometric_reconstruction.perceptual_features import VGG19_RELU5, VggFeatures
from posebridge.methods.geometric_reconstruction.reconstructor_training import reconstruct_pairs, soft_joints
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.recipes.synthshift import TRACKS, make_context
from posebridge.recipes.track import TrackRenderer
from posebridge.synthesis.domains import Track
from posebridge.training.options import Hardware
from posebridge.training.pseudo_labels import update_average
from posebridge.training.source_training import augmented
from posebridge.training.style import FourierStyle
from posebridge.training.supervision import supervised_terms

_SOURCE, _VIDEO = 256, 24  # renders of the source; frames of the target's video
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Options:
    """Measure a fine-tuning step."""

    track: Track = "body-rgb"
    """Whose images; a track with videos."""

    batch: int = 2
    """Frames of the source, and as many of the target (half as many pairs)."""

    image_px: int = 256
    """Side of the images."""

    repeats: int = 8
    """Of each measurement; the best counts."""

    threads: int = 2
    """CPU threads."""

    hardware: Hardware = field(default_factory=Hardware)

    out: Path | None = None
    """Where the table goes, as Markdown; printed in any case."""


class Step:
    """A fine-tuning step, whole and in parts, on one batch."""

    def __init__(self, options: Options):
        plan = TRACKS[options.track]
        full = plan.sizes["full"]
        size = replace(full, size_px=options.image_px, source_samples=_SOURCE, target_samples=_VIDEO, test_samples=1)
        data = TrackRenderer(plan, size).data(0, "videos")
        context = make_context(plan, size, data, 0, options.hardware)
        assert size.geometric_reconstruction is not None
        self.config = _with_random_features(size.geometric_reconstruction, options.batch)
        assert self.config.reconstruction is not None
        assert isinstance(self.config.style, FourierStyle)
        torch.manual_seed(0)
        reconstructor = FrameReconstructor(self.config.reconstruction.reconstructor, context.skeleton)
        stylist, network = self.config.style.stylist(), network_as(context.new_network(), PoseResNet)
        phase = Phase(self.config.schedule, since=0.5)
        self.stage = FineTuning(self.config, phase, context, network, stylist, reconstructor)
        hardware = options.hardware
        trainer = L.Trainer(
            accelerator=hardware.accelerator,
            devices=1,
            precision=hardware.lightning_precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self.stage.trainer = trainer
        self.device = trainer.strategy.root_device
        self.stage.to(self.device)
        self.optimiser = self.stage.configure_optimizers()["optimizer"]
        self.batches = {name: stream.batch(0).to(self.device) for name, stream in self.stage.streams.items()}

    def whole(self) -> None:
        """All of it, Eq. 11."""
        loss = self.stage.training_step((0, self.batches), 0)
        loss.backward()
        self.follow()

    def follow(self) -> None:
        """The optimiser's step, and the teacher's."""
        self.optimiser.step()
        self.optimiser.zero_grad()
        update_average(self.stage.teacher, self.stage.student, self.config.average_decay)

    def parts(self) -> dict[str, Callable[[], None]]:
        """By name, what a step consists of; each part with inputs that are already there."""
        stage, source, frames = self.stage, self.batches["source"], self.batches["target"]
        assert isinstance(source, LabelledBatch)
        assert isinstance(frames, UnlabelledBatch)
        assert stage.reconstructor is not None
        reconstructor, compare, px = stage.reconstructor, stage.compare, frames.rgb.shape[-1]
        assert compare is not None

        def labels() -> None:
            view = augmented(source, self.config, generator_for(0, 0), stage.skeleton.mirror)
            terms = supervised_terms(stage.maps, stage.maps_of(stage.student, view.rgb), view, stage.skeleton)
            self._back(terms)

        def teach():
            with torch.autocast(self.device.type, enabled=False):
                look = partial(stage.poses_of, stage.teacher)
                return stage.labeller.label(look, frames, source.rgb, generator_for(0, 0))

        taught = teach()

        def correct():
            return stage.integrated.pseudo_targets(taught, frames.camera, px, 0.9)

        targets, identity = correct(), torch.eye(3, device=self.device).repeat(len(frames), 1, 1)

        def pseudo_labels() -> None:
            self._back(stage.integrated.terms(stage.maps_of(stage.student, frames.rgb), targets, identity, px))

        with torch.no_grad():
            places = soft_joints(stage.maps_of(stage.student, frames.rgb)[0], stage.maps, px)

        def redraw() -> Tensor:
            with stage.trainer.precision_plugin.forward_context():
                return reconstruct_pairs(reconstructor, frames, places.clone().requires_grad_(True)).image

        def compared() -> None:
            with stage.trainer.precision_plugin.forward_context():
                loss = compare(image.clone().requires_grad_(True), split_pairs(frames)[1].rgb).float().mean()
            loss.backward()

        image = redraw().detach()
        return {
            "labels of the source, student": labels,
            "teacher's look": lambda: void(teach()),
            "correction by anatomy": lambda: void(correct()),
            "pseudo-labels, student": pseudo_labels,
            "redrawing": lambda: redraw().float().mean().backward(),
            "perceptual loss": compared,
            "optimiser, teacher follows": self.follow,
        }

    def _back(self, terms: Terms) -> None:
        combine(terms, {name: self.stage.term_weights[name] for name in terms}).backward()

    def runs(self) -> list[tuple[str, int, int]]:
        """Name, fewest and most runs of a layer in one step, of each network."""
        assert self.stage.reconstructor is not None
        assert self.stage.compare is not None
        networks: dict[str, nn.Module] = {
            "student": self.stage.student,
            "teacher": self.stage.teacher,
            "warping estimator and generator": self.stage.reconstructor,
            "features": self.stage.compare,
        }
        counts = {name: count_runs(network, self.whole) for name, network in networks.items()}
        return [(name, min(found), max(found)) for name, found in counts.items()]


def _with_random_features(config: GeometricReconstructionConfig, batch: int) -> GeometricReconstructionConfig:
    assert config.reconstruction is not None
    features = VggFeatures(replace(VGG19_RELU5, pretrained="none"))
    reconstruction = replace(config.reconstruction, features=features)
    return replace(config, style=FourierStyle(), batch_size=batch, reconstruction=reconstruction)


def void(_: object) -> None:
    """Forgets what a part returns."""


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
    step = Step(options)
    parts = {name: best_ms(part, step.device, options.repeats) for name, part in step.parts().items()}
    whole, total = best_ms(step.whole, step.device, options.repeats), sum(parts.values())
    where = "GPU" if step.device.type == "cuda" else f"{options.threads} CPU threads"
    precision = step.stage.trainer.precision
    lines = [
        f"| batch {options.batch}, {options.image_px} px, {where}, {precision} | ms | share of the sum |",
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
    main()
