"""The ``posebridge`` command with presets that train in seconds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.small_runs import shrink
from posebridge.cli.main import main
from posebridge.synthesis import backgrounds

if __name__ == "__main__":
    shrink(pytest.MonkeyPatch())
    backgrounds._BANK_SIZE = 16  # painted backgrounds take seconds
    sys.exit(main(sys.argv[1:]))
