"""Samples that are kept in memory."""

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


def test_held_gives_back_what_was_read(crops):
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


def test_held_labelled_and_depth_only():
    samples = [
        LabelledBatch(None, (str(i),), depth_m=torch.full((1, 4, 4), float(i)), uv_px=torch.full((1, 2, 2), float(i)))
        for i in range(1200)
    ]
    dataset = InMemoryDataset(samples)
    assert len(dataset) == 1200
    assert dataset[1100].image is None
    assert dataset[1100].key == ("1100",)
    assert dataset[1100].depth_m.unique().item() == dataset[1100].uv_px.unique().item() == 1100


def test_holding_nothing():
    with pytest.raises(InputError, match="no sample to hold"):
        InMemoryDataset([])
