"""Time of a step of the mean teacher at the size of preset ``full``, by how its style is transferred.

python benchmarks/mean_teacher_step.py --threads 2
python benchmarks/mean_teacher_step.py --threads 1 --clock cpu

A step is forward, backward and optimiser, for ResNet-101 and images of 256 px. Cases alternate in one run. Weights are
random, which changes no time, and every image of a batch takes another style half of the time, as in training. The
clock ``cpu`` counts the processor's time, for a machine that other programs keep busy.
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

import torch
import tyro

from posebridge.contracts.batch import LabelledBatch
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec
from posebridge.experiments.renders import RenderLoader
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.registry import find_method
from posebridge.networks.adain import StyleTransferConfig
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.freed_memory import keep_freed_memory
from posebridge.training.pseudo_labels import update_average
from posebridge.training.style import AdaINStyle, Restyler, StyleTraining
from single_steps import with_plain_trainer

_METHOD, _RENDERS = "mean-teacher", 8


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    batch: int = 4
    """Images of the source, and as many of the target."""

    repeats: int = 4
    """Steps of each case after one that is not measured."""

    threads: int = 2
    """CPU threads."""

    clock: Literal["wall", "cpu"] = "wall"
    """Time that passes, or time of the processor over all threads."""


class Step:
    """The stage, and its cases."""

    def __init__(self, batch: int):
        preset = find_preset("adapt/hand", "full", _METHOD)
        assert isinstance(preset.model, PoseSpec)
        spec = replace(preset.model, network=replace(preset.model.network, pretrained="none"))
        loader = RenderLoader("hand-rgb", spec, frozenset(find_method(_METHOD).source_labels))
        source = loader.load("varied", _RENDERS, seed=0)
        torch.manual_seed(0)
        network = POSE.build(spec)
        self.context = Context(
            new_network=lambda: network,
            skeleton=HAND21,
            source=InMemoryFrames(source, 0),
            target=InMemoryFrames(source.map(LabelledBatch.unlabelled), 1),
            selection=None,
            seed=0,
            source_network=network,
        )
        config = preset.config_of(_METHOD)
        assert isinstance(config, MeanTeacherConfig)
        assert isinstance(config.style, AdaINStyle)
        self.style = replace(config.style, encoder=replace(config.style.encoder, pretrained="none"))
        self.stage = Adaptation(replace(config, batch_size=batch), self.context, network, None)
        with_plain_trainer(self.stage)
        self.optimiser = self.stage.configure_optimizers()["optimizer"]

    def cases(self) -> dict[str, Restyler | None]:
        """The transfers of style by name."""
        whole = replace(self.style, network=StyleTransferConfig())
        of_whole, of_half = (StyleTraining(style, self.context).restyler() for style in (whole, self.style))
        return {
            "style of whole images in 32 bits": of_whole,
            "style at half size in 32 bits": of_half,
            "**style at half size in the precision of training**": self.stage.in_precision(of_half),
            "without style": None,
        }

    def __call__(self, restyler: Restyler | None, number: int) -> None:
        """Step ``number``."""
        stage = self.stage
        stage.labeller = replace(stage.labeller, restyler=restyler)
        batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
        stage.training_step((number, batches), 0).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        update_average(stage.teacher, stage.student, stage.config.average_decay)


def table(options: Options) -> str:
    """Markdown: means over steps that draw the same images and styles in all cases."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    step = Step(options.batch)
    cases = step.cases()
    seconds = dict.fromkeys(cases, 0.0)
    for number in range(options.repeats + 1):
        for name, case in cases.items():
            started = clock()
            step(case, number)
            if number > 0:
                seconds[name] += (clock() - started) / options.repeats
    first = next(iter(seconds.values()))
    rows = [f"| {name} | {value:.2f} | {value / first:.2f} |" for name, value in seconds.items()]
    header = f"batch {options.batch}, {options.threads} threads, {step.stage.trainer.precision}, {options.clock}"
    return f"{header}\n\n| | s | ratio |\n|---|---|---|\n" + "\n".join(rows)


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
