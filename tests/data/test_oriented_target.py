"""Photographs with an orientation: the network sees them upright, coordinates are those of the stored pixels."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from posebridge.cameras.pinhole import apply_affine
from posebridge.cameras.pixel_maps import EXIF_ORIENTATIONS
from posebridge.data.crops import crop_frames
from posebridge.data.target import open_target
from posebridge.data.target_config import TargetConfig

DISC = (60, 40)  # in the stored 160 x 120 pixels
BOX = [39.5, 9.5, 99.5, 69.5]  # stored pixels; a square of 60
UPRIGHT_BOX = {1: BOX, 3: [59.5, 49.5, 119.5, 109.5], 6: [49.5, 39.5, 109.5, 99.5], 8: [9.5, 59.5, 69.5, 119.5]}


def write_photo(path, value: int) -> Image.Image:
    """Writes the photograph and returns how a viewer shows it."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(pixels, DISC, 7, (255, 0, 0), cv2.FILLED, cv2.LINE_AA)
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(pixels).save(path, exif=exif)
    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo)


def disc_in(crop: torch.Tensor) -> torch.Tensor:
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in crop.shape[1:]), indexing="ij")
    return torch.stack([(u * crop[0]).sum(), (v * crop[0]).sum()])[None, None] / crop[0].sum()


@pytest.mark.parametrize("hand", ["right", "left"])
@pytest.mark.parametrize("value", EXIF_ORIENTATIONS)
def test_crops_are_what_a_viewer_shows(tmp_path, value, hand):
    upright = np.asarray(write_photo(tmp_path / "x.png", value))
    target = open_target(TargetConfig(tmp_path / "x.png", hand=hand, intrinsics_px=(200.0, 190.0, 79.5, 59.5)), 160)
    ((_, batch),) = crop_frames(target, target.crop)
    top, left = ((160 - side) // 2 for side in upright.shape[:2])
    shown = np.zeros((160, 160, 3), np.uint8)
    shown[top : top + upright.shape[0], left : left + upright.shape[1]] = upright
    crop = (batch.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(crop, shown[:, ::-1] if hand == "left" else shown)
    uv_file = apply_affine(torch.linalg.inv(batch.T_crop_file.double()), disc_in(batch.image[0]))
    np.testing.assert_allclose(uv_file[0, 0], DISC, atol=0.05)
    # Intrinsics are of the stored pixels, so joints stay in the axes of the stored picture.
    ray = np.array([[[(60 - 79.5) / 200, (40 - 59.5) / 190, 1.0]]], np.float32)
    np.testing.assert_allclose(batch.camera.project(torch.from_numpy(ray)), disc_in(batch.image[0]), atol=0.05)
    assert len(target.notes()) == (value != 1)


@pytest.mark.parametrize("given", ["upright", "stored"])
@pytest.mark.parametrize("value", UPRIGHT_BOX)
def test_boxes_of_either_kind_cut_the_same(tmp_path, value, given):
    upright = np.asarray(write_photo(tmp_path / "x.png", value))
    box = UPRIGHT_BOX[value]
    (tmp_path / "b.json").write_text(json.dumps({"x": box if given == "upright" else BOX}))
    target = open_target(TargetConfig(tmp_path / "x.png", tmp_path / "b.json", box_orientation=given), 60)
    ((frame, batch),) = crop_frames(target, target.crop)
    x0, y0, x1, y1 = (round(side + 0.5) for side in box)
    crop = (batch.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(crop, upright[y0:y1, x0:x1])
    np.testing.assert_allclose(frame.box_xyxy, BOX)


def test_one_line_counts_the_files(tmp_path):
    for value in (1, 6, 8):
        write_photo(tmp_path / f"{value}.jpg", value)
    target = open_target(TargetConfig(tmp_path), 16)
    for _ in range(2):
        assert len(list(target)) == 3
    (line,) = target.notes()
    assert line.startswith("2 files carry an orientation: the network sees them upright")
