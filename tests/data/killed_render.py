"""Renders a set in this process and kills it within the n-th write: ``killed_render.py FOLDER N``."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.small_rendered_set import CONFIG
from posebridge.data.rendered_set import render_set


def main(folder: Path, write: int) -> None:
    flush, flushed = os.fsync, []

    def flush_or_die(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    os.fsync = flush_or_die
    render_set(CONFIG, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
