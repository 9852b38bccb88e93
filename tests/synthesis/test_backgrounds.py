"""Painted backgrounds, walls, and a user's photographs as backgrounds."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.on_disk import truncate
from posebridge.errors import InputError
from posebridge.synthesis import backgrounds
from posebridge.synthesis.backgrounds import BackgroundDistribution, painted_tiles, photographs, sample_backgrounds


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _write(path, colour, width=50, height=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(path)


def test_painted_tiles_are_the_same_in_every_process(monkeypatch):
    bank = painted_tiles()
    assert bank.shape == (192, 3, 192, 192)
    assert bank.min() >= 0
    assert bank.max() <= 1
    monkeypatch.setattr(backgrounds, "_BANK_SIZE", 16)
    torch.manual_seed(11)
    again = painted_tiles.__wrapped__()
    assert torch.equal(again, bank[:16])
    other = painted_tiles.__wrapped__(8)
    assert torch.cdist(other.flatten(1)[:, ::97], bank.flatten(1)[:, ::97]).min() > 1
    flat = bank.flatten(1)
    assert (flat.std(1) > 0.02).all()  # none is empty
    assert (torch.cdist(flat[:, ::97], flat[:, ::97]) + 1e3 * torch.eye(192)).min() > 1  # none is repeated


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_backgrounds_are_images(share):
    images = sample_backgrounds(BackgroundDistribution(clutter_share=share), 20, 48, _generator())
    assert images.shape == (20, 3, 48, 48)
    assert torch.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, sample_backgrounds(BackgroundDistribution(clutter_share=share), 20, 48, _generator()))
    other = sample_backgrounds(BackgroundDistribution(clutter_share=share), 20, 48, _generator(1))
    assert not torch.equal(images, other)


def test_walls_are_plain_and_clutter_is_not():
    def roughness(share: float) -> torch.Tensor:
        images = sample_backgrounds(BackgroundDistribution(clutter_share=share), 40, 48, _generator())
        return images.diff(dim=-1).abs().amax((1, 2, 3))

    assert roughness(0.0).max() < 0.03
    assert roughness(1.0).median() > 0.1


def test_brightness():
    dark = sample_backgrounds(BackgroundDistribution(brightness=(0.2, 0.3)), 40, 32, _generator())
    bright = sample_backgrounds(BackgroundDistribution(brightness=(1.0, 1.1)), 40, 32, _generator())
    assert dark.mean() < 0.4 * bright.mean()


def test_photographs_replace_painted_backgrounds(tmp_path):
    _write(tmp_path / "a.png", (200, 0, 0))
    _write(tmp_path / "below" / "b.JPEG".lower(), (0, 0, 200), 40, 90)
    _write(tmp_path / "broken.png", (0, 255, 0))
    truncate(tmp_path / "broken.png", 0.2)
    (tmp_path / "notes.txt").write_text("no image")
    tiles = photographs(str(tmp_path))
    assert tiles.shape == (2, 3, 192, 192)
    assert tiles[0, 0].min() == tiles[0, 0].max() == 200  # red is the first channel
    assert tiles[0, 1:].max() == 0
    domain = BackgroundDistribution(photographs=str(tmp_path), brightness=(1.0, 1.0))
    mean = sample_backgrounds(domain, 30, 16, _generator()).mean((2, 3))
    red, blue = mean[:, 0] > 0.5, mean[:, 2] > 0.5
    assert (red ^ blue).all()
    assert 5 < red.sum() < 25
    assert mean[:, 1].max() < 0.02


def test_class_folders_with_jpegs_of_all_kinds(tmp_path, capsys):
    """A tree like ImageNet's: grey, CMYK and large images are used, broken and tiny ones are counted."""
    for n, (mode, colour) in enumerate([("L", 90), ("CMYK", (0, 255, 255, 0)), ("RGB", (0, 120, 0))]):
        folder = tmp_path / f"n0{n}"
        folder.mkdir()
        Image.new(mode, (900, 700), colour).save(folder / f"{n}.JPEG", quality=95)
    _write(tmp_path / "n00" / "cut.jpg", (1, 2, 3), 400, 400)
    truncate(tmp_path / "n00" / "cut.jpg", 0.5)
    _write(tmp_path / "n01" / "thin.png", (1, 2, 3), 400, 1)
    Image.fromarray(np.full((50, 50), 700, np.uint16)).save(tmp_path / "n02" / "deep.png")
    cv2.imwrite(str(tmp_path / "n02" / "deep_colour.png"), np.full((50, 50, 3), 700, np.uint16))
    tiles = photographs(str(tmp_path))
    expected = torch.tensor([[90.0, 90, 90], [255, 0, 0], [0, 120, 0]])
    torch.testing.assert_close(tiles.float().mean((2, 3)), expected, atol=8, rtol=0)
    assert "4 of 7 background images can't be used" in capsys.readouterr().err


def test_an_evenly_spaced_subset_of_many_photographs_is_used(tmp_path, monkeypatch):
    for n in range(10):
        _write(tmp_path / f"{n}.png", (25 * n, 0, 0))
    monkeypatch.setattr(backgrounds, "_MAX_PHOTOGRAPHS", 4)
    red = photographs(str(tmp_path))[:, 0].amax((1, 2)).tolist()
    assert red == [0, 50, 125, 175]


@pytest.mark.parametrize("inside", [(), ("notes.txt",)])
def test_a_folder_without_photographs_is_refused(tmp_path, inside):
    for name in inside:
        (tmp_path / name).write_text("no image")
    with pytest.raises(InputError, match=r"no readable image in the background folder .*: give a folder"):
        sample_backgrounds(BackgroundDistribution(photographs=str(tmp_path)), 2, 8, _generator())
    with pytest.raises(InputError, match="no readable image"):
        photographs(str(tmp_path / "absent"))
