import av
import cv2
import numpy as np
import pytest
import torch

from data.encoded_videos import picture
from posebridge.data.crops import crop_frames
from posebridge.data.datasets.video import Video
from posebridge.data.datasets.video_access import VideoAccess
from posebridge.data.datasets.video_orientation import orientation_of
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.target import open_target
from posebridge.data.target_config import TargetConfig


def stored_and_orientation(path) -> tuple[np.ndarray, tuple[int, bool]]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format="rgb24"), orientation_of(frame)


def write_oriented(path, degrees: int | None, hflip: bool = False) -> None:
    """``degrees`` counter-clockwise, as FFmpeg counts them, then mirrored left-right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        if degrees is not None:
            stream.set_display_rotation(degrees, hflip=hflip)
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])


@pytest.mark.parametrize(("degrees", "turn"), [(None, 0), (0, 0), (-90, 1), (180, 2), (90, 3), (-93, 1)])
def test_turned_pixels_are_those_that_opencv_shows(tmp_path, degrees, turn):
    write_oriented(tmp_path / "a.mp4", degrees)
    stored, orientation = stored_and_orientation(tmp_path / "a.mp4")
    assert orientation == (turn, False)
    if degrees != -93:  # OpenCV turns by exact quarters alone
        upright = cv2.cvtColor(cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1], cv2.COLOR_BGR2RGB)
        np.testing.assert_allclose(np.rot90(stored, -turn).astype(int), upright, atol=6)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_mirrored_pixels_are_mirrored_before_they_are_turned(tmp_path, degrees, suffix):
    write_oriented(tmp_path / f"a.{suffix}", degrees, hflip=True)
    stored, (turn, mirror) = stored_and_orientation(tmp_path / f"a.{suffix}")
    assert mirror
    np.testing.assert_array_equal(np.rot90(stored[:, ::-1], -turn), np.rot90(stored, degrees // 90)[:, ::-1])


def test_crops_of_a_turned_video_are_upright(tmp_path):
    write_oriented(tmp_path / "a.mp4", -90)
    (frame,) = Video(tmp_path / "a.mp4")
    target = open_target(TargetConfig(tmp_path / "a.mp4"), 64)
    ((_, batch),) = crop_frames(target, target.crop)
    upright = np.pad(np.rot90(frame.rgb, -1), ((0, 0), (8, 8), (0, 0)))
    np.testing.assert_allclose(255 * batch.image[0].permute(1, 2, 0).numpy(), upright, atol=1)
    stored = torch.linalg.inv(batch.T_crop_file[0]) @ torch.tensor([63.0 - 8, 0, 1])
    np.testing.assert_allclose(stored[:2], [0, 0], atol=1e-4)  # the upright top right corner
    assert target.notes() == (
        "1 file carries an orientation: the network sees them upright, and coordinates are in pixels as stored",
    )


def test_labels_of_a_turned_video_may_be_of_either_pixels(tmp_path):
    write_oriented(tmp_path / "a.mp4", -90)
    with pytest.raises(UnreadableFrameError, match=r"a\.mp4 frame 0: the video carries an orientation"):
        VideoAccess().read(tmp_path / "a.mp4", 0)
