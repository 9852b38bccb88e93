from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.depth_on_disk import depth_picture_m, hand_places
from data.on_disk import truncate, write_image
from posebridge.data.crops import CubeCropConfig, UnlabelledCrops
from posebridge.data.datasets.depth_folder import DepthFolder
from posebridge.data.datasets.depth_png import read_depth_png, read_depth_two_bytes
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError

SR305 = Path(__file__).resolve().parents[3] / "shared" / "data" / "hand_depth_sr305"
K = np.array([[476.0, 0, 319.5], [0, 476.0, 239.5], [0, 0, 1]])
UNIT_M = 1.25e-4


@pytest.fixture
def folder(tmp_path):
    for name in ("a/2.png", "a/10.png", "b/1.png"):
        depth_m = depth_picture_m(hand_places(), K, 640, 480)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.rint(depth_m / UNIT_M).astype(np.uint16)).save(tmp_path / name)
    return tmp_path


def test_frames_in_metres_around_the_hand(folder):
    frames = list(DepthFolder(folder, K, UNIT_M))
    assert [(f.key, f.sequence, f.frame) for f in frames] == [("2", "a", 0), ("10", "a", 1), ("1", "b", 0)]
    places = hand_places()
    np.testing.assert_allclose(frames[0].depth_m, depth_picture_m(places, K, 640, 480), atol=UNIT_M)
    assert np.linalg.norm(frames[0].centre_m - np.mean(list(places.values()), axis=0)) < 0.05
    assert UnlabelledCrops(DepthFolder(folder, K, UNIT_M), CubeCropConfig(64))[0].depth_m.shape == (1, 64, 64)


def test_wrong_units_are_refused(folder):
    with pytest.raises(InputError, match=r"none of 3 images .*depth runs from 4\.\d+ to .*check its unit"):
        list(DepthFolder(folder, K))


def test_broken_files_are_listed(folder):
    truncate(folder / "a" / "2.png")
    write_image(folder / "a" / "10.png")
    frames = DepthFolder(folder, K, UNIT_M)
    assert [frame.key for frame in frames] == ["1"]
    assert "one channel of 16 bits" in frames.skipped[str(folder / "a" / "10.png")]
    assert len(frames.skipped) == 2


def test_centres_of_a_file(folder, tmp_path):
    file = tmp_path / "centres.txt"
    file.write_text("1 2 600\n3 4 600\n5 6 600\n")
    np.testing.assert_allclose(DepthFolder(folder, K, UNIT_M, centres=file)[1].centre_m, [0.003, 0.004, 0.6])


def test_centres_behind_the_camera_are_skipped(folder, tmp_path):
    file = tmp_path / "centres.txt"
    file.write_text("1 2 600\n3 4 -600\n5 6 600\n")
    frames = DepthFolder(folder, K, UNIT_M, centres=file)
    assert len(list(frames)) == 2
    assert f"{file} has its centre behind the camera, in line 2" in frames.skipped.values()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 2 600\n400\n5 6 600\n", "line 2 is neither x y z nor invalid"),
        ("1 2 600\n1 2 x\n5 6 600\n", "line 2 is neither x y z nor invalid"),
        ("invalid\n" * 3, "no line has a centre"),
        ("0 0 0.6\n" * 3, "0.6 mm before the camera; expected 50 to 3000"),
        ("0 0 600\n", "1 lines for 3 frames"),
    ],
)
def test_impossible_centres_are_refused(folder, tmp_path, lines, message):
    file = tmp_path / "centres.txt"
    file.write_text(lines)
    with pytest.raises(InputError, match=message):
        DepthFolder(folder, K, UNIT_M, centres=file)


@pytest.mark.parametrize(
    ("intrinsics", "unit", "message"),
    [
        (np.eye(4), 1e-3, "is no camera's K"),
        (np.zeros((3, 3)), 1e-3, "is no camera's K"),
        (np.array([[400, 0, 3], [0, 100, 4], [0, 0, 1]]), 1e-3, "fx=400 fy=100 cx=3 cy=4 are impossible"),
        (K, 0.0, "a unit of 0 mm"),
    ],
)
def test_impossible_sensors(folder, intrinsics, unit, message):
    with pytest.raises(InputError, match=message):
        DepthFolder(folder, intrinsics, unit)


def test_real_frames_of_a_hand_before_a_body():
    if not SR305.is_dir():
        pytest.skip("../shared/data is absent")
    sensor = np.array([[476.007, 0, 313.683], [0, 476.007, 242.755], [0, 0, 1]])
    frames = list(DepthFolder(SR305 / "20210326-230536", sensor, UNIT_M))
    assert [frame.key for frame in frames] == ["30", "50", "70", "90", "110", "130", "150", "170"]
    # Checked by eye: all hands are stretched out to the sensor, 10 to 30 cm before the body.
    uv = np.stack([(sensor @ (frame.centre_m / frame.centre_m[2]))[:2] for frame in frames])
    by_eye = [(290, 320), (285, 280), (300, 265), (315, 235), (290, 235), (265, 220), (300, 230), (280, 230)]
    assert (np.linalg.norm(uv - by_eye, axis=1) < 60).all(), uv


@pytest.mark.parametrize("header", ["P5\n4 4\n{}\n", "P5\n# a comment\n4 4 {}\n"])
@pytest.mark.parametrize("maximum", [600, 4095, 32767, 65535])
def test_pgm_counts_in_its_own_steps(tmp_path, header, maximum):
    steps = np.array([[0, 1, 599, 600]] * 4)
    (tmp_path / "x.pgm").write_bytes(header.format(maximum).encode() + steps.astype(">u2").tobytes())
    np.testing.assert_allclose(read_depth_png(tmp_path / "x.pgm", 1e-3), steps / 1000, rtol=1e-6)


def test_plain_pgm_counts_in_its_own_steps(tmp_path):
    (tmp_path / "x.pgm").write_text("P2\n2 1\n32767\n600 32767\n")
    np.testing.assert_allclose(read_depth_png(tmp_path / "x.pgm", 1e-3), [[0.6, 32.767]], rtol=1e-6)


def test_two_bytes_of_another_maximum_are_refused(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P6\n1 1\n127\n\x00\x02\x58")
    with pytest.raises(UnreadableFrameError, match="its largest value is 127; depth in two bytes has 255"):
        read_depth_two_bytes(tmp_path / "x.ppm", 1e-3)


def test_further_pages_are_listed(tmp_path):
    pages = [Image.fromarray(np.full((4, 4), 600, np.uint16)) for _ in range(2)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    frames = DepthFolder(tmp_path, K, centres="none")
    assert len(list(frames)) == 1
    assert list(frames.skipped) == [f"{tmp_path / 'x.tif'} page 2"]
