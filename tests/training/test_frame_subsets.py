"""Parts of frames in memory and on disk, and the labels that they keep."""

from dataclasses import replace

import pytest
import torch

from data.test_dataset_stream import CROP, Numbers
from posebridge.data.crops import LabelledCrops
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.errors import InputError
from posebridge.training.frames import DatasetFrames, InMemoryFrames

COUNT = 12


@pytest.fixture
def on_disk(tmp_path) -> DatasetFrames:
    return DatasetFrames(LabelledCrops(Numbers(COUNT), CROP), 3, SkippedList(tmp_path / "skipped"))


@pytest.fixture
def in_memory() -> InMemoryFrames:
    crops = LabelledCrops(Numbers(COUNT), CROP)
    samples = (replace(crops[i], mask=None) for i in range(COUNT))
    return InMemoryFrames(InMemoryDataset(samples), 3)


@pytest.mark.parametrize("kind", ["on_disk", "in_memory"])
def test_parts_have_their_frames_alone(kind, request):
    frames = request.getfixturevalue(kind)
    first, rest = frames.subset(slice(0, 5)), frames.subset(slice(5, COUNT))
    assert (len(frames), len(first), len(rest)) == (12, 5, 7)
    for part, numbers in ((first, range(5)), (rest, range(5, 12))):
        batch = part.batches(len(numbers)).batch(0)
        assert sorted(map(int, batch.key)) == [*numbers]
        grey = (batch.rgb[:, 0, 0, 0] * 255).round().int().tolist()
        assert grey == [*map(int, batch.key)]
    with pytest.raises(InputError, match=r"there are 12 (samples|frames), and none from 12 on: ask for fewer"):
        frames.subset(slice(12, 20))


def test_both_kinds_draw_the_same_parts(on_disk, in_memory):
    one, other = (frames.subset(slice(2, 9)).batches(4) for frames in (on_disk, in_memory))
    for number in range(5):
        assert one.batch(number).key == other.batch(number).key


def test_frames_on_disk_keep_the_requested_labels(on_disk):
    """Even frames have a mask; the others are not drawn where masks are requested."""
    assert on_disk.batches(4).batch(0).mask is None
    masked = replace(on_disk, labels=frozenset({"joints", "mask"}))
    batch = masked.batches(4).batch(0)
    assert batch.mask is not None
    assert all(int(key) % 2 == 0 for key in batch.key)
    part = masked.subset(slice(0, 6)).batches(3).batch(0)
    assert torch.equal(part.mask, torch.ones_like(part.mask))
