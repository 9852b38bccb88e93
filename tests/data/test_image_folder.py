import unicodedata

import numpy as np
import pytest
from PIL import Image

from data.on_disk import truncate, write_image
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError


def test_pixels_keys_and_sequences(tmp_path):
    images = {name: write_image(tmp_path / f"{name}.png", seed=i) for i, name in enumerate(["b/03", "b/01", "a/02"])}
    write_image(tmp_path / "04.PNG")
    write_image(tmp_path / "._05.png")
    write_image(tmp_path / ".hidden" / "06.png")
    (tmp_path / "notes.txt").write_text("not an image")
    folder = ImageFolder(tmp_path)
    frames = list(folder)
    assert [frame.key for frame in frames] == ["04", "02", "01", "03"]
    assert [(frame.sequence, frame.frame) for frame in frames] == [("", 0), ("a", 0), ("b", 0), ("b", 1)]
    for frame, name in zip(frames[1:], ["a/02", "b/01", "b/03"], strict=True):
        np.testing.assert_array_equal(frame.image, images[name])
    assert list(folder.skipped) == [str(tmp_path / "notes.txt")]
    assert len(folder) == 4


def test_repeated_stems_are_distinguished_by_folder(tmp_path):
    for name in ("a/0.png", "b/0.png", "1.png"):
        write_image(tmp_path / name)
    assert ImageFolder(tmp_path).keys == ["1", "a/0", "b/0"]


def test_same_name_with_another_suffix_is_refused(tmp_path):
    write_image(tmp_path / "0.png")
    write_image(tmp_path / "0.jpg")
    with pytest.raises(InputError, match="2 images are called 0"):
        ImageFolder(tmp_path)


def test_one_image(tmp_path):
    image = write_image(tmp_path / "x.png")
    (frame,) = ImageFolder(tmp_path / "x.png")
    assert (frame.key, frame.sequence) == ("x", "")
    np.testing.assert_array_equal(frame.image, image)


def test_broken_frames_are_skipped_and_listed(tmp_path):
    write_image(tmp_path / "0.png")
    for name in ("1.png", "2.jpg", "3.bmp", "4.webp"):
        write_image(tmp_path / name, 64, 64)
        truncate(tmp_path / name)
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "6.jpg").write_bytes(b"hello, this is no image")
    Image.fromarray(np.full((5, 5), 40000, np.uint16)).save(tmp_path / "7.png")
    write_image(tmp_path / "8.png")
    folder = ImageFolder(tmp_path)
    assert [frame.key for frame in folder] == ["0", "8"]
    assert [frame.key for frame in folder] == ["0", "8"]  # a second pass lists nothing twice
    broken = ("1.png", "2.jpg", "3.bmp", "4.webp", "5.png", "6.jpg", "7.png")
    assert list(folder.skipped) == [str(tmp_path / name) for name in broken]
    assert "truncated" in folder.skipped[str(tmp_path / "2.jpg")]
    assert "8-bit" in folder.skipped[str(tmp_path / "7.png")]
    assert all("\n" not in reason and reason for reason in folder.skipped.values())
    with pytest.raises(UnreadableFrameError, match=r"2\.jpg: .*truncated"):
        folder[2]


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        ImageFolder(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        ImageFolder(tmp_path / "absent")
    (tmp_path / "0.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"none of 1 images can be read.*0\.png"):
        list(ImageFolder(tmp_path))


def test_sequences_by_name(tmp_path):
    for name in ("walk_0012", "walk_0013", "run-7", "still", "day2/0003"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    frames = {frame.key: (frame.sequence, frame.frame) for frame in ImageFolder(tmp_path, sequence_by="name")}
    assert frames == {
        "walk_0012": ("walk", 12),
        "walk_0013": ("walk", 13),
        "run-7": ("run", 7),
        "still": ("still", 0),
        "0003": ("day2", 3),
    }


def test_decomposed_names_have_composed_keys(tmp_path):
    write_image(tmp_path / (unicodedata.normalize("NFD", "h\u00e4nde_0") + ".png"))
    assert ImageFolder(tmp_path).keys == ["h\u00e4nde_0"]


def test_pages_and_other_files_are_listed(tmp_path):
    pages = [Image.new("RGB", (4, 4)) for _ in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jfif", format="JPEG")
    (tmp_path / "a.heic").touch()
    folder = ImageFolder(tmp_path)
    assert [frame.key for frame in folder] == ["photo", "stack"]
    assert list(folder.skipped) == [str(tmp_path / "a.heic"), f"{tmp_path / 'stack.tif'} from page 2 to 3"]


def test_second_picture_of_a_ppm_is_listed(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 255\nabc" + b"P6 1 1 255\nxyz")
    folder = ImageFolder(tmp_path)
    assert folder[0].image.tolist() == [[[*b"abc"]]]
    assert list(folder.skipped) == [f"{tmp_path / 'a.ppm'} page 2"]


def test_a_folder_of_other_pictures_names_the_way_out(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(InputError, match=r"holds no image.*a\.heic: \.heic is not read; convert it"):
        ImageFolder(tmp_path)
