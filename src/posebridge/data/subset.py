"""Views of readers: some of the frames, several readers as one, or joints in the order of another skeleton."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from posebridge.data.frames import FrameIndex, FrameLabels, LabelledFrames, RawFrame
from posebridge.skeletons.orders import convert
from posebridge.skeletons.skeleton import Skeleton


class ReaderView:
    """The frames of a reader as it returns them; base of views that change some of it."""

    def __init__(self, frames: LabelledFrames):
        self.frames = frames

    @property
    def skipped(self) -> dict[str, str]:
        """What the reader leaves out, with the reason."""
        return self.frames.skipped

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        return self.frames[index]

    def frame_index(self) -> FrameIndex:
        """The reader's index. Raises ``InputError`` for frames without sequences."""
        return self.frames.frame_index()

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels."""
        return self.frames.labels(index)


class Subset(ReaderView):
    """The frames at some positions of a reader."""

    def __init__(self, frames: LabelledFrames, positions: Sequence[int] | np.ndarray):
        super().__init__(frames)
        self.positions = np.asarray(positions, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        return super().__getitem__(int(self.positions[index]))

    def frame_index(self) -> FrameIndex:
        """The reader's index at these positions. Raises ``InputError`` for frames without sequences."""
        return super().frame_index().take(self.positions)

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels."""
        return super().labels(int(self.positions[index]))


def even_positions(length: int, count: int | None, round_down: bool = False) -> np.ndarray:
    """``count`` of ``length`` positions (n,) at even distances, the first and the last among them.

    All where there are no more, and for a count of None. Places between two positions become the nearest one, or with
    ``round_down`` the lower one. Each caller keeps its rounding, so that its earlier numbers stay comparable.
    """
    places = np.linspace(0, length - 1, length if count is None else min(count, length))
    return (places if round_down else places.round()).astype(int)


class Joined:
    """The frames of several readers, one after the other. Their sequences stay apart."""

    def __init__(self, *readers: LabelledFrames):
        self.readers = readers
        self._ends = np.cumsum([len(reader) for reader in readers])

    @property
    def skipped(self) -> dict[str, str]:
        """What the readers leave out, with the reason."""
        return {file: reason for reader in self.readers for file, reason in reader.skipped.items()}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        reader, own = self._place(index)
        return self.readers[reader][own]

    def frame_index(self) -> FrameIndex:
        """The readers' indices, sequences named by their reader. Raises ``InputError`` for frames without sequences."""
        parts = [reader.frame_index() for reader in self.readers]
        return FrameIndex(
            tuple(f"{number}:{name}" for number, part in enumerate(parts) for name in part.sequence),
            np.concatenate([part.frame for part in parts]),
            np.concatenate([part.view for part in parts]),
        )

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels."""
        reader, own = self._place(index)
        return self.readers[reader].labels(own)

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        reader = int(np.searchsorted(self._ends, index, side="right"))
        return reader, index - int(self._ends[reader]) + len(self.readers[reader])


class NamedJoints(ReaderView):
    """A reader with its joints in the order of another skeleton. Joints that the reader lacks are not valid.

    ``frames`` returns labels in the order of the skeleton ``own``. Without ``joint_of``, joints of the same canonical
    name are matched (see ``Skeleton``). With it, joints follow a benchmark's rule: ``joint_of`` maps joints of
    ``skeleton`` to joints of ``own``, and the other joints are matched by equal names.
    """

    def __init__(
        self,
        frames: LabelledFrames,
        own: Skeleton,
        skeleton: Skeleton,
        joint_of: Mapping[str, str] | None = None,
    ):
        """Raises ``InputError`` where the skeletons share no joint, ``ValueError`` for a rule that fits neither."""
        super().__init__(frames)
        self.skeleton = skeleton
        self._names = own.canonical_names if joint_of is None else _renamed(own, skeleton, joint_of)
        skeleton.order_of(self._names)  # raises where no joint is shared

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels in the order of ``skeleton``."""
        given = super().labels(index)
        uv_px, valid = convert(given.uv_px, given.valid, self._names, self.skeleton)
        _, visible = convert(given.uv_px, given.visible, self._names, self.skeleton)
        joints_m = None
        if given.joints_m is not None:
            joints_m, _ = convert(given.joints_m, given.valid, self._names, self.skeleton)
        return replace(given, uv_px=uv_px, valid=valid, visible=visible, joints_m=joints_m)


def _renamed(own: Skeleton, skeleton: Skeleton, joint_of: Mapping[str, str]) -> tuple[str, ...]:
    """The joints of ``own`` under the names of the joints of ``skeleton`` that they replace."""
    if unknown := sorted({*joint_of.values()} - {*own.joints} | {*joint_of} - {*skeleton.joints}):
        raise ValueError(f"the rule names {', '.join(unknown)}, which {skeleton.name} or {own.name} lacks")
    stands_for = {joint_of.get(joint, joint): joint for joint in skeleton.joints}
    if len(stands_for) < len(skeleton):
        raise ValueError(f"the rule gives one joint of {own.name} for two of {skeleton.name}")
    # A name that no skeleton has leaves out a joint that replaces none.
    return tuple(stands_for.get(joint, f"{own.name}:{joint}") for joint in own.joints)
