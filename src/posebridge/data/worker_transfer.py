"""Transfer of batches from the worker processes of a loader.

torch transfers tensors through shared memory. Where there is little of it, as in most containers, a worker is killed or
its batch is lost. Then batches go through a pipe, which takes a little longer.
"""

import os
import pickle
from typing import Any

import torch

_SHARED_MEMORY = "/dev/shm"
_ENOUGH_BYTES = 4 * 2**30  # for the batches of several workers that wait


def packed(item: Any) -> Any:
    """The item as bytes in a worker with little shared memory, else as it is."""
    if torch.utils.data.get_worker_info() is None or _free_bytes() >= _ENOUGH_BYTES:
        return item
    return pickle.dumps(item, pickle.HIGHEST_PROTOCOL)


def unpacked(item: Any) -> Any:
    """The item that a worker of this process has given to ``packed``."""
    return pickle.loads(item) if isinstance(item, bytes) else item


def _free_bytes() -> int:
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize
