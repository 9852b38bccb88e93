"""A reader's frames, some of them, or with their joints under other names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from posebridge.data.frames import FrameLabels, LabelledFrames, RawFrame
from posebridge.skeletons.orders import convert
from posebridge.skeletons.skeleton import Skeleton


class ChosenFrames:
    """The frames at some positions of a reader."""

    def __init__(self, frames: LabelledFrames, positions: Sequence[int] | np.ndarray):
        self.frames = frames
        self.positions = np.asarray(positions, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame; raises ``UnreadableFrameError`` where its file is broken."""
        return self.frames[int(self.positions[index])]

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels."""
        return self.frames.labels(int(self.positions[index]))


class NamedJoints:
    """A reader whose joints stand for those of another skeleton, by a benchmark's rule instead of by anatomy.

    ``joint_of`` names, for joints of ``skeleton``, the joint of the reader's skeleton ``own`` that stands for each;
    other joints are those of the same name. What the reader lacks is not valid.
    """

    def __init__(self, frames: LabelledFrames, own: Skeleton, skeleton: Skeleton, joint_of: Mapping[str, str]):
        self.frames = frames
        self.skeleton = skeleton
        self.skipped: dict[str, str] = getattr(frames, "skipped", {})
        if unknown := sorted({*joint_of.values()} - {*own.joints} | {*joint_of} - {*skeleton.joints}):
            raise ValueError(f"neither {own.name} nor {skeleton.name} has {', '.join(unknown)} where it is named")
        meant_by = {joint_of.get(joint, joint): joint for joint in skeleton.joints}
        if len(meant_by) < len(skeleton):
            raise ValueError(f"a joint of {own.name} stands for two of {skeleton.name}")
        # A name that no skeleton has keeps a joint out that stands for none.
        self._names = tuple(meant_by.get(joint, f"{own.name}:{joint}") for joint in own.joints)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame; raises ``UnreadableFrameError`` where its file is broken."""
        return self.frames[index]

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels in the order of ``skeleton``."""
        given = self.frames.labels(index)
        uv_px, valid = convert(given.uv_px, given.valid, self._names, self.skeleton)
        _, visible = convert(given.uv_px, given.visible, self._names, self.skeleton)
        joints_m = None
        if given.joints_m is not None:
            joints_m, _ = convert(given.joints_m, given.valid, self._names, self.skeleton)
        return replace(given, uv_px=uv_px, valid=valid, visible=visible, joints_m=joints_m)
