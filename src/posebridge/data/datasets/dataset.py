"""What an entry of the table of datasets holds, and how it opens its reader.

Imports neither numpy nor torch: help texts and choices of the commands are made from the table. A reader's module is
imported when it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posebridge.contracts.source_labels import SourceLabel, SourceLabels
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from posebridge.data.frames import LabelledFrames
    from posebridge.skeletons.skeleton import Skeleton

Subject = Literal["hand", "body"]
Sensor = Literal["colour", "depth"]
# "annotated": each frame has its own. "unspecified": not stated by the release. None: bodies.
ShownHand = Literal["left", "right", "annotated", "unspecified"]

# Options that load labels beside the joints.
_OPTION_OF: dict[SourceLabel, str] = {
    "mask": "masks",
    "hand_mask": "masks",
    "depth": "depth",
    "vertices": "vertices",
}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset: what it shows, which labels it offers, and its reader."""

    name: str  # in commands
    title: str  # in the papers' tables
    subject: Subject | None  # None: the user's own set, of either
    sensor: Sensor
    skeleton: str | None  # name of the reader's skeleton; None: the caller names one
    splits: tuple[Split, ...]
    labels: tuple[SourceLabel, ...]
    joints_3d: bool  # joints have places in metres, not in pixels alone
    hand: ShownHand | None
    sequences: bool  # frames are videos, so that pairs of frames can be drawn
    contents: str  # what lies in its folder
    reader: str  # "module:callable", called with (folder, split, **options)
    options: tuple[str, ...] = ()  # names of ``DatasetOptions`` that the reader takes
    takes_skeleton: bool = False  # the reader takes ``skeleton`` and converts its joints to it by name
    body_joints: str = "mpii16"  # of bodies as a source: the skeleton that a network learns from it
    own_centres: bool = False  # of depth: frames bring the centres of their cubes, made from labels
    moving_camera: bool = False  # the background moves in the crops
    labels_need: str | None = None  # an option without which no joint is labelled

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints of its skeleton, in their order; empty where the caller names the skeleton."""
        return () if self.skeleton is None else self._own_skeleton().joints

    @property
    def scored_joints(self) -> tuple[str, ...]:
        """The joints that its benchmark scores."""
        from posebridge.data.datasets.joint_rules import UNSCORED_JOINTS

        unscored = UNSCORED_JOINTS.get(self.name, ())
        return tuple(joint for joint in self.joints if joint not in unscored)

    def loading(self, labels: SourceLabels, options: DatasetOptions | None = None) -> DatasetOptions:
        """``options`` with which the reader loads these labels and no others, since reading some takes long.

        Raises ``InputError`` for a label that the dataset doesn't offer.
        """
        if missing := sorted(labels - {*self.labels}):
            raise InputError(f"{self.name} has no label {missing[0]}: it has {', '.join(self.labels)}")
        loaded = {option: False for option in _OPTION_OF.values() if option in self.options}
        loaded |= {_OPTION_OF[label]: True for label in labels if _OPTION_OF.get(label) in self.options}
        return replace(options or DatasetOptions(), **loaded)

    def check_labelled(self, options: DatasetOptions | None = None) -> None:
        """Raise ``InputError`` where no joint is labelled with these options."""
        if self.labels_need is not None and self.labels_need not in (options or DatasetOptions()).given():
            raise InputError(f"{self.name}: no joint is labelled without the option {self.labels_need}")

    def open(
        self,
        folder: str | Path,
        split: Split,
        options: DatasetOptions | None = None,
        skeleton: str | None = None,
    ) -> LabelledFrames:
        """The reader of a split, its labels in the order of ``skeleton`` (None: the dataset's own).

        Joints follow the benchmark's rule for that skeleton (``joint_rules``) where there is one, and go by place
        otherwise. Joints that the dataset lacks are not valid.
        Raises ``InputError`` for a folder, split, option or skeleton that the dataset doesn't have, and as the reader.
        """
        given = (options or DatasetOptions()).given()
        self._check(Path(folder), split, given)
        if "centres" in given:
            given["centres"] = _centres(given["centres"], split)
        wanted = self._skeleton(skeleton)
        module, _, name = self.reader.partition(":")
        read = getattr(import_module(f"posebridge.data.datasets.{module}"), name)
        if self.takes_skeleton and not self._rule(wanted):
            return read(Path(folder), split, skeleton=wanted, **given)
        return self._converted(read(Path(folder), split, **given), wanted)

    def _converted(self, frames: LabelledFrames, skeleton: Skeleton) -> LabelledFrames:
        """The frames with joints in the order of another skeleton than the reader's."""
        from posebridge.data.subset import NamedJoints

        own = self._own_skeleton()
        return frames if skeleton.name == own.name else NamedJoints(frames, own, skeleton, self._rule(skeleton))

    def _rule(self, skeleton: Skeleton) -> Mapping[str, str] | None:
        from posebridge.data.datasets.joint_rules import STAND_INS

        return STAND_INS.get((self.name, skeleton.name))

    def _skeleton(self, name: str | None) -> Skeleton:
        """The requested skeleton. Raises ``InputError`` for one of the other subject."""
        from posebridge.skeletons.named import skeleton_named

        if name is None:
            return self._own_skeleton()
        skeleton = skeleton_named(name)
        if self.subject is not None and bool(skeleton.mirror_of) != (self.subject == "body"):
            raise InputError(f"{self.name} shows a {self.subject}: its joints can't be those of {name}")
        return skeleton

    def _own_skeleton(self) -> Skeleton:
        from posebridge.skeletons.named import skeleton_named

        if self.skeleton is None:
            raise InputError(f"{self.name} may hold any joints: name a skeleton")
        return skeleton_named(self.skeleton)

    def _check(self, folder: Path, split: Split, given: dict[str, Any]) -> None:
        if split not in self.splits:
            raise InputError(f"{self.name} has no split {split!r}: it has {', '.join(self.splits)}")
        if unknown := [name for name in given if name not in self.options]:
            offered = f"it takes {', '.join(self.options)}" if self.options else "it takes none"
            raise InputError(f"{self.name} has no option {unknown[0]!r}: {offered}")
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: give the one of {self.name}, which holds {self.contents}")


def _centres(given: str | Path, split: Split) -> str | Path:
    """ "blob" and "labels" as they are; of a folder, the split's file."""
    return given if given in ("blob", "labels", "none") else Path(given) / f"{split}.txt"
