from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data.encoded_videos import write_encoded
from data.on_disk import write_video
from data.people import pixels, rotation
from posebridge.data.crops import CropConfig, UnlabelledCrops
from posebridge.data.datasets.qualisys import CalibratedVideos, read_qualisys
from posebridge.errors import InputError

SAMPLE = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "body_multiview_pose2sim"
WIDTH, HEIGHT = 64, 96
K = np.array([[80.25, 0, 31.5], [0, 80.5, 47.75], [0, 0, 1]])
LENS = [-0.05, 0.14, 0.0006, 0.0007, 0.01]


def axes(camera: int) -> np.ndarray:
    """Rows: right, up and backwards of a camera in the world."""
    return rotation(0.2, 0.5 * camera, 1.4)


def write_calibration(path, names=("cam01", "cam02"), old: str = "", new: str = "") -> None:
    cameras = ""
    for i, name in enumerate(names):
        r = " ".join(f'r{a + 1}{b + 1}="{axes(i)[a, b]:.12f}"' for a in range(3) for b in range(3))
        intrinsic = {
            "focalLengthU": K[0, 0] * 64,
            "focalLengthV": K[1, 1] * 64,
            "centerPointU": K[0, 2] * 64,
            "centerPointV": K[1, 2] * 64,
            "sensorMaxU": (WIDTH - 1) * 64,
            "sensorMaxV": (HEIGHT - 1) * 64,
            "skew": 0,
            "radialDistortion1": LENS[0],
            "radialDistortion2": LENS[1],
            "radialDistortion3": LENS[4],
            "tangentalDistortion1": LENS[2],
            "tangentalDistortion2": LENS[3],
        }
        attributes = " ".join(f'{key}="{value}"' for key, value in intrinsic.items())
        cameras += f'<camera serial="{name}"><transform x="{1000 * i}" y="-2000" z="1500.5" {r}/>'
        cameras += f"<intrinsic {attributes}/></camera>"
    text = f"<?xml version='1.0'?><calibration><cameras>{cameras}</cameras></calibration>"
    assert not old or old in text
    path.write_text(text.replace(old, new, 1) if old else text)


@pytest.fixture
def folder(tmp_path):
    write_calibration(tmp_path / "Calib.qca.txt")
    for name in ("cam01", "cam02"):
        write_video(tmp_path / f"{name}.mp4", 5, WIDTH, HEIGHT)
    return tmp_path


def test_cameras(folder):
    cameras = read_qualisys(folder / "Calib.qca.txt")
    assert [camera.name for camera in cameras] == ["cam01", "cam02"]
    for i, camera in enumerate(cameras):
        np.testing.assert_allclose(camera.K, K)
        np.testing.assert_array_equal(camera.distortion, LENS)
        assert camera.size_px == (WIDTH, HEIGHT)
        place, (right, up, back) = np.array([1.0 * i, -2, 1.5005]), axes(i)
        assert np.linalg.det(camera.T_world_cam[:3, :3]) == pytest.approx(1)
        # A point 2 m ahead, 0.3 to the right and 0.5 above projects to the upper right of the middle.
        point = place - 2 * back + 0.3 * right + 0.5 * up
        seen = np.linalg.inv(camera.T_world_cam) @ [*point, 1]
        np.testing.assert_allclose(seen[:3], [0.3, -0.5, 2], atol=1e-9)


def test_views_of_a_moment_are_adjacent(folder):
    videos = CalibratedVideos(folder, folder / "Calib.qca.txt", every=2)
    frames = list(videos)
    assert [(frame.frame, frame.view) for frame in frames] == [(0, 0), (0, 1), (2, 0), (2, 1), (4, 0), (4, 1)]
    assert frames[3].key == "cam02_000002"
    assert {frame.sequence for frame in frames} == {folder.name}
    for frame in frames:
        assert abs(frame.rgb.mean() - (10 + 15 * frame.frame)) < 4
    crop = UnlabelledCrops(videos, CropConfig(96))[3]
    np.testing.assert_allclose(crop.camera.K[0], np.array([[80.25, 0, 47.5], [0, 80.5, 47.75], [0, 0, 1]]), atol=1e-4)
    np.testing.assert_allclose(crop.camera.distortion[0], LENS, atol=1e-6)
    np.testing.assert_allclose(crop.T_world_cam[0, :3, 3], [1, -2, 1.5005], atol=1e-4)


def test_scaled_videos(folder):
    write_video(folder / "cam02.mp4", 5, 2 * WIDTH, 2 * HEIGHT + 20)
    with pytest.raises(InputError, match=r"cam02\.mp4: 128x212, but calibrated at 64x96: .*letterboxed=True"):
        list(CalibratedVideos(folder, folder / "Calib.qca.txt"))
    frame = CalibratedVideos(folder, folder / "Calib.qca.txt", letterboxed=True)[1]
    for corner, expected in (((-0.5, -0.5), (-0.5, 9.5)), ((WIDTH - 0.5, HEIGHT - 0.5), (127.5, 201.5))):
        ray = np.linalg.inv(K) @ [*corner, 1]
        np.testing.assert_allclose((frame.K @ ray)[:2], expected, atol=1e-9)


def test_missing_and_unknown_videos(folder):
    write_video(folder / "cam02.mp4", 3, WIDTH, HEIGHT)
    videos = CalibratedVideos(folder, folder / "Calib.qca.txt")
    assert len(videos) == 6
    assert videos.skipped == {f"{folder} from frame 3 on": "not every video has these frames"}
    (folder / "cam02.mp4").unlink()
    videos = CalibratedVideos(folder, folder / "Calib.qca.txt")
    assert videos.skipped == {str(folder / "cam02.mp4"): "the video is missing"}
    (folder / "cam01.mp4").rename(folder / "left.mp4")
    with pytest.raises(InputError, match=r"left\.mp4: no camera of .* has this name; it has cam01, cam02"):
        CalibratedVideos(folder, folder / "Calib.qca.txt")
    (folder / "left.mp4").unlink()
    with pytest.raises(InputError, match=r"no video called cam01\.mp4"):
        CalibratedVideos(folder, folder / "Calib.qca.txt")


def timed_video(path, times_ms, codec="libx264") -> None:
    write_encoded(path, codec, {"bf": "2"}, frames=len(times_ms), times_ms=times_ms)


def test_frames_of_one_number_need_one_time(tmp_path):
    write_calibration(tmp_path / "Calib.qca.txt")
    constant = [40 * i for i in range(20)]
    timed_video(tmp_path / "cam01.mp4", constant)
    slower, stretched = [80 * i for i in range(20)], constant[:10] + [400 + 100 * i for i in range(10)]
    for times_ms, frame, at in ((slower, 1, "0.080"), (stretched, 11, "0.500")):
        timed_video(tmp_path / "cam02.mp4", times_ms)
        message = (
            rf"cam02\.mp4: frame {frame} is shown at {at} s, but at 0\.{4 * frame:02}0 s in cam01\.mp4; cameras need"
        )
        with pytest.raises(InputError, match=message):
            CalibratedVideos(tmp_path, tmp_path / "Calib.qca.txt")
    (tmp_path / "cam02.mp4").unlink()
    write_encoded(tmp_path / "cam02.h264", "libx264", {}, frames=20)
    with pytest.raises(InputError, match=r"cam02\.h264: its frames carry no times; cameras need"):
        CalibratedVideos(tmp_path, tmp_path / "Calib.qca.txt")


def test_calibrated_videos_with_an_orientation(folder):
    with av.open(str(folder / "cam02.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(180)
        container.mux([*stream.encode(av.VideoFrame(WIDTH, HEIGHT, "yuv420p")), *stream.encode()])
    with pytest.raises(InputError, match=r"cam02\.mp4: the file carries an orientation.*store them upright"):
        CalibratedVideos(folder, folder / "Calib.qca.txt")


def test_cameras_of_one_clock_match_by_number(tmp_path):
    write_calibration(tmp_path / "Calib.qca.txt")
    write_encoded(tmp_path / "cam01.avi", "mpeg4", {"bf": "2"}, frames=20)  # of 25 frames a second
    timed_video(tmp_path / "cam02.mkv", [300 + 40 * i + i % 3 for i in range(20)])
    videos = CalibratedVideos(tmp_path, tmp_path / "Calib.qca.txt")
    assert len(videos) == 40
    timed_video(tmp_path / "cam01.mkv", [0, 40])
    with pytest.raises(InputError, match=r"two videos of one camera, cam01\.avi and cam01\.mkv: keep one"):
        CalibratedVideos(tmp_path, tmp_path / "Calib.qca.txt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('focalLengthU="5136.0"', 'focalLengthU="0"', "camera cam01: the intrinsics fx=0 .* are impossible"),
        ('focalLengthU="5136.0"', 'focalLengthU="x"', "intrinsic has focalLengthU.* that are not numbers"),
        ('focalLengthU="5136.0"', 'focalLengthU="nan"', "that are not finite"),
        ('z="1500.5"', 'z="1500500"', "impossible pose: expected a rotation, and a place in millimetres"),
        ('r11="', 'r11="2', "impossible pose"),
        ('r11="', 'a="', "transform lacks 'r11'"),
        ("<transform", "<other", "lacks its transform"),
        ('serial="cam02"', 'serial="cam01"', "two cameras have the same serial"),
        ("<?xml", "<", "not XML"),
    ],
)
def test_bad_calibrations(tmp_path, old, new, message):
    write_calibration(tmp_path / "c.qca.txt", old=old, new=new)
    with pytest.raises(InputError, match=rf"c\.qca\.txt.*{message}"):
        read_qualisys(tmp_path / "c.qca.txt")


def test_no_calibration(tmp_path):
    with pytest.raises(InputError, match=r"c\.qca\.txt: No such file"):
        read_qualisys(tmp_path / "c.qca.txt")
    (tmp_path / "c.qca.txt").write_text("<a/>")
    with pytest.raises(InputError, match="no cameras/camera is in it"):
        read_qualisys(tmp_path / "c.qca.txt")


def cap_in(rgb: np.ndarray) -> np.ndarray:
    """The centre of the largest turquoise region, which is the person's cap."""
    r, g, b = (rgb[..., i].astype(int) for i in range(3))
    spot = ((g - r > 45) & (b - r > 45) & (abs(g - b) < 45)).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(cv2.morphologyEx(spot, cv2.MORPH_OPEN, np.ones((7, 7))))
    return centres[1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])]


def disagreement_px(frames) -> float:
    """Largest reprojection error of the triangulated cap over the views, in pixels."""
    rows, caps = [], [cap_in(frame.rgb) for frame in frames]
    T_cam_world = [np.linalg.inv(frame.T_world_cam) for frame in frames]
    for frame, cap, T in zip(frames, caps, T_cam_world, strict=True):
        x, y = cv2.undistortPoints(cap[None, None], frame.K, frame.distortion)[0, 0]
        rows += [x * T[2] - T[0], y * T[2] - T[1]]
    place = np.linalg.svd(np.array(rows))[2][-1]
    seen = [(T @ (place / place[3]))[None, :3] for T in T_cam_world]
    return max(
        float(np.linalg.norm(pixels(point, frame.K, frame.distortion)[0] - cap))
        for frame, cap, point in zip(frames, caps, seen, strict=True)
    )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no calibrated videos in {SAMPLE}")
def test_real_views_agree():
    videos = CalibratedVideos(SAMPLE, SAMPLE / "Calib.qca.txt", every=60, letterboxed=True)
    assert len(videos) == 8
    assert videos.skipped == {}
    at_once = [videos[i] for i in range(4)]
    assert disagreement_px(at_once) < 30  # the cap is 20 cm wide, 90 px, and each view shows another part of it
    later = [videos[4], videos[5], videos[2], videos[3]]
    assert disagreement_px(later) > 60  # frames one second apart show the head at different positions
