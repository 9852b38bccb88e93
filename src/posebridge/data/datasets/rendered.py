"""Sets that ``posebridge render`` writes, as a dataset: webdataset shards with ``index.json``.

A folder that holds a set is the split "train", or both splits with ``whole_set``. One of ``train/`` and ``test/`` has
a set in each.
"""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, Sensor
from posebridge.data.datasets.options import Split
from posebridge.data.frames import (
    FrameIndex,
    FrameLabels,
    IndexedFrames,
    LabelledFrames,
    RawFrame,
    UnreadableFrameError,
)
from posebridge.data.sample_codec import LABELS, decode_sample
from posebridge.data.shards import INDEX, SetIndex, Shard, check_plain_tar, load_index
from posebridge.data.subset import NamedJoints
from posebridge.errors import InputError
from posebridge.regular_files import open_file
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class _Member:
    """The place of one sample in its shard: offset and length in bytes of each of its files, by suffix."""

    shard: Path
    key: str
    places: Mapping[str, tuple[int, int]]

    def place(self) -> tuple[str, int, int] | None:
        """Sequence, frame and view; None for a single image, and where the labels are damaged."""
        try:
            labels = json.loads(self.read(LABELS)[LABELS])
            return str(labels["sequence"]), int(labels["frame"]), int(labels.get("view", 0))
        except (UnreadableFrameError, ValueError, KeyError, TypeError):
            return None

    def read(self, *suffixes: str) -> dict[str, bytes]:
        """The files of these suffixes; all of them without. Raises ``UnreadableFrameError`` where the shard is gone."""
        found = {}
        try:
            with open_file(self.shard) as file:
                for suffix, (offset, size) in self.places.items():
                    if not suffixes or suffix in suffixes:
                        file.seek(offset)
                        found[suffix] = file.read(size)
        except OSError as error:
            raise UnreadableFrameError(self.shard, error.strerror or "can't be read") from None
        return found


class RenderedFrames(IndexedFrames):
    """The samples of the finished shards, in order. Hands are right ones; keys are the samples' own."""

    def __init__(self, folder: str | Path, sensor: Sensor = "colour"):
        """Raises ``InputError`` where the folder holds no set, no finished shard, or a set of another sensor."""
        self.folder = Path(folder)
        self.index: SetIndex = load_index(self.folder)
        self.skipped: dict[str, str] = {}
        if not self.index.shards:
            raise InputError(f"{self.folder} holds no finished shard yet: let posebridge render go on with it")
        track, names = str(self.index.made_of.get("track")), self.index.made_of.get("joint_names")
        known = [skeleton for skeleton in (HAND21, H36M17) if list(skeleton.joints) == names]
        if not known:
            raise InputError(f"{self.folder / INDEX} names joints that this version does not render: render it again")
        self.skeleton = known[0]
        if (sensor == "depth") != track.endswith("depth"):
            name = "rendered-depth" if track.endswith("depth") else "rendered"
            raise InputError(f"{self.folder} is a set of track {track}: give it as {name}={self.folder}")
        self._members = [member for shard in self.index.shards for member in self._listed(shard)]
        if unfinished := self.index.count - self.index.samples:
            self.skipped[str(self.folder)] = f"{unfinished} of its {self.index.count} samples are not rendered yet"
        if not self._members:
            reason = next(iter(self.skipped.values()))
            raise InputError(f"{self.folder}: no sample can be read ({reason}); posebridge render makes it whole again")
        self._last: tuple[int, LabelledBatch] | None = None  # frame and labels of a sample are read in turn

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its sample is damaged."""
        sample = self._sample(index)
        assert sample.camera is not None
        return RawFrame(
            image=None if sample.image is None else _image(sample.image),
            key=sample.key[0],
            sequence="" if sample.sequence is None else sample.sequence[0],
            frame=0 if sample.frame is None else int(sample.frame),
            view=0 if sample.view is None else int(sample.view),
            K=sample.camera.K[0].double().numpy(),
            hand=None if self.skeleton.mirror_of else "right",
            depth_m=_array(sample.depth_label_m if sample.depth_m is None else sample.depth_m),
            T_world_cam=_array(sample.T_world_cam),
            centre_m=_array(sample.centre_m),
        )

    def labels(self, index: int) -> FrameLabels:
        """Labels of all joints, in the order of the set's skeleton."""
        sample = self._sample(index)
        assert sample.uv_px is not None
        assert sample.valid is not None
        valid = sample.valid[0].numpy()
        return FrameLabels(
            uv_px=sample.uv_px[0].double().numpy(),
            valid=valid,
            visible=valid.copy() if sample.visible is None else sample.visible[0].numpy(),
            joints_m=_array(sample.joints_m),
            mask=_array(sample.mask),
            hand_mask=_array(sample.hand_mask),
        )

    def frame_index(self) -> FrameIndex:
        """Sequence, number and view of every sample. Raises ``InputError`` for a set of single images."""
        rows = [member.place() for member in self._members]
        if all(row is None for row in rows):
            raise InputError(f"{self.folder}: its frames are single images; render videos with --frames")
        # A damaged sample is found when it is drawn. Here it is a sequence of its own.
        alone = (f"{member.shard.name}:{member.key}" for member in self._members)
        return FrameIndex.of(row or (own, 0, 0) for row, own in zip(rows, alone, strict=True))

    def _listed(self, shard: Shard) -> list[_Member]:
        """The samples of a shard, from the headers of its files."""
        places: dict[str, dict[str, tuple[int, int]]] = {}
        path = self.folder / shard.name
        try:
            check_plain_tar(path)
            with tarfile.open(path, "r:") as file:
                for member in file:
                    key, _, suffix = member.name.partition(".")
                    places.setdefault(key, {})[suffix] = (member.offset_data, member.size)
        except (OSError, tarfile.TarError) as error:
            self.skipped[str(path)] = getattr(error, "strerror", None) or "the file is damaged"
        if len(places) >= shard.samples and path.stat().st_size != shard.size_bytes:
            self.skipped[str(path)] = f"another file: {path.stat().st_size} bytes instead of {shard.size_bytes}"
            return []
        if len(places) < shard.samples:
            self.skipped[str(path)] = shard.missing(len(places), self.skipped.get(str(path)))
        return [_Member(path, key, own) for key, own in places.items()]

    def _sample(self, index: int) -> LabelledBatch:
        if self._last is None or self._last[0] != index:
            member = self._members[index]
            name = f"{member.shard}:{member.key}"
            sample = decode_sample(member.read(), self.index.coding, name)[1]
            if sample.uv_px is None or sample.uv_px.shape[1] != len(self.skeleton):
                raise UnreadableFrameError(name, f"it has other joints than {self.skeleton.name}")
            self._last = index, sample
        return self._last[1]


def _image(image: Tensor) -> np.ndarray:
    return (image[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _array(value: Tensor | None) -> np.ndarray | None:
    return None if value is None else value[0].numpy()


def open_rendered(root: str | Path, split: Split, skeleton: Skeleton, whole_set: bool = False) -> LabelledFrames:
    """A colour set. ``whole_set``: a single set is either split.

    Raises ``InputError`` as ``RenderedFrames`` does, for a skeleton of the other subject, and for the test split of a
    single set.
    """
    return _opened(_folder(Path(root), split, whole_set), "colour", skeleton)


def open_rendered_depth(root: str | Path, split: Split, whole_set: bool = False) -> LabelledFrames:
    """A set of depth, otherwise as ``open_rendered``."""
    return _opened(_folder(Path(root), split, whole_set), "depth", HAND21)


def _folder(root: Path, split: Split, whole_set: bool) -> Path:
    if not (root / INDEX).is_file():
        _check_apart(root)
        return root / split
    if split == "test" and not whole_set:
        raise InputError(
            f"{root} is a single set: give a folder of train/ and test/, or whole_set=true to score on the frames that "
            "are adapted to"
        )
    return root


def _check_apart(root: Path) -> None:
    """Raise ``InputError`` where ``train/`` and ``test/`` hold the same samples."""
    folders = [root / split for split in ("train", "test")]
    if all((folder / INDEX).is_file() for folder in folders):
        train, test = (load_index(folder).made_of for folder in folders)
        if train == test:
            raise InputError(f"{root}: train/ and test/ hold the same samples: render one of them with another --seed")


def _opened(folder: Path, sensor: Sensor, skeleton: Skeleton) -> LabelledFrames:
    frames = RenderedFrames(folder, sensor)
    if bool(frames.skeleton.mirror_of) != bool(skeleton.mirror_of):
        raise InputError(
            f"{folder} has the joints of {frames.skeleton.name}, and {skeleton.name} is requested: --joints chooses "
            "those of people"
        )
    return frames if frames.skeleton.name == skeleton.name else NamedJoints(frames, frames.skeleton, skeleton)
