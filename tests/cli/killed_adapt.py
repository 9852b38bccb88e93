"""``posebridge adapt``, killed during adaptation: ``python killed_adapt.py STEP FLAG...``."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.small_runs import shrink
from posebridge.cli.main import main as posebridge
from posebridge.experiments import adapt
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.synthesis import backgrounds
from posebridge.training.run import Run


class OftenSaved(Run):
    """Saves at every step."""

    def __init__(self, folder, hardware=None):
        super().__init__(folder, hardware, checkpoint_seconds=0.0)


def main(step: int, flags: list[str]) -> None:
    shrink(pytest.MonkeyPatch())
    adapt.Run = OftenSaved
    backgrounds._BANK_SIZE = 16  # the studio has no clutter, and painted backgrounds take seconds
    terms, done = Adaptation.terms, []

    def terms_or_die(self, batches, generator):
        done.append(None)
        if len(done) > step:
            os.kill(os.getpid(), signal.SIGKILL)
        return terms(self, batches, generator)

    Adaptation.terms = terms_or_die
    posebridge(["adapt", *flags])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
