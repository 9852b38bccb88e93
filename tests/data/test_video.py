import av
import numpy as np
import pytest

from data.encoded_videos import decoded_in_order, trim_by_edit_list, write_encoded
from data.on_disk import truncate, write_image, write_video
from posebridge.data.datasets.video import Video, VideoFolder
from posebridge.data.datasets.video_access import VideoAccess
from posebridge.data.target import open_frames
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


CUT = {  # file -> encoder, its options, options of the container
    "a.mp4": ("libx264", {"bf": "2"}, {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", {"g": "12"}, {"movflags": "frag_keyframe+empty_moov"}),
    "a.mkv": ("libx264", {"bf": "2"}, {}),
    "a.webm": ("libvpx-vp9", {"cpu-used": "8"}, {}),
    "a.avi": ("mpeg4", {"bf": "2"}, {}),
    "a.wmv": ("wmv2", {}, {}),
    "a.flv": ("flv", {}, {}),
}


@pytest.mark.parametrize("name", CUT)
def test_the_end_of_a_cut_file_is_listed_and_the_rest_used(tmp_path, name):
    codec, options, container_options = CUT[name]
    write_encoded(tmp_path / name, codec, options, container_options=container_options)
    whole, intact = decoded_in_order(tmp_path / name), Video(tmp_path / name)
    assert len(list(intact)) == 40
    assert intact.skipped == {}
    truncate(tmp_path / name, 0.7)
    video = Video(tmp_path / name)
    frames = {frame.frame: frame.image for frame in video}
    assert 10 < len(frames) < 40
    for number in range(len(frames) - 3):
        np.testing.assert_array_equal(frames[number], whole[number])
    first = f"{tmp_path / name} from frame {max(frames) + 1}"
    assert video.skipped[first].startswith("the file is cut short: ")
    access = VideoAccess()
    for number, image in frames.items():
        np.testing.assert_array_equal(access.read(tmp_path / name, number), image)


def test_a_live_recording_without_a_size_is_not_cut_short(tmp_path):
    write_encoded(tmp_path / "a.mkv", "libx264", {}, container_options={"live": "1"})
    video = Video(tmp_path / "a.mkv")
    assert len(list(video)) == 40
    assert video.skipped == {}


def test_an_edit_list_hides_frames_and_cuts_nothing(tmp_path):
    write_encoded(tmp_path / "a.mp4", "libx264", {"bf": "2", "g": "12"})
    whole = list(Video(tmp_path / "a.mp4"))
    trim_by_edit_list(tmp_path / "a.mp4", first=15, frames=20)
    video = Video(tmp_path / "a.mp4")
    frames = list(video)
    assert [frame.frame for frame in frames] == list(range(20))
    for frame, expected in zip(frames, whole[15:35], strict=True):
        np.testing.assert_array_equal(frame.rgb, expected.rgb)
    assert video.skipped == {}


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_tags_that_are_no_utf8(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Munoz"
        stream = container.add_stream("mpeg4", rate=25)
        stream.metadata["title"] = stream.metadata["handler_name"] = "Munoz"
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame(64, 48, "yuv420p")), *stream.encode()])
    path.write_bytes(path.read_bytes().replace(b"Munoz", b"Mu\xf1oz"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert [frame.key for frame in VideoFolder(tmp_path)] == ["a_000000"]
    assert VideoAccess().read(path, 0).shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", ["mts", "M2TS", "ts", "3gp", "flv", "mpg", "vob", "h264", "asf"])
def test_files_that_are_tried_as_videos(tmp_path, suffix):
    format_name = {"mts": "mpegts", "M2TS": "mpegts"}.get(suffix)
    codec = {"flv": "flv", "mpg": "mpeg2video", "vob": "mpeg2video", "asf": "wmv2"}.get(suffix, "libx264")
    write_encoded(tmp_path / f"a.{suffix}", codec, {}, frames=6, format_name=format_name)
    assert [frame.frame for frame in open_frames(tmp_path / f"a.{suffix}")] == list(range(6))
    assert [frame.frame for frame in open_frames(tmp_path)] == list(range(6))


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
