import gc
import os
import pickle
import signal
import time

import av
import numpy as np
import pytest
import torch

from data.encoded_videos import ENCODINGS, OPEN_GOPS, decoded_in_order, trim_by_edit_list, write_encoded
from data.on_disk import truncate
from posebridge.data.datasets.video_access import VideoAccess
from posebridge.data.datasets.video_file import open_video
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError


def write_numbered(path, frames=60, **options) -> None:
    """Frame i has the grey value 10 + 4 i; most frames are predicted, so that access needs seeking."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"g": "20", "qmin": "1", "qmax": "1", **options})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for i in range(frames):
            image = np.full((48, 64, 3), 10 + 4 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def check_random_access(path) -> None:
    expected = decoded_in_order(path)
    access = VideoAccess()
    assert access.index(path).count == len(expected)
    draws = np.random.default_rng(0).integers(0, len(expected), 30).tolist()
    for number in [0, 1, 2, len(expected) - 1, *draws, *range(len(expected))]:
        np.testing.assert_array_equal(access.read(path, number), expected[number], f"frame {number}")
    with pytest.raises(UnreadableFrameError, match="no such frame"):
        access.read(path, len(expected))


@pytest.mark.parametrize("name", ENCODINGS)
def test_frames_of_every_codec_as_decoded_from_the_start(tmp_path, name):
    codec, options = ENCODINGS[name]
    write_encoded(tmp_path / name, codec, options)
    check_random_access(tmp_path / name)
    greys = [int(image[20:28, 24:40].mean()) for image in decoded_in_order(tmp_path / name)]
    np.testing.assert_allclose(greys, 30 + 3 * np.arange(40), atol=6)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_frames_at_a_variable_rate(tmp_path, suffix):
    times_ms = np.cumsum(np.random.default_rng(0).choice([33, 34, 100, 500], 40)).tolist()
    write_encoded(tmp_path / f"a.{suffix}", "libx264", OPEN_GOPS, times_ms=times_ms)
    check_random_access(tmp_path / f"a.{suffix}")
    times_s = VideoAccess().index(tmp_path / f"a.{suffix}").times_s()
    np.testing.assert_allclose(times_s, (np.array(times_ms) - times_ms[0]) / 1000, atol=1e-3)


def test_frames_of_an_edit_list(tmp_path):
    write_encoded(tmp_path / "a.mp4", "libx264", OPEN_GOPS)
    whole = decoded_in_order(tmp_path / "a.mp4")
    trim_by_edit_list(tmp_path / "a.mp4", first=15, frames=20)
    check_random_access(tmp_path / "a.mp4")
    np.testing.assert_array_equal(VideoAccess().read(tmp_path / "a.mp4", 3), whole[18])


def test_a_video_that_begins_with_frames_of_a_lost_group(tmp_path):
    write_encoded(tmp_path / "a.mp4", *ENCODINGS["hevc.mp4"])
    with av.open(str(tmp_path / "a.mp4")) as whole, av.open(str(tmp_path / "b.mp4"), "w") as rest:
        stream, keys, packets = rest.add_stream_from_template(whole.streams.video[0]), 0, 0
        for packet in whole.demux(video=0):
            keys += packet.is_keyframe
            if keys >= 2 and packet.size:
                packet.stream = stream
                rest.mux(packet)
                packets += 1
    assert len(decoded_in_order(tmp_path / "b.mp4")) < packets
    check_random_access(tmp_path / "b.mp4")


def test_a_frame_costs_no_more_than_its_group(tmp_path):
    write_encoded(tmp_path / "a.mp4", "libx264", ENCODINGS["h264.mp4"][1], frames=60)
    access = VideoAccess()
    access.read(tmp_path / "a.mp4", 59)
    (video,) = access._videos.values()
    video._seek(*video.index.starts_for(30)[0])
    decoded = next(place for place, _ in video._frames)
    assert video.index.numbers[decoded] == 20  # key frames are 0, 20 and 40


def test_few_videos_stay_open(tmp_path):
    paths = [tmp_path / f"{i}.mp4" for i in range(4)]
    for path in paths:
        write_numbered(path, 4)
    access = VideoAccess(keep_open=2)
    for number in range(4):
        for path in paths:
            assert abs(int(access.read(path, number).mean()) - (10 + 4 * number)) < 2
    assert len(access._videos) == 2


def test_videos_can_be_pickled(tmp_path):
    write_numbered(tmp_path / "a.mp4")
    access = VideoAccess()
    access.read(tmp_path / "a.mp4", 10)
    again = pickle.loads(pickle.dumps(access))
    np.testing.assert_array_equal(again.read(tmp_path / "a.mp4", 33), access.read(tmp_path / "a.mp4", 33))
    assert not pickle.loads(pickle.dumps(access))._videos


class _Grey(torch.utils.data.Dataset):
    def __init__(self, path):
        self.path, self.access = path, VideoAccess()
        self.access.read(path, 17)  # open in the parent, so that a fork inherits the file's position

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> float:
        return float(self.access.read(self.path, (index * 7) % 60).mean())


def test_forked_workers_read_independently(tmp_path):
    write_numbered(tmp_path / "a.mp4")
    loader = torch.utils.data.DataLoader(_Grey(tmp_path / "a.mp4"), batch_size=None, num_workers=2, timeout=60)
    expected = [10 + 4 * ((i * 7) % 60) for i in range(40)]
    np.testing.assert_allclose([float(value) for value in loader], expected, atol=1.9)


def test_a_fork_leaves_the_parents_garbage_alone(tmp_path):
    """A collected decoder or frame waits in the fork for threads that only the parent has."""
    write_numbered(tmp_path / "a.mp4")
    gc.disable()
    try:
        with open_video(tmp_path / "a.mp4")[0] as container:
            frame = next(container.decode(video=0))
        frame.to_ndarray(format="rgb24", threads=4)  # its converter keeps the threads
        garbage = [frame]
        garbage.append(garbage)
        del frame, garbage
        child = os.fork()
        if child == 0:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    until = time.monotonic() + 60
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_missing_frames_are_refused(tmp_path):
    write_numbered(tmp_path / "a.mp4", 10)
    access = VideoAccess()
    with pytest.raises(UnreadableFrameError, match=r"a\.mp4 frame 10: the video has no such frame"):
        access.read(tmp_path / "a.mp4", 10)
    assert abs(int(access.read(tmp_path / "a.mp4", 3).mean()) - 22) <= 3  # and goes on afterwards
    with pytest.raises(UnreadableFrameError, match="no such file"):
        access.read(tmp_path / "b.mp4", 0)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableFrameError, match=r"c\.mp4 frame 0"):
        access.read(tmp_path / "c.mp4", 0)
    with pytest.raises(InputError, match=r"c\.mp4: not a video"):
        access.index(tmp_path / "c.mp4")
    truncate(tmp_path / "a.mp4", 0.3)
    with pytest.raises(UnreadableFrameError):
        VideoAccess().read(tmp_path / "a.mp4", 9)
