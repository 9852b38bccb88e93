"""Videos, decoded frame by frame; no video is kept in memory."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from av.video.frame import VideoFrame

from posebridge.data.datasets.found_files import visible_files
from posebridge.data.datasets.video_decoding import DAMAGED, decode_file, rgb_pixels
from posebridge.data.datasets.video_file import VIDEO_SUFFIXES, open_video
from posebridge.data.datasets.video_index import numbered, read_packets
from posebridge.data.datasets.video_orientation import orientation_of
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError


class Video:
    """A video's frames in order: key ``stem_000123``, sequence the file's stem, frame the number from 0.

    Frames that can't be decoded are listed in ``skipped`` and keep their number. Pixels are as stored;
    ``turn`` and ``mirror`` hold the orientation in the file's display matrix. Each iteration decodes the video again.
    """

    def __init__(self, path: str | Path, every: int = 1):
        """``every`` n-th frame only. Raises ``InputError`` where the file is no video that can be opened."""
        self.path = Path(path)
        self.every = every
        self.skipped: dict[str, str] = {}
        if every < 1:
            raise InputError(f"{self.path}: cannot keep every {every}th frame; give 1 or more")
        container, _ = open_video(self.path)
        container.close()

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be decoded; raises ``InputError`` where none can."""
        packets = read_packets(self.path)
        count = 0 if packets.numbers is None else int(packets.numbers.max(initial=-1)) + 1
        decoded: set[int] = set()
        reasons: dict[int | None, str] = {}
        for number, frame in numbered(decode_file(self.path, packets.last), packets.numbers):
            count = count if number is None else max(count, number + 1)
            if isinstance(frame, str):
                reasons.setdefault(number, frame)
            elif number is not None:
                decoded.add(number)
                if number % self.every == 0:
                    yield self._raw_frame(frame, number)
        if not decoded:
            raise InputError(f"{self.path}: not one frame of the video can be decoded")
        self._list_missing(decoded, count, reasons, packets.cut_short)

    def _list_missing(
        self, decoded: set[int], count: int, reasons: dict[int | None, str], cut_short: str | None
    ) -> None:
        """List each run of damaged frames, and the end of the video where it is missing."""
        if cut_short:
            count = max(decoded) + 1
            self.skipped[f"{self.path} from frame {count}"] = cut_short
        missing = [number for number in range(count) if number not in decoded]
        for _, run in groupby(enumerate(missing), key=lambda place: place[1] - place[0]):
            numbers = [number for _, number in run]
            name = f"frame {numbers[0]}" if len(numbers) == 1 else f"frames {numbers[0]} to {numbers[-1]}"
            self.skipped[f"{self.path} {name}"] = reasons.get(numbers[0], reasons.get(None, DAMAGED))

    def _raw_frame(self, frame: VideoFrame, number: int) -> RawFrame:
        image = rgb_pixels(frame)
        turn, mirror = orientation_of(frame)
        stem = self.path.stem
        return RawFrame(image, f"{stem}_{number:06d}", stem, number, turn=turn, mirror=mirror, file=self.path)


class VideoFolder:
    """All videos below a folder, one after the other; broken ones among good ones are listed in ``skipped``."""

    def __init__(self, path: str | Path, every: int = 1):
        """Raises ``InputError`` where the folder holds no video, or two of the same stem (their keys would clash)."""
        self.path = Path(path)
        self.every = every
        self.skipped: dict[str, str] = {}
        self.files = visible_files(self.path, VIDEO_SUFFIXES)
        if not self.files:
            raise InputError(f"{self.path}: the folder holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")
        stems = [file.stem for file in self.files]
        if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise InputError(f"{self.path}: several videos are called {repeated[0]}; give each its own name")

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be decoded; raises ``InputError`` where no video gives one."""
        read_any = False
        for file in self.files:
            try:
                video = Video(file, self.every)
                for frame in video:
                    read_any = True
                    yield frame
            except InputError as error:
                self.skipped[str(file)] = str(error).removeprefix(f"{file}: ")
            else:
                self.skipped.update(video.skipped)
        if not read_any:
            raise InputError(f"{self.path}: none of {len(self.files)} videos can be read")
