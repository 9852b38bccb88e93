"""Runs on dots that are killed in child processes: ``python killed_run.py FOLDER``. Prints their exit codes."""

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from posebridge.training.run import Run
from training.dots import ONE_CPU, adaptation_stage, context, disturb, kill, source_stage


def killed_in_a_step(folder: Path) -> None:
    stage = source_stage(context())
    disturb(stage, {7: kill})
    Run(folder, ONE_CPU, checkpoint_seconds=0).train(1, stage)


def killed_in_a_write(folder: Path) -> None:
    flush, flushed = os.fsync, []

    def flush_or_die(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 8:  # metrics.csv and last.ckpt are written in turns: this is the fourth last.ckpt
            kill()
        flush(descriptor)

    os.fsync = flush_or_die
    Run(folder, ONE_CPU, checkpoint_seconds=0).train(1, adaptation_stage(context()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    ends = {}
    for train in (killed_in_a_step, killed_in_a_write):
        child = os.fork()
        if child == 0:
            train(Path(sys.argv[1]) / train.__name__)
            os._exit(0)
        ends[train.__name__] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(ends))
