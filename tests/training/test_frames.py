"""Frames in order: each once, with its index, from memory and from disk."""

import pytest
import torch

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.dataset_stream import DatasetStream
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.training.frames import DatasetFrames, InMemoryFrames
from training.dots import dots


class Crops:
    """Crops by index; one of them can't be read."""

    def __init__(self, batch: LabelledBatch, broken: int):
        self.batch, self.broken = batch, broken

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, index: int) -> LabelledBatch:
        if index == self.broken:
            raise UnreadableFrameError("broken.png", "truncated")
        return self.batch[index : index + 1]


@pytest.mark.parametrize("size", [3, 7, 20])
def test_frames_in_memory(size):
    batch = dots(7, seed=1)
    frames = InMemoryFrames(InMemoryDataset([batch]), seed=0)
    parts = list(frames.in_order(size))
    assert [i for indices, _ in parts for i in indices] == list(range(7))
    assert concatenate([part for _, part in parts]).key == batch.key
    assert max(len(part) for _, part in parts) == min(size, 7)
    assert len(frames) == 7


def test_frames_on_disk_leave_out_what_cannot_be_read(tmp_path):
    batch = dots(7, seed=1)
    frames = DatasetFrames(Crops(batch, broken=4), 0, SkippedList(tmp_path / "skipped.jsonl"))
    parts = list(frames.in_order(3))
    assert [i for indices, _ in parts for i in indices] == [0, 1, 2, 3, 5, 6]
    for indices, part in parts:
        assert part.key == tuple(batch.key[i] for i in indices)
        assert torch.equal(part.rgb, batch.rgb[indices])
    assert len(frames) == 7
    assert isinstance(frames.batches(2), DatasetStream)
