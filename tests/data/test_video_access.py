import pickle

import av
import numpy as np
import pytest
import torch

from data.on_disk import truncate
from posebridge.data.datasets.video_access import VideoAccess
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


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"bf": "2"}), ("a.mp4", {}), ("a.avi", {}), ("a.mkv", {})])
def test_frames_do_not_depend_on_the_order_of_access(tmp_path, name, options):
    path = tmp_path / name
    write_numbered(path, **options)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 60
    order = [0, 1, 2, 59, 58, 3, 30, 31, 29, 7, 7, 45, 0, *np.random.default_rng(0).integers(0, 60, 40).tolist()]
    access = VideoAccess()
    for number in order:
        np.testing.assert_array_equal(access.read(path, number), decoded[number])
        assert abs(int(access.read(path, number).mean()) - (10 + 4 * number)) < 2
    assert access.length(path) == 60


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


def test_missing_frames_are_refused(tmp_path):
    write_numbered(tmp_path / "a.mp4", 10)
    access = VideoAccess()
    with pytest.raises(UnreadableFrameError, match=r"a\.mp4 frame 10: the video has no such frame"):
        access.read(tmp_path / "a.mp4", 10)
    assert abs(int(access.read(tmp_path / "a.mp4", 3).mean()) - 22) <= 3  # and continues afterwards
    with pytest.raises(UnreadableFrameError, match="No such file"):
        access.read(tmp_path / "b.mp4", 0)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    with pytest.raises(UnreadableFrameError, match=r"c\.mp4 frame 0"):
        access.read(tmp_path / "c.mp4", 0)
    with pytest.raises(InputError, match=r"c\.mp4: not a video"):
        access.length(tmp_path / "c.mp4")
    truncate(tmp_path / "a.mp4", 0.3)
    with pytest.raises(UnreadableFrameError):
        VideoAccess().read(tmp_path / "a.mp4", 9)
