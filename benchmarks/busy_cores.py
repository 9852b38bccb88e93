"""Time of typical work while other programs keep cores busy, by how OpenMP threads wait: spinning or asleep.

python benchmarks/busy_cores.py

Threads of one computation wait for one another after each small part of it. A thread that spins keeps its core busy,
also where another program needs that core. OpenMP's default is to spin for milliseconds. With
``OMP_WAIT_POLICY=PASSIVE``, which the command ``posebridge`` sets, threads sleep. Each row is measured in a process of
its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import tyro

from posebridge.cli.waiting import WAIT_ASLEEP

if TYPE_CHECKING:
    from posebridge.networks.pose_resnet import PoseResNet

# Variables of the environment by how threads wait; "asleep" is what the command posebridge sets.
POLICIES: dict[str, dict[str, str]] = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "default": {},
    "asleep": WAIT_ASLEEP,
}
_BUSY = "while True: pass"


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 3
    """Processes for each row; the median counts."""

    cores: int = 2
    """Cores of this machine, and threads of the timed work."""

    timed: bool = False
    """Print the numbers of this process, and nothing else."""


def table(options: Options) -> str:
    """Markdown: medians in milliseconds. Repeats of the rows alternate."""
    measured: dict[tuple[int, str], list[list[float]]] = {}
    for _ in range(options.repeats):
        for busy in range(options.cores + 1):
            for policy in POLICIES:
                measured.setdefault((busy, policy), []).append(_in_new_process(busy, POLICIES[policy], options.cores))
    lines = [f"| other programs | threads wait | {' | '.join(CASES)} |", "|---|---|" + "---|" * len(CASES)]
    for (busy, policy), times in measured.items():
        numbers = " | ".join(f"{median(column):.0f}" for column in zip(*times, strict=True))
        lines.append(f"| {busy} | {policy} | {numbers} |")
    return "\n".join(lines)


def _in_new_process(busy: int, policy: dict[str, str], cores: int) -> list[float]:
    """Milliseconds of each case, while ``busy`` other processes keep a core busy each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    environment |= {"OMP_NUM_THREADS": str(cores)} | policy
    with ExitStack() as stack:
        for _ in range(busy):
            program = stack.enter_context(subprocess.Popen([sys.executable, "-c", _BUSY]))
            stack.callback(program.kill)
        command = [sys.executable, __file__, "--timed"]
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [float(number) for number in output.split()]


def _timed() -> list[float]:
    return [_milliseconds(make()) for make in CASES.values()]


def _milliseconds(work: Callable[[], object], seconds: float = 3.0) -> float:
    """The median of the calls that fit into ``seconds``, after one that is not counted."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def _rendering() -> Callable[[], object]:
    from posebridge.draw import generator_for
    from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands

    return lambda: render_depth_hands(DEPTH_STUDIO, 8, 96, generator_for(0, 1))


def _pose_network() -> "PoseResNet":
    from posebridge.deployment.model_kinds import POSE
    from posebridge.deployment.model_spec import PoseSpec
    from posebridge.presets.table import find_preset

    spec = find_preset("synthshift/hand-rgb", "small", "mean-teacher").model
    assert isinstance(spec, PoseSpec)
    return POSE.build(spec)


def _training() -> Callable[[], object]:
    import torch

    network, images = _pose_network(), torch.rand(32, 3, 64, 64)

    def step() -> None:
        output = network(images)
        torch.stack([part.float().square().mean() for part in output]).sum().backward()

    return step


def _predicting() -> Callable[[], object]:
    import torch

    network, image = _pose_network().eval(), torch.rand(1, 3, 64, 64)

    def predict() -> None:
        with torch.no_grad():
            network(image)

    return predict


CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "24 depth images rendered": _rendering,
    "training step, 32 images": _training,
    "pose of one image": _predicting,
}

if __name__ == "__main__":
    options = tyro.cli(Options)
    print(*_timed()) if options.timed else print(table(options))
