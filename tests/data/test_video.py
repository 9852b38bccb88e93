import numpy as np
import pytest

from data.on_disk import truncate, write_image, write_video
from posebridge.data.datasets.video import Video, VideoFolder
from posebridge.errors import InputError


def grey_levels(frames) -> list[int]:
    return [round((float(frame.image.mean()) - 10) / 15) for frame in frames]


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_every_frame_in_order(tmp_path, suffix):
    write_video(tmp_path / f"clip.{suffix}", frames=12)
    video = Video(tmp_path / f"clip.{suffix}")
    frames = list(video)
    assert [frame.key for frame in frames] == [f"clip_{i:06d}" for i in range(12)]
    assert [frame.frame for frame in frames] == list(range(12))
    assert {frame.sequence for frame in frames} == {"clip"}
    assert grey_levels(frames) == list(range(12))
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert video.skipped == {}
    assert grey_levels(video) == list(range(12))  # again from the start


def test_every_third_frame_keeps_its_number(tmp_path):
    write_video(tmp_path / "clip.mp4", frames=10)
    frames = list(Video(tmp_path / "clip.mp4", every=3))
    assert [frame.frame for frame in frames] == grey_levels(frames) == [0, 3, 6, 9]
    with pytest.raises(InputError, match="every 0th frame"):
        Video(tmp_path / "clip.mp4", every=0)


def test_decoding_is_lazy(tmp_path):
    write_video(tmp_path / "clip.mp4")
    frames = iter(Video(tmp_path / "clip.mp4"))
    assert next(frames).key == "clip_000000"
    frames.close()


def test_frames_before_damage_are_kept(tmp_path):
    write_video(tmp_path / "clip.mp4", frames=12, movflags="faststart")
    truncate(tmp_path / "clip.mp4", 0.8)
    video = Video(tmp_path / "clip.mp4")
    frames = list(video)
    assert 3 <= len(frames) < 12
    assert grey_levels(frames) == [frame.frame for frame in frames]
    assert video.skipped
    assert all("clip.mp4" in name and reason for name, reason in video.skipped.items())


def test_damage_in_the_middle_is_listed(tmp_path):
    write_video(tmp_path / "clip.avi", frames=12)
    data = bytearray((tmp_path / "clip.avi").read_bytes())
    chunks = [i for i in range(len(data) - 4) if data[i : i + 4] == b"00dc"][:12]
    data[chunks[5] + 8 : chunks[6]] = bytes(chunks[6] - chunks[5] - 8)
    (tmp_path / "clip.avi").write_bytes(data)
    video = Video(tmp_path / "clip.avi")
    assert len(list(video)) + len(video.skipped) == 12
    assert len(video.skipped) == 1


def test_videos_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Video(tmp_path / "absent.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_video(tmp_path / "cut.mp4")  # its index is at the end
    truncate(tmp_path / "cut.mp4")
    (tmp_path / "text.mp4").write_text("hello, this is no video")
    for name, reason in (("empty", "not a video"), ("text", "not a video"), ("cut", "cut short|not a video")):
        with pytest.raises(InputError, match=f"{name}.mp4: .*({reason})"):
            Video(tmp_path / f"{name}.mp4")


def test_folder_of_videos(tmp_path):
    write_video(tmp_path / "a.mp4", frames=3)
    write_video(tmp_path / "b.avi", frames=2)
    (tmp_path / "c.mp4").write_bytes(b"")
    folder = VideoFolder(tmp_path)
    assert [frame.key for frame in folder] == ["a_000000", "a_000001", "a_000002", "b_000000", "b_000001"]
    assert list(folder.skipped) == [str(tmp_path / "c.mp4")]
    write_video(tmp_path / "a.avi", frames=1)
    with pytest.raises(InputError, match="several videos are called a"):
        VideoFolder(tmp_path)


def test_folder_without_a_good_video(tmp_path):
    write_image(tmp_path / "0.png")
    with pytest.raises(InputError, match="holds no video"):
        VideoFolder(tmp_path)
    (tmp_path / "c.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="none of 1 videos"):
        list(VideoFolder(tmp_path))
