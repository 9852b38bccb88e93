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


MEASURE = """
import torch
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.in_memory import InMemoryDataset

def samples():
    for i in range(100):
        yield UnlabelledBatch(image=None, key=(str(i),), depth_m=torch.full((1, 1024, 1024), float(i)))

def peak_mb():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

start = peak_mb()
dataset = InMemoryDataset(samples())
print(peak_mb() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of memory are read from Linux's /proc")
def test_loading_needs_little_more_memory_than_the_set():
    """400 MB of depth; a second copy would make it 800."""
    peak_mb = float(subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout)
    assert 350 < peak_mb < 500


def test_empty_sets_are_refused():
    with pytest.raises(InputError, match="no sample to load"):
        InMemoryDataset([])
