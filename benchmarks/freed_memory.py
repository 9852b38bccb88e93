"""Time of a training step where freed memory is kept for the next step, and where the system takes it back.

python benchmarks/freed_memory.py

A step is forward, backward and Adam on one CPU thread, in the precision that training uses on this machine. Each
measurement has a process of its own.
"""

import resource
import time
from dataclasses import dataclass
from multiprocessing import get_context

import torch
import tyro

from memory_format import CASES
from posebridge.training.freed_memory import keep_freed_memory
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 3
    """Processes of each measurement; the fastest counts."""

    steps: int = 6
    """Measured steps of each process, after two others."""

    batch: int = 64
    """Images of a step."""


@dataclass(frozen=True)
class Measured:
    """Milliseconds of a step, of which the system takes a part, and the process's peak of memory in MB."""

    step_ms: float
    system_ms: float
    peak_mb: float


def table(options: Options) -> str:
    """Markdown."""
    lines = ["| step, ms | returned | of it system | kept | of it system | ratio | peak, MB: returned | kept |"]
    lines.append("|---" * 8 + "|")
    for name in CASES:
        best: dict[bool, Measured] = {}
        for _ in range(options.repeats):
            for kept in (False, True):
                with get_context("spawn").Pool(1) as pool:
                    found = pool.apply(measure, (name, kept, options))
                if kept not in best or found.step_ms < best[kept].step_ms:
                    best[kept] = found
        before, after = best[False], best[True]
        lines.append(
            f"| {name} | {before.step_ms:.0f} | {before.system_ms:.0f} | {after.step_ms:.0f} | {after.system_ms:.0f} | "
            f"{before.step_ms / after.step_ms:.2f} | {before.peak_mb:.0f} | {after.peak_mb:.0f} |"
        )
    return "\n".join(lines)


def measure(name: str, kept: bool, options: Options) -> Measured:
    """One process's measurement."""
    torch.set_num_threads(1)
    if kept and not keep_freed_memory():
        raise SystemExit("freed_memory: this system's C library is not glibc, so nothing can be kept")
    torch.manual_seed(0)
    case = CASES[name]
    network = case.network()
    images = torch.rand(options.batch, case.channels, case.side_px, case.side_px)
    adam = torch.optim.AdamW(network.parameters(), foreach=True)
    bf16 = Hardware().lightning_precision == "bf16-mixed"

    def step() -> None:
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = network(images)
        parts = output if isinstance(output, tuple) else (output,)
        torch.stack([part.float().square().mean() for part in parts]).sum().backward()
        adam.step()

    for _ in range(2):
        step()
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(options.steps):
        step()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Measured(
        step_ms=1000 * (time.perf_counter() - started) / options.steps,
        system_ms=1000 * (used.ru_stime - before.ru_stime) / options.steps,
        peak_mb=used.ru_maxrss / 1024,
    )


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
