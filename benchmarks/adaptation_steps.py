"""Time of a step of every stage by which ``adapt`` adapts a shipped model to a video.

python benchmarks/adaptation_steps.py --threads 2
python benchmarks/adaptation_steps.py --threads 1 --clock cpu

Each stage is measured twice in one run, in alternation: as the preset ``small`` has it, and with frames reconstructed
at the size of the network's input. Frames are rendered, which changes no time. The last column is the time of all
steps of the stage. The clock ``cpu`` counts the processor's time, for a machine that other programs keep busy.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import tyro

from posebridge.contracts.batch import LabelledBatch
from posebridge.deployment.shipped_models import model_path
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.source_model import load_source_model
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.registry import find_method
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.freed_memory import keep_freed_memory
from posebridge.training.stage import Stage
from single_steps import with_plain_trainer

_METHOD = "geometric-reconstruction"
_RENDERS, _VIDEO_FRAMES = 96, 24


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 4
    """Steps that are measured after one that is not; the fastest counts."""

    threads: int = 2
    """CPU threads."""

    clock: Literal["wall", "cpu"] = "wall"
    """Time that passes, or time of the processor over all threads."""


class Steps:
    """A stage, trained step by step without the callbacks of a run."""

    def __init__(self, stage: Stage):
        self.stage, self.number = with_plain_trainer(stage), 0
        self.optimiser = stage.configure_optimizers()["optimizer"]

    def __call__(self) -> None:
        """The next step: batches, loss, gradients, update."""
        batches = {name: stream.batch(self.number) for name, stream in self.stage.streams.items()}
        self.stage.training_step((self.number, batches), 0).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.number += 1


def stages(config: GeometricReconstructionConfig, context: Context) -> Iterator[Steps]:
    """Warm start, reconstructor and fine-tuning; none waits for the training of the one before."""
    for stage, _ in find_method(_METHOD).build(config).stages(context):
        yield Steps(stage)


def compared() -> dict[str, tuple[Steps, Steps]]:
    """Of every stage by name: as in the preset, and with whole frames reconstructed."""
    preset = find_preset("adapt/hand", "small", _METHOD)
    model = load_source_model(model_path("hand-rgb"), preset.model)
    config = preset.config_of(_METHOD)
    assert isinstance(config, GeometricReconstructionConfig)
    assert config.reconstruction is not None
    loader = RenderLoader("hand-rgb", model.spec, frozenset(find_method(_METHOD).source_labels))
    stills = loader.load("varied", _RENDERS, seed=0)
    videos = loader.load("varied", _RENDERS, seed=0, video_frames=_VIDEO_FRAMES)
    target = videos.map(LabelledBatch.unlabelled)
    context = Context(
        new_network=lambda: model.network,
        skeleton=HAND21,
        source=InMemoryFrames(stills, 0, videos),
        target=InMemoryFrames(target, 1, target),
        selection=None,
        seed=0,
        source_network=model.network,
    )
    whole_frames = replace(config.reconstruction.reconstructor, image_px=None)
    whole = replace(config, reconstruction=replace(config.reconstruction, reconstructor=whole_frames))
    pairs = zip(stages(config, context), stages(whole, context), strict=True)
    return {reduced.stage.name: (reduced, other) for reduced, other in pairs}


def table(options: Options) -> str:
    """Markdown."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    lines = ["| stage | s a step | with whole frames | steps | min |", "|---|---|---|---|---|"]
    total = 0.0
    for name, both in compared().items():
        seconds, whole = (min(times) for times in zip(*_times(both, options.repeats, clock), strict=True))
        steps = both[0].stage.schedule.steps
        total += seconds * steps
        lines.append(f"| {name} | {seconds:.2f} | {whole:.2f} | {steps} | {seconds * steps / 60:.1f} |")
    lines.append(f"| all | | | | {total / 60:.1f} |")
    return f"{options.threads} threads, {options.clock}\n\n" + "\n".join(lines)


def _times(both: tuple[Steps, Steps], repeats: int, clock: Callable[[], float]) -> Iterator[tuple[float, float]]:
    """Seconds of a step of each, in alternation."""
    for repeat in range(repeats + 1):
        times = []
        for step in both:
            started = clock()
            step()
            times.append(clock() - started)
        if repeat > 0:
            yield times[0], times[1]


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
