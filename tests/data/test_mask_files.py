"""Masks of a user's frames: found by key, warped to the crop, refused where they don't fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from posebridge.data.crops import crop_frames
from posebridge.data.frames import RawFrame
from posebridge.data.image_crops import CropConfig
from posebridge.data.mask_files import MaskFiles
from posebridge.errors import InputError

HEIGHT, WIDTH, SIDE = 40, 60, 32
BOX = np.array([20.0, 8.0, 44.0, 32.0])


def _frame(key: str, **changes) -> RawFrame:
    """A bright square on a dark ground, whose box surrounds it by 4 px."""
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image[12:28, 24:40] = 220
    return RawFrame(image, key, box_xyxy=BOX, **changes)


def _write(folder: Path, name: str, values: np.ndarray, **options) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(folder / name, **options)


def _mask(value: int = 255) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[12:28, 24:40] = value
    return mask


def _read(folder: Path, frames, **crop) -> MaskFiles:
    files = MaskFiles(folder)
    list(files.beside(crop_frames(frames, CropConfig(SIDE, **crop))))
    return files


@pytest.mark.parametrize("hand", [None, "left"])
@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.jpg"])
def test_masks_lie_over_the_subject_of_the_crop(tmp_path, name, hand):
    _write(tmp_path, name, _mask(), **({"quality": 90} if name.endswith("jpg") else {}))
    frames, files = [_frame("a")], MaskFiles(tmp_path)
    ((_, crop),) = files.beside(crop_frames(frames, CropConfig(SIDE, hand=hand)))
    mask = files.store.masks(crop.key)
    assert mask.shape == (1, SIDE, SIDE)
    bright = crop.rgb[:, 0] > 0.5
    assert 0.3 < mask.float().mean() < 0.6
    assert (mask ^ bright).float().mean() < 0.05  # but for a pixel at the edge


def test_masks_of_an_oriented_frame_are_of_its_stored_pixels(tmp_path):
    _write(tmp_path, "a.png", _mask())
    files = MaskFiles(tmp_path)
    ((_, crop),) = files.beside(crop_frames([_frame("a", turn=1)], CropConfig(SIDE)))
    assert (files.store.masks(crop.key) ^ (crop.rgb[:, 0] > 0.5)).float().mean() < 0.05


@pytest.mark.parametrize(
    "values",
    [
        _mask(1),
        _mask(255).astype(bool),
        np.stack([_mask(128), *np.zeros((2, HEIGHT, WIDTH), np.uint8)], axis=2),  # the first colour of label pictures
    ],
)
def test_two_values_are_a_mask(tmp_path, values):
    _write(tmp_path, "a.png", values)
    _write(tmp_path, "b.png", _mask())
    store = _read(tmp_path, [_frame("a"), _frame("b")]).store
    assert torch.equal(store.masks(("a",)), store.masks(("b",)))


def test_masks_without_an_edge_are_counted(tmp_path):
    for name, value in (("a", 0), ("b", 255), ("c", 1)):
        _write(tmp_path, f"{name}.png", np.full((HEIGHT, WIDTH), value, np.uint8))
    store = _read(tmp_path, [_frame(key) for key in "abc"]).store
    assert (store.empty, store.full) == (1, 2)


def test_masks_that_are_missing_are_named(tmp_path):
    _write(tmp_path, "f1.png", _mask())
    frames = [_frame(f"f{number}") for number in range(6)]
    with pytest.raises(InputError, match=r"no mask for 5 of 6 frames \(f0, f2, f3, \.\.\.\): .* such as f0\.png"):
        _read(tmp_path, frames)


def test_masks_of_no_frame_are_noted(tmp_path):
    for name in ("a", "b", "sub/c"):
        _write(tmp_path, f"{name}.png", _mask())
    files = _read(tmp_path, [_frame("a"), _frame("c")])
    assert files.notes() == (f"1 of 3 masks in {tmp_path} belong to no frame (b)",)
    assert _read(tmp_path, [_frame(key) for key in "abc"]).notes() == ()


def test_another_size_is_refused(tmp_path):
    _write(tmp_path, "a.png", np.zeros((WIDTH, HEIGHT), np.uint8))
    with pytest.raises(InputError, match=r"a\.png has 40x60 px, and its frame is stored with 60x40 px"):
        _read(tmp_path, [_frame("a")])


def test_another_orientation_is_refused(tmp_path):
    exif = Image.Exif()
    exif[274] = 3  # upside down
    _write(tmp_path, "a.png", _mask(), exif=exif)
    with pytest.raises(InputError, match="carries an orientation that its frame lacks"):
        _read(tmp_path, [_frame("a")])


def _labels() -> np.ndarray:
    labels = _mask(1)
    labels[:5] = 2
    return labels


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)), "60 values from 0 to 255"),
        (_labels(), "3 values from 0 to 2"),
        (_mask(1) + 1, "2 values from 1 to 2"),
    ],
)
def test_pictures_that_are_no_masks_are_refused(tmp_path, values, found):
    _write(tmp_path, "a.png", values)
    with pytest.raises(InputError, match=rf"a\.png has {found}: give 0 for the background"):
        _read(tmp_path, [_frame("a")])


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"the mask .*a\.png can't be read"):
        _read(tmp_path, [_frame("a")])
    _write(tmp_path, "a.png", _mask().astype(np.uint16) * 200)
    with pytest.raises(InputError, match=r"can't be read: more than 8 bits"):
        _read(tmp_path, [_frame("a")])


@pytest.mark.parametrize("inside", [None, "notes.txt"])
def test_a_folder_without_masks_is_refused(tmp_path, inside):
    folder = tmp_path / "masks"
    if inside:
        folder.mkdir()
        (folder / inside).write_text("no mask")
    with pytest.raises(InputError, match=r"masks: (no such file or folder|the folder holds no image)"):
        MaskFiles(folder)


def test_a_file_is_no_folder(tmp_path):
    _write(tmp_path, "a.png", _mask())
    with pytest.raises(InputError, match=r"--masks .*a\.png is a file: give a folder"):
        MaskFiles(tmp_path / "a.png")
