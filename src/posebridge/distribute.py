"""Many independent pieces of work: in this process, in processes of this machine, or on a Ray cluster.

The work is a function that can be pickled and a piece is all that it is given, so that the results are the same
wherever the pieces run. What is random in a piece must be drawn from its number.
"""

import concurrent.futures as futures
import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from posebridge.errors import InputError

PieceT = TypeVar("PieceT")
ResultT = TypeVar("ResultT")

_IN_FLIGHT = 2  # pieces under way or waiting for each worker: none idles, and little is lost or held in memory
_RETRIES = 3  # of a piece whose machine or process was lost
_CONNECT_SECONDS = 5.0

# What a worker process was given to do, and under which reference Ray knows it.
_work: Callable[[Any], Any]
_work_reference: Any = None


@dataclass(frozen=True)
class Workers:
    """Who does the work."""

    processes: int = 1
    """Processes of this machine; 1 is this one alone. Each computes with one thread."""

    ray: str | None = None
    """Address of a Ray cluster: auto on one of its machines, or host:port. Takes the place of the processes."""

    def __post_init__(self):
        if self.processes < 1:
            raise InputError(f"{self.processes} workers are impossible: give 1 or more")
        if self.ray is not None and self.processes > 1:
            raise InputError("give either workers (processes of this machine) or the address of a Ray cluster")

    @property
    def is_remote(self) -> bool:
        """Whether the work leaves this process."""
        return self.ray is not None or self.processes > 1

    def run(
        self, work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], ordered: bool = False, gpus: int = 0
    ) -> Iterator[tuple[PieceT, ResultT]]:
        """Each piece with its result: in the order of the pieces if ``ordered``, else as they come.

        Pieces are taken from their iterable when a worker is soon free, so neither pieces nor results pile up. Each
        worker is sent the work once and keeps it. ``gpus`` is what a piece needs, for Ray to find a place. An error of
        the work ends it all. Raises ``InputError`` where workers die, or where there is no cluster.
        """
        if self.ray is not None:
            return _on_ray(self.ray, work, pieces, ordered, gpus)
        if self.processes > 1:
            return _in_processes(self.processes, work, pieces, ordered)
        return ((piece, work(piece)) for piece in pieces)


def _in_processes(
    processes: int, work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], ordered: bool
) -> Iterator[tuple[PieceT, ResultT]]:
    # Spawned, not forked: the threads of torch and OpenCV don't survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = futures.ProcessPoolExecutor(processes, context, _start_worker, (work,))
    waiting = iter(pieces)
    running: dict[futures.Future[ResultT], PieceT] = {}
    try:
        while True:
            for piece in islice(waiting, _IN_FLIGHT * processes - len(running)):
                running[pool.submit(_do, piece)] = piece
            if not running:
                return
            awaited = [next(iter(running))] if ordered else list(running)
            for future in futures.wait(awaited, return_when=futures.FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process died, perhaps for want of memory: start again with fewer workers; "
            "what was finished is kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(work: Callable[[Any], Any]) -> None:
    """Ctrl-c is for the main process, which ends its workers."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = work
    _compute_with_one_thread()


def _do(piece: Any) -> Any:
    return _work(piece)


def _compute_with_one_thread() -> None:
    """More would fight for the cores. Torch is not loaded for this: not all work needs it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _on_ray(
    address: str, work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], ordered: bool, gpus: int
) -> Iterator[tuple[PieceT, ResultT]]:
    ray = _import_ray()
    with ExitStack() as closing:
        if not ray.is_initialized():
            _connect(ray, address)
            closing.callback(ray.shutdown)
        shared = [ray.put(work)]  # in a list, so that it is fetched by who needs it, not with every piece
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(_do_on_ray)
        waiting = iter(pieces)
        running: dict[Any, PieceT] = {}
        try:
            while True:
                for piece in islice(waiting, max(0, _IN_FLIGHT * _places(ray, gpus) - len(running))):
                    running[task.remote(shared, piece)] = piece
                if not running:
                    return
                finished, _ = ray.wait([next(iter(running))] if ordered else list(running))
                for reference in finished:
                    yield running.pop(reference), ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # the work's own error, without Ray's tracebacks around it
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the Ray cluster failed ({reason}); start again, what was finished is kept") from error


def _do_on_ray(shared: list[Any], piece: Any) -> Any:
    import ray

    global _work, _work_reference
    if _work_reference != shared[0]:
        _work, _work_reference = ray.get(shared[0]), shared[0]
        _compute_with_one_thread()
    return _work(piece)


def _places(ray: Any, gpus: int) -> int:
    """How many pieces the cluster can do at once; asked anew each time, since clusters grow and shrink."""
    there = ray.cluster_resources()
    if gpus and there.get("GPU", 0) < gpus:
        raise InputError("the Ray cluster has no GPU: give cpu as the device")
    return max(1, int(there.get("GPU", 0) // gpus if gpus else there.get("CPU", 0)))


def _import_ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        raise InputError("Ray is not installed: pip install 'posebridge[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; it warns without
    import ray

    return ray


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and training in the same process would then not save its last step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str) -> None:
    """Raises ``InputError`` where no cluster answers. Ray itself waits for minutes there, then ends the process."""
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        with _own_signals():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        told = f"no Ray cluster at {address} ({reason}): give host:port, or auto on one of its machines"
        raise InputError(told) from error
