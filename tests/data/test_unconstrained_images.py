"""Unconstrained images: painted tiles that no domain shows, or a folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.synthesis import backgrounds
from posebridge.synthesis.backgrounds import painted_tiles


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def small_bank(monkeypatch):
    monkeypatch.setattr(backgrounds, "_BANK_SIZE", 16)
    painted_tiles.cache_clear()
    yield
    painted_tiles.cache_clear()


@pytest.mark.usefixtures("small_bank")
def test_painted_tiles_are_not_those_of_the_domains():
    images = UnconstrainedImages()
    assert len(images) == 16
    domains, tiles = painted_tiles(), images._tiles / 255
    assert torch.cdist(tiles.flatten(1), domains.flatten(1)).min() > 10
    rounded = (domains * 255).round() / 255
    assert torch.cdist(rounded.flatten(1), domains.flatten(1)).diagonal().max() < 1  # the same tiles would be found


@pytest.mark.usefixtures("small_bank")
def test_crops_follow_the_generator():
    images = UnconstrainedImages()
    first, again, other = (images.crops(6, 40, _generator(seed)) for seed in (0, 0, 1))
    assert first.shape == (6, 3, 40, 40)
    assert 0 <= first.min() < first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.flatten(1).std(1) > 0.01).all()


def test_photographs_of_a_folder(tmp_path):
    for name, colour in (("a.png", (255, 0, 0)), ("b/c.jpg", (0, 0, 255))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((60, 40, 3), colour, np.uint8)).save(path)
    images = UnconstrainedImages(tmp_path)
    assert len(images) == 2
    mean = images.crops(40, 8, _generator()).mean((2, 3))
    assert set((mean > 0.5).int().argmax(1).tolist()) == {0, 2}
    assert mean[:, 1].max() < 0.05


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="no readable image"):
        UnconstrainedImages(tmp_path)
    with pytest.raises(InputError, match="no readable image"):
        UnconstrainedImages(tmp_path / "absent")
