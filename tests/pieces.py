"""Work that tests give to workers. It imports nothing heavy, so that worker processes start at once."""

import os
import signal
import time
from pathlib import Path

from posebridge.errors import InputError


def refuse(piece: int) -> int:
    """Raise the error of bad input."""
    raise InputError(f"piece {piece} is refused")


def kill_process(piece: int) -> int:
    """Kill the process that runs the piece."""
    os.kill(os.getpid(), signal.SIGKILL)
    return piece


def kill_process_once(marker: Path, piece: int) -> int:
    """Kill the process at the first attempt at piece 3, which creates ``marker``; else double the piece."""
    if piece == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * piece


def ray_node(piece: int) -> str:
    """Identifier of the Ray node that runs the piece, after a wait that lets other nodes take pieces."""
    import ray

    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()
