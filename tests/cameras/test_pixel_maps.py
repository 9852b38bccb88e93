import numpy as np
import pytest
from PIL import Image, ImageOps

from posebridge.cameras.pixel_maps import EXIF_ORIENTATIONS, mapped_box, stored_image, upright_image, upright_map


@pytest.mark.parametrize("value", EXIF_ORIENTATIONS)
def test_pillow_turns_pixels_alike(value):
    stored = np.random.default_rng(0).integers(0, 255, (5, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = value
    upright = upright_image(stored, *EXIF_ORIENTATIONS[value])
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(picture)))
    np.testing.assert_array_equal(stored_image(upright, *EXIF_ORIENTATIONS[value]), stored)
    T = upright_map(8, 5, *EXIF_ORIENTATIONS[value]).round().astype(int)
    for u, v in [(0, 0), (7, 0), (2, 4)]:
        upright_u, upright_v, _ = T @ [u, v, 1]
        np.testing.assert_array_equal(upright[upright_v, upright_u], stored[v, u])


def test_boxes_turn_with_the_picture():
    box = np.array([-0.5, -0.5, 1.5, 3.5])  # the left columns of 8 x 4 pixels
    assert mapped_box(box, upright_map(8, 4, 1, False)).tolist() == [-0.5, -0.5, 3.5, 1.5]  # the upper rows
