from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.streams import ShuffledStream, StepBatches, step_loader
from posebridge.errors import InputError


def dataset(count: int) -> InMemoryDataset[UnlabelledBatch]:
    image = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 255
    return InMemoryDataset([UnlabelledBatch(image=image, key=tuple(str(i) for i in range(count)))])


def keys(stream, numbers) -> list[int]:
    return [int(key) for number in numbers for key in stream.batch(number).key]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 2**31), st.lists(st.integers(0, 50), max_size=8))
def test_a_batch_is_a_function_of_its_number(count, size, seed, numbers):
    stream = ShuffledStream(dataset(count), size, seed)
    for number in numbers:
        again = ShuffledStream(dataset(count), size, seed).batch(number)
        assert stream.batch(number).key == again.key
        assert torch.equal(stream.batch(number).rgb, again.rgb)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 2**31))
def test_batches_are_cut_from_permutations(count, size, seed):
    drawn = keys(ShuffledStream(dataset(count), size, seed), range(8))
    epochs = range(-(-8 * size // count))
    expected = np.concatenate([np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs])
    assert drawn == expected[: 8 * size].tolist()
    for start in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[start : start + count]) == list(range(count))


def test_permutations_and_seeds_differ():
    stream = ShuffledStream(dataset(50), 50, 0)
    assert keys(stream, [0]) != keys(stream, [1])
    assert keys(stream, [0]) != keys(ShuffledStream(dataset(50), 50, 1), [0])


def test_images_match_their_keys():
    batch = ShuffledStream(dataset(20), 7, 0).batch(3)
    assert (255 * batch.rgb[:, 0, 0, 0]).round().int().tolist() == [int(key) for key in batch.key]


def sequence(first: int, workers: int, count: int = 7, rank: int = 0, ranks: int = 1) -> list[tuple[int, tuple]]:
    streams = {"a": ShuffledStream(dataset(9), 2, 1), "b": ShuffledStream(dataset(5), 3, 2)}
    loader = step_loader(StepBatches(streams, first, rank, ranks), workers)
    steps = list(islice(loader, count))
    return [(number, *(batches[name].key for name in ("a", "b"))) for number, batches in steps]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_sequence(workers):
    assert sequence(3, workers) == sequence(3, 0)


def test_streams_resume_at_any_step():
    whole = sequence(0, 0, count=12)
    assert [number for number, *_ in whole] == list(range(12))
    assert sequence(5, 0, count=7) == whole[5:]


def test_ranks_partition_the_batches():
    whole = sequence(0, 0, count=12)
    for rank in range(3):
        assert sequence(1, 0, count=3, rank=rank, ranks=3) == whole[3 + rank :: 3]


class Broken:
    """A stream whose disk fails."""

    def batch(self, number: int):
        raise InputError(f"batch {number} is lost: plug the disk in again")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_workers_are_one_line(workers):
    with pytest.raises(InputError) as caught:
        next(iter(step_loader(StepBatches({"source": Broken()}, 7), workers)))
    assert str(caught.value) == "batch 7 is lost: plug the disk in again"
