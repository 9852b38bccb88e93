"""Samples that are kept in memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data.on_disk import write_image
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.crops import CropConfig, UnlabelledCrops
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.growing_tensor import GrowingTensor
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError


@pytest.fixture
def crops(tmp_path):
    for i in range(6):
        write_image(tmp_path / f"{i}.png", 24, 24, seed=i)
    return UnlabelledCrops(ImageFolder(tmp_path), CropConfig(16))


def test_batches_equal_the_frames(crops):
    dataset = InMemoryDataset(crops[i] for i in range(6))
    for i in range(6):
        torch.testing.assert_close(dataset[i].image, crops[i].image, atol=0, rtol=0)
        torch.testing.assert_close(dataset[i].T_crop_file, crops[i].T_crop_file)
        assert dataset[i].key == crops[i].key
    assert dataset.part(slice(1, 4)).key == ("1", "2", "3")
    assert torch.equal(dataset.take(torch.tensor([5, 0])).rgb, torch.cat([crops[5].rgb, crops[0].rgb]))
    with pytest.raises(IndexError):
        dataset[6]
    assert len(list(dataset)) == 6


def test_batches_are_the_samples_in_order(crops):
    dataset = InMemoryDataset(crops[i] for i in range(6))
    batches = [*dataset.batches(4)]
    assert [batch.key for batch in batches] == [("0", "1", "2", "3"), ("4", "5")]
    assert torch.equal(torch.cat([batch.rgb for batch in batches]), dataset.all().rgb)


def test_a_batch_as_a_dataset_is_kept_exactly():
    batch = LabelledBatch(torch.rand(5, 3, 4, 4), tuple("abcde"), depth_label_m=20 * torch.rand(5, 4, 4))
    dataset = InMemoryDataset.of_batch(batch)
    assert dataset.without_images().image is dataset.without_images().depth_label_m is None
    taken = dataset.take(torch.tensor([3, 1]))
    assert taken.key == ("d", "b")
    assert torch.equal(taken.rgb, batch.rgb[[3, 1]])
    assert torch.equal(dataset.all().depth_label_m, batch.depth_label_m)
    assert dataset.all().rgb.data_ptr() == batch.rgb.data_ptr()


def test_labelled_depth():
    samples = [
        LabelledBatch(None, (str(i),), depth_m=torch.full((1, 4, 4), float(i)), uv_px=torch.full((1, 2, 2), float(i)))
        for i in range(1200)
    ]
    dataset = InMemoryDataset(samples)
    assert len(dataset) == 1200
    assert dataset[1100].image is None
    assert dataset[1100].key == ("1100",)
    assert dataset[1100].depth_m.unique().item() == dataset[1100].uv_px.unique().item() == 1100


def test_large_sets_equal_their_parts():
    """Parts of 20 MB, in chunks of 64 MB, with the layout that ``torch.cat`` gives."""
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randint(256, (5, 3, 512, 1024), generator=generator, dtype=torch.uint8) for _ in range(7)]
    for layout in (torch.contiguous_format, torch.channels_last):
        tensors = [part[: 5 - i % 2].contiguous(memory_format=layout) for i, part in enumerate(parts)]
        growing = GrowingTensor(tensors[0])
        for values in tensors:
            growing.append(values)
        expected, joined = torch.cat(tensors), growing.join()
        assert torch.equal(joined, expected)
        assert joined.stride() == expected.stride()


MEASURE = """
import torch
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.in_memory import InMemoryDataset

def samples(count, side):
    for i in range(count):
        image, mask = torch.full((1, 3, side, side), i % 256 / 255), torch.ones(1, side, side, dtype=torch.bool)
        yield LabelledBatch(image, (str(i),), uv_px=torch.full((1, 21, 2), float(i)), mask=mask)

def peak_mb():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

count, side = 4800, 128
InMemoryDataset(samples(1, side))
start = peak_mb()
dataset = InMemoryDataset(samples(count, side))
print(peak_mb() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of memory are read from Linux's /proc")
def test_loading_needs_little_more_memory_than_the_set():
    """300 MB of images and masks. A second copy would make it 600, and gaps of freed samples 3000."""
    peak_mb = float(subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout)
    assert 290 < peak_mb < 440


def test_fields_that_some_samples_lack_are_refused():
    some, none = (
        LabelledBatch(None, (key,), depth_m=depth) for key, depth in (("a", torch.ones(1, 4, 4)), ("b", None))
    )
    for samples in ([some, none], [none, some]):
        with pytest.raises(ValueError, match="depth_m is present in some and absent in others"):
            InMemoryDataset(samples)


def test_empty_sets_are_refused():
    with pytest.raises(InputError, match="no sample to load"):
        InMemoryDataset([])
