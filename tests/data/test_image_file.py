import os

import cv2
import numpy as np
import pytest
from PIL import Image

from data.on_disk import write_image
from posebridge.cameras.pixel_maps import EXIF_ORIENTATIONS
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.image_file import further_pages, read_image, read_picture


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("value", EXIF_ORIENTATIONS)
def test_pixels_stay_as_stored(tmp_path, suffix, value):
    """Pillow turns TIFF upright by itself."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}", exif=exif)
    picture = read_picture(tmp_path / f"x{suffix}")
    assert (picture.turn, picture.mirror) == EXIF_ORIENTATIONS[value]
    assert np.abs(picture.image.astype(int) - pixels).max() < 20


def test_labels_of_a_release_are_of_files_without_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "x.jpg", exif=exif)
    with pytest.raises(UnreadableFrameError, match=r"labels may be of stored or of upright pixels: store its pixels"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.filterwarnings("error")
def test_damaged_orientation_counts_as_none(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert (read_picture(tmp_path / "x.jpg").turn, read_picture(tmp_path / "x.jpg").mirror) == (0, False)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_other_pixel_formats_become_rgb(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(tmp_path / f"x.{suffix}")
    image = read_image(tmp_path / f"x.{suffix}")
    assert image.shape == (6, 8, 3)
    assert image.dtype == np.uint8
    assert image.min() > 250


@pytest.mark.parametrize("name", ["colour.png", "colour.tif", "grey.png"])
def test_more_than_8_bits_are_refused(tmp_path, name):
    shape = (8, 8) if name.startswith("grey") else (8, 8, 3)
    cv2.imwrite(str(tmp_path / name), np.full(shape, 2000, np.uint16))  # 12 bits: the high byte is 7
    with pytest.raises(UnreadableFrameError, match=r"more than 8 bits a channel.*save it as an 8-bit image"):
        read_image(tmp_path / name)


def test_colour_is_scaled_by_the_maximum_that_the_file_declares(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P6\n4 4\n4095\n" + np.full((4, 4, 3), 2000, ">u2").tobytes())
    assert read_image(tmp_path / "x.ppm").max() == round(255 * 2000 / 4095)


def test_no_other_decoder_is_started(tmp_path, monkeypatch):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "x.jpg").write_bytes(eps)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    with pytest.raises(UnreadableFrameError, match="not an image"):
        read_image(tmp_path / "x.jpg")


def test_paths_that_would_block_or_fill_the_memory(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableFrameError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(UnreadableFrameError, match="the file is missing"):
        read_image(tmp_path / "absent.png")
    (tmp_path / "bomb.pgm").write_bytes(b"P5\n60000 60000\n255\n")
    with pytest.raises(UnreadableFrameError, match="more than 178 million pixels; make it smaller"):
        read_image(tmp_path / "bomb.pgm")


def test_further_pages(tmp_path):
    pages = [Image.new("RGB", (4, 4), (i, i, i)) for i in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert list(further_pages(tmp_path / "x.tif")) == [f"{tmp_path / 'x.tif'} from page 2 to 3"]
    write_image(tmp_path / "x.png")
    assert further_pages(tmp_path / "x.png") == {}


def test_second_views_of_a_jpeg_are_listed_and_previews_are_not(tmp_path):
    """As a stereo camera and a telephone write them."""
    left, right, preview = (Image.new("RGB", size) for size in ((16, 12), (16, 12), (8, 6)))
    left.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[right])
    assert list(further_pages(tmp_path / "x.jpg")) == [f"{tmp_path / 'x.jpg'} page 2"]
    left.save(tmp_path / "y.jpg", format="MPO", save_all=True, append_images=[preview])
    assert further_pages(tmp_path / "y.jpg") == {}


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_frames_of_an_animation_are_listed(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (50 * i, 0, 0)) for i in range(4)]
    frames[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=frames[1:])
    assert list(further_pages(tmp_path / f"x{suffix}")) == [f"{tmp_path / 'x'}{suffix} from page 2 to 4"]


@pytest.mark.parametrize(
    ("header", "pixels"),
    [
        (b"P4 10 3\n", 2 * 3),
        (b"P5 10 3 255\n", 10 * 3),
        (b"P5\n# a comment\n10 3\n1000\n", 2 * 10 * 3),
        (b"P5 10 3 65535\n", 2 * 10 * 3),
        (b"P6 10 3 255\n", 3 * 10 * 3),
        (b"P6 10 3 100\n", 3 * 10 * 3),
        (b"P6 10 3 1000\n", 2 * 3 * 10 * 3),
    ],
)
def test_further_pictures_of_netpbm(tmp_path, header, pixels):
    """Pictures may follow one another in a file; the pixels here begin as headers do, which are no pictures."""
    file, picture = tmp_path / "x.ppm", header + (b"P5 1 1 1 " * 20)[:pixels]
    for content, pages in (
        (picture, []),
        (picture + b"\n", []),
        (picture + b"P5 notes", []),
        (picture[:-1], []),
        (2 * picture, [f"{file} page 2"]),
        (3 * picture + b"\n", [f"{file} from page 2 to 3"]),
        (picture + b"P6 2 1 255\n......" + picture, [f"{file} from page 2 to 3"]),
    ):
        file.write_bytes(content)
        assert list(further_pages(file)) == pages


def test_text_of_netpbm_is_one_picture(tmp_path):
    (tmp_path / "x.pgm").write_text(2 * "P2 2 1 9\n3 4\n")
    assert further_pages(tmp_path / "x.pgm") == {}
