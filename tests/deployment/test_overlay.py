from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from posebridge.data.frames import RawFrame
from posebridge.deployment.overlay import ImageOverlays, VideoOverlays, draw_pose
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.joint_colours import joint_rgb


def spread_hand(side: float) -> np.ndarray:
    """Fingers as five vertical lines, the wrist below."""
    uv = [[side / 2, 0.95 * side]]
    uv += [[side * (f + 1) / 6, side * (0.7 - 0.15 * k)] for f in range(5) for k in range(4)]
    return np.array(uv)


def test_joints_have_their_fingers_colour_at_their_pixel():
    image = np.zeros((400, 400, 3), np.uint8)
    uv = spread_hand(400)
    drawn = draw_pose(image, uv, np.ones(21), HAND21)
    assert image.max() == 0
    assert drawn.shape == image.shape
    colours = {joint_rgb(name) for name in HAND21.joints}
    assert len(colours) == 6
    for name, (u, v) in zip(HAND21.joints, uv.round().astype(int), strict=True):
        assert tuple(drawn[v, u]) == joint_rgb(name)


def test_joints_of_low_confidence_are_hollow():
    uv = spread_hand(400)
    drawn = draw_pose(np.full((400, 400, 3), 90, np.uint8), uv, np.full(21, 0.2), HAND21)
    u, v = uv[8].round().astype(int)
    assert drawn[v, u].max() < 40


def test_small_frames_are_enlarged_with_their_joints():
    uv = np.full((21, 2), np.nan)
    uv[4] = [20.0, 10.0]
    drawn = draw_pose(np.zeros((30, 40, 3), np.uint8), uv, np.ones(21), HAND21)
    assert drawn.shape == (240, 320, 3)
    v, u = np.argwhere((drawn == joint_rgb("thumb_4")).all(-1)).mean(axis=0)
    np.testing.assert_allclose([(u + 0.5) / 8 - 0.5, (v + 0.5) / 8 - 0.5], uv[4], atol=0.1)


def test_joints_that_are_missing_or_far_outside_are_left_out():
    uv = np.full((17, 2), np.nan)
    uv[:3] = [[1e9, -1e9], [np.inf, 3.0], [-4e4, 5.0]]
    drawn = draw_pose(np.zeros((400, 300, 3), np.uint8), uv, np.full(17, np.nan), COCO17)
    assert drawn.shape == (400, 300, 3)
    assert joint_rgb("left_hip") != joint_rgb("right_hip")


def frames(n: int, sequence: str, height: int = 321, width: int = 333):
    return [RawFrame(np.full((height, width, 3), 60, np.uint8), f"{sequence}_{i:06d}", sequence, i) for i in range(n)]


def test_overlays_keep_subfolders(tmp_path):
    with ImageOverlays(tmp_path, HAND21, 1) as overlays:
        for frame in (
            RawFrame(np.zeros((50, 60, 3), np.uint8), "left/a"),
            RawFrame(np.zeros((9, 9, 3), np.uint8), "b"),
        ):
            overlays.add(frame, spread_hand(40), np.ones(21))
    assert overlays.drawn == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["left/a.jpg"]


def test_subjects_of_a_frame_are_drawn_together(tmp_path):
    two = [spread_hand(150), spread_hand(150) + np.array([140.0, 60.0])]
    with ImageOverlays(tmp_path, HAND21, 1) as overlays:
        for frame in frames(2, "a"):
            for subject, uv_px in enumerate(two):
                overlays.add(replace(frame, key=f"{frame.key}_subject{subject}"), uv_px, np.ones(21))
    assert (overlays.drawn, [path.name for path in tmp_path.iterdir()]) == (1, ["a_000000_subject0.jpg"])
    drawn = cv2.imread(str(tmp_path / "a_000000_subject0.jpg"))[..., ::-1]
    for uv_px in two:
        u, v = uv_px[12].round().astype(int)
        np.testing.assert_allclose(drawn[v, u], joint_rgb("middle_4"), atol=40)


def test_overlays_of_videos_keep_the_frame_rate(tmp_path):
    rates = {"a": Fraction(30000, 1001), "b": Fraction(5)}
    with VideoOverlays(tmp_path, HAND21, 4, rates) as overlays:
        for frame in (*frames(6, "a"), *frames(2, "b"), *frames(1, "b", 100, 100)):
            overlays.add(frame, spread_hand(300), np.ones(21))
    assert overlays.drawn == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    for name, count in (("a", 4), ("b", 3)):
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            stream = container.streams.video[0]
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert (len(decoded), stream.average_rate) == (count, rates[name])
        assert decoded[0].shape == (322, 334, 3)
        u, v = spread_hand(300)[12].round().astype(int)
        np.testing.assert_allclose(decoded[0][v, u], joint_rgb("middle_4"), atol=40)


def test_frames_without_a_subject_are_written_to_videos_alone(tmp_path):
    first, second, third = frames(3, "a")
    pose = (spread_hand(300), np.ones(21))
    for folder, writer in (
        ("videos", VideoOverlays(tmp_path / "videos", HAND21, None, {"a": Fraction(5)})),
        ("images", ImageOverlays(tmp_path / "images", HAND21, None)),
    ):
        with writer as overlays:
            overlays.add_empty(first)
            overlays.add_empty(second)
            overlays.add(replace(second, key="a_000001_subject1"), *pose)  # another subject of the same frame
            overlays.add_empty(third)
        assert overlays.drawn == 1, folder
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["a_000001_subject1.jpg"]
    with av.open(str(tmp_path / "videos" / "a.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    changed = [np.abs(frame.astype(int) - 60).max() > 20 for frame in decoded]
    assert changed == [False, True, False]


def test_errors_leave_no_partial_video(tmp_path):
    overlays = VideoOverlays(tmp_path, HAND21, None, {"a": Fraction(5)})
    for frame in frames(60, "a"):  # more than the encoder buffers
        overlays.add(frame, spread_hand(300), np.ones(21))
    assert len(list(tmp_path.iterdir())) == 1
    overlays.__exit__(RuntimeError)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"cannot write .*a\.mp4"),
        VideoOverlays(tmp_path / "file", HAND21, None, {"a": Fraction(5)}) as overlays,
    ):
        overlays.add(frames(1, "a")[0], spread_hand(9), np.ones(21))
