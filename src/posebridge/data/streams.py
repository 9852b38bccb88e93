"""Streams of training batches. A batch is a function of its number, so a run can stop at any step."""

import signal
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from posebridge.contracts.batch import BatchT, Observation
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.worker_transfer import packed, unpacked
from posebridge.errors import InputError, last_line

StreamBatchT = TypeVar("StreamBatchT", bound=Observation, covariant=True)


class Stream(Protocol[StreamBatchT]):
    """Batches by number, without end."""

    def batch(self, number: int) -> StreamBatchT:
        """Batch ``number``: always the same for the same number."""
        ...


class ShuffledStream(Generic[BatchT]):
    """Random permutations, one after the other, of samples in memory."""

    def __init__(self, dataset: InMemoryDataset[BatchT], batch_size: int, seed: int):
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def batch(self, number: int) -> BatchT:
        """Batch ``number``; a sample is repeated only after all others were drawn."""
        drawn = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        index = [self._order(int(n) // len(self.dataset))[int(n) % len(self.dataset)] for n in drawn]
        return self.dataset.take(torch.tensor(index))

    def _permutation(self, epoch: int) -> list[int]:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset)).tolist()


class StepBatches(IterableDataset[tuple[int, dict[str, Any]]]):
    """One item a training step: the number of its draw, and one batch of every stream.

    With several ``ranks`` each draws its own share; with several workers each prepares every n-th step.
    """

    def __init__(self, streams: Mapping[str, Stream[Observation]], first_step: int, rank: int = 0, ranks: int = 1):
        self.streams = streams
        self.first_step = first_step
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[Any]:
        """Steps without end, each as ``packed`` gives it."""
        worker = torch.utils.data.get_worker_info()
        start, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        step = self.first_step + start
        while True:
            number = step * self.ranks + self.rank
            yield packed((number, {name: stream.batch(number) for name, stream in self.streams.items()}))
            step += stride


class _StepLoader(DataLoader[tuple[int, dict[str, Any]]]):
    """A ``DataLoader`` that raises a worker's ``InputError`` as one line, without the traceback that torch adds."""

    def __iter__(self) -> Any:
        steps = super().__iter__()
        while True:
            try:
                step = next(steps, None)
            except InputError as error:
                # Torch appends the message to the worker's traceback.
                line = last_line(error).partition("Error: ")[2] or str(error)
                # Frames in a traceback would keep the workers until a garbage collection, which then stalls for 5 s.
                error.__traceback__ = None
                del steps
                raise InputError(line) from None
            if step is None:
                return
            yield unpacked(step)


def step_loader(batches: StepBatches, workers: int = 0) -> DataLoader[tuple[int, dict[str, Any]]]:
    """A loader that keeps the order of the steps for any number of workers."""
    return _StepLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=leave_ctrl_c_to_the_main_process,
    )


def leave_ctrl_c_to_the_main_process(_: int) -> None:
    """Ignore SIGINT in a loader's worker: the main process ends the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
