"""What it costs when other programs keep cores busy, by how threads wait for one another: spinning, or asleep.

python benchmarks/busy_cores.py

Threads of one computation meet after every small part of it. One that spins there keeps a core from the thread that it
waits for, once another program wants cores as well. ``OMP_WAIT_POLICY=PASSIVE`` lets them sleep; OpenMP's default is to
spin. Each row is measured in a process of its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import tyro

POLICIES = {"spinning": "ACTIVE", "as it comes": None, "asleep": "PASSIVE"}
_BUSY = "while True: pass"


@dataclass(frozen=True)
class Options:
    """What is timed."""

    repeats: int = 3
    cores: int = 2  # of this machine, and threads of what is timed
    timed: bool = False  # print the three numbers of one process, and nothing else


def table(options: Options) -> str:
    """Markdown: milliseconds, medians of the repeats, which take turns."""
    found: dict[tuple[int, str], list[list[float]]] = {}
    for _ in range(options.repeats):
        for busy in range(options.cores + 1):
            for policy in POLICIES:
                found.setdefault((busy, policy), []).append(_beside(busy, POLICIES[policy], options.cores))
    lines = [f"| other programs | threads wait | {' | '.join(CASES)} |", "|---|---|" + "---|" * len(CASES)]
    for (busy, policy), times in found.items():
        numbers = " | ".join(f"{median(column):.0f}" for column in zip(*times, strict=True))
        lines.append(f"| {busy} | {policy} | {numbers} |")
    return "\n".join(lines)


def _beside(busy: int, policy: str | None, cores: int) -> list[float]:
    """Milliseconds of each case in a new process, beside others that keep as many cores busy."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= {"OMP_NUM_THREADS": str(cores)} | ({} if policy is None else {"OMP_WAIT_POLICY": policy})
    with ExitStack() as stack:
        for _ in range(busy):
            program = stack.enter_context(subprocess.Popen([sys.executable, "-c", _BUSY]))
            stack.callback(program.kill)
        command = [sys.executable, __file__, "--timed"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [float(number) for number in told.split()]


def _timed() -> list[float]:
    return [_milliseconds(make()) for make in CASES.values()]


def _milliseconds(work: Callable[[], object], seconds: float = 3.0) -> float:
    """The median of as many calls as fit, after one that isn't counted."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def _rendering() -> Callable[[], object]:
    from posebridge.draw import generator_for
    from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands

    return lambda: render_depth_hands(DEPTH_STUDIO, 8, 96, generator_for(0, 1))


def _training() -> Callable[[], object]:
    import torch

    from posebridge.networks.pose_resnet import PoseResNet
    from posebridge.recipes.hand_rgb import SMALL

    network = PoseResNet(SMALL.network)
    images = torch.rand(32, 3, 64, 64)

    def step() -> None:
        found = network(images)
        torch.stack([part.float().square().mean() for part in found]).sum().backward()

    return step


def _predicting() -> Callable[[], object]:
    import torch

    from posebridge.networks.pose_resnet import PoseResNet
    from posebridge.recipes.hand_rgb import SMALL

    network, image = PoseResNet(SMALL.network).eval(), torch.rand(1, 3, 64, 64)

    def look() -> None:
        with torch.no_grad():
            network(image)

    return look


CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "24 depth pictures rendered": _rendering,
    "training step, 32 pictures": _training,
    "one picture's pose": _predicting,
}

if __name__ == "__main__":
    options = tyro.cli(Options)
    print(*_timed()) if options.timed else print(table(options))
