"""Run independent pieces of work in this process, in worker processes of this machine, or on a Ray cluster.

The work is a picklable function of one piece, so results do not depend on where pieces run. Random numbers of a piece
must be seeded from the piece.
"""

import concurrent.futures as futures
import importlib.util
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, TypeVar

from tyro.conf import arg

from posebridge.errors import InputError, first_line

PieceT = TypeVar("PieceT")
ResultT = TypeVar("ResultT")

_IN_FLIGHT = 2  # pieces per worker that run or wait: keeps workers busy with little in memory
_RETRIES = 3  # of a piece whose machine or process died
_CONNECT_SECONDS = 5.0

# The work of a worker process, and its Ray reference.
_work: Callable[[Any], Any]
_work_reference: Any = None


@dataclass(frozen=True)
class Workers:
    """Where work runs. Raises ``InputError`` for less than one process, and for processes together with Ray."""

    processes: Annotated[int, arg(name="workers")] = 1
    """Worker processes on this machine; 1 runs in this process. Each worker uses one thread."""

    ray: str | None = None
    """Address of a Ray cluster in place of processes: host:port, or auto on one of its machines."""

    def __post_init__(self):
        if self.processes < 1:
            raise InputError(f"{self.processes} workers are impossible: give 1 or more")
        if self.ray is not None and self.processes > 1:
            raise InputError("give either workers (processes of this machine) or the address of a Ray cluster")

    @property
    def is_remote(self) -> bool:
        """Whether work runs outside this process."""
        return self.ray is not None or self.processes > 1

    def run(
        self, work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], ordered: bool = False, gpus: int = 0
    ) -> Iterator[tuple[PieceT, ResultT]]:
        """Yield each piece with its result: in the order of the pieces if ``ordered``, else as results arrive.

        Pieces are taken from the iterable as workers become free, so neither pieces nor results accumulate. The work is
        sent to each worker once. ``gpus`` is the number of GPUs that a piece needs on Ray. An exception of the work
        ends the iteration. Raises ``InputError`` if a worker dies or no cluster is found.
        """
        if self.ray is not None:
            return _on_ray(self.ray, work, pieces, ordered, gpus)
        if self.processes > 1:
            return _in_processes(self.processes, work, pieces, ordered)
        return ((piece, work(piece)) for piece in pieces)


def _in_processes(
    processes: int, work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], ordered: bool
) -> Iterator[tuple[PieceT, ResultT]]:
    # Spawn, because the threads of torch and OpenCV do not survive a fork.
    context = multiprocessing.get_context("spawn")
    # Work and pieces go as bytes, since torch would take shared memory for tensors, which containers have little of.
    pool = futures.ProcessPoolExecutor(processes, context, _start_worker, (pickle.dumps(work),))
    waiting = iter(pieces)
    running: dict[futures.Future[ResultT], PieceT] = {}
    try:
        while True:
            for piece in islice(waiting, _IN_FLIGHT * processes - len(running)):
                running[pool.submit(_do, pickle.dumps(piece))] = piece
            if not running:
                return
            awaited = [next(iter(running))] if ordered else list(running)
            for future in futures.wait(awaited, return_when=futures.FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process died, perhaps out of memory: start again with fewer workers; finished work is kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(work: bytes) -> None:
    """Initialise a worker. It ignores ctrl-c, because the main process stops its workers."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _compute_with_one_thread()
    _work = pickle.loads(work)


def _do(piece: bytes) -> Any:
    return _work(pickle.loads(piece))


def _compute_with_one_thread() -> None:
    """Use one thread, so that workers do not compete for cores. Later imports read the environment."""
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
        shared = [ray.put(work)]  # in a list, so that Ray does not fetch the work for every piece
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(_do_on_ray)
        waiting = iter(pieces)
        running: dict[Any, PieceT] = {}
        try:
            while True:
                for piece in islice(waiting, max(0, _IN_FLIGHT * _num_slots(ray, gpus) - len(running))):
                    running[task.remote(shared, piece)] = piece
                if not running:
                    return
                finished, _ = ray.wait([next(iter(running))] if ordered else list(running))
                for reference in finished:
                    yield running.pop(reference), ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # the original exception, without Ray's tracebacks
        except ray.exceptions.RayError as error:
            reason = first_line(error)
            raise InputError(f"the Ray cluster failed ({reason}); start again; finished work is kept") from error


def _do_on_ray(shared: list[Any], piece: Any) -> Any:
    import ray

    global _work, _work_reference
    if _work_reference != shared[0]:
        _compute_with_one_thread()
        _work, _work_reference = ray.get(shared[0]), shared[0]
    return _work(piece)


def _num_slots(ray: Any, gpus: int) -> int:
    """Number of pieces that the cluster can run at once; queried each time, since clusters change size."""
    resources = ray.cluster_resources()
    if gpus and resources.get("GPU", 0) < gpus:
        raise InputError("the Ray cluster has no GPU: give cpu as the device")
    return max(1, int(resources.get("GPU", 0) // gpus if gpus else resources.get("CPU", 0)))


def _import_ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        raise InputError("Ray is not installed: pip install 'posebridge[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # send no usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; avoids its warning
    import ray

    return ray


@contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore the SIGTERM handler that Ray replaces, so that training in this process saves its last step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster. Raises ``InputError`` if none answers, where Ray would wait for minutes and exit."""
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        with _keep_sigterm_handler():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason = first_line(error)
        message = f"no Ray cluster at {address} ({reason}): give host:port, or auto on one of its machines"
        raise InputError(message) from error
