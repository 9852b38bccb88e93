"""What pairs of frames need of a target: sequences of one shot each, and a word on how far their camera moves."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from posebridge.contracts.batch import BatchT, UnlabelledBatch
from posebridge.data.frames import RawFrame
from posebridge.data.glimpse import Glimpse, camera_motion, difference, glimpse
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig

CAMERA_MOVES = 0.02  # of the crop's side between the frames of a pair: less passes for a camera at rest
_NEAR = 12  # frames before a boundary and after it that tell how much frames differ anyway
_LEAST_JUMP = 0.2  # of the difference at a cut over that; two places differ by about 0.8
_TIMES_SPREAD = 6.0  # and by how many deviations: where all jumps, a jump is no cut
_ALIKE = 0.1  # neighbours that differ by less follow one another whatever the rest does
# Of the difference of far frames: photos whose neighbours differ by more are in no order. The second is for fewer
# photos than that, which don't lie far apart.
_UNORDERED, _UNORDERED_FEW, _FEW = 0.65, 0.85, 12
_ASKED = 40  # neighbours, at most, by which the order is judged
_MEASURED = 16  # pairs of a sequence, at most, by which a camera is judged
_NAMED = 3  # cuts that are named in a line


@dataclass(frozen=True)
class Sequences:
    """A target's frames as sequences of one shot each, and what was found on the way."""

    names: tuple[str, ...]  # of each frame's sequence, in the order of the frames
    frames: tuple[int, ...]
    cuts: tuple[str, ...] = ()  # keys of the frames that begin a new shot
    photos: int = 0  # frames that follow no other one: each is a sequence of its own
    motion: Mapping[str, float] = field(default_factory=dict)  # of the background within a pair, by sequence

    @property
    def moving(self) -> dict[str, float]:
        """Sequences whose camera moves, and how far between the frames of a pair: shares of the crop's side."""
        return {name: share for name, share in self.motion.items() if share > CAMERA_MOVES}

    def applied(self, dataset: InMemoryDataset[BatchT]) -> InMemoryDataset[BatchT]:
        """The same frames, in these sequences."""
        return dataset.map(lambda batch: replace(batch, sequence=self.names))

    def notes(self) -> tuple[str, ...]:
        """What was found and done, a line each."""
        lines = []
        if self.cuts:
            more = f" and {len(self.cuts) - _NAMED} more" if len(self.cuts) > _NAMED else ""
            where = ", ".join(self.cuts[:_NAMED])
            found = _count(len(self.cuts), "scene cut")
            lines.append(f"{found} found, before {where}{more}: no pair of frames lies across a cut")
        if self.photos:
            lines.append(f"{self.photos} photos don't follow one another: no pair of frames has one of them")
        if self.moving:
            furthest = max(self.moving, key=self.moving.__getitem__)
            lines.append(
                f"the camera moves in {len(self.moving)} of {len(self.motion)} sequences, by "
                f"{100 * self.moving[furthest]:.0f} % of the crop's side within a pair of frames of "
                f"{furthest or 'the folder'}"
            )
        return tuple(lines)

    def without_pairs(self, stride: tuple[int, int]) -> str:
        """Why no two frames make a pair, for a person who expected some."""
        low, high = stride
        return f"no two frames of one sequence are {low} to {high} frames apart: {self._told()}"

    def _told(self) -> str:
        if len(self.frames) == 1:
            return "there is one frame"
        if self.photos == len(self.frames):
            return f"the {self.photos} photos don't follow one another"
        numbers: dict[str, list[int]] = defaultdict(list)
        for name, frame in zip(self.names, self.frames, strict=True):
            numbers[name].append(frame)
        longest = max(numbers.values(), key=len)
        longest_has = f"the longest of {len(numbers)} sequences has" if len(numbers) > 1 else "there are"
        cuts = f" after {_count(len(self.cuts), 'cut')}" if self.cuts else ""
        step = int(np.diff(sorted(longest)).min()) if len(longest) > 1 else 1
        apart = f", every {step}th one" if step > 1 else ""
        return f"{longest_has} {_count(len(longest), 'frame')}{apart}{cuts}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class FrameWatch:
    """Looks at a target's frames as they go by, and keeps a glance of each."""

    def __init__(self) -> None:
        self.glimpses: list[Glimpse] = []

    def watched(self, frames: Iterable[tuple[RawFrame, UnlabelledBatch]]) -> Iterator[UnlabelledBatch]:
        """The crops, each a batch of one, of frames that were looked at."""
        for frame, crop in frames:
            self.glimpses.append(glimpse(frame, crop))
            yield crop

    def sequences(self, config: PairConfig, photos: bool) -> Sequences:
        """What was seen, once all frames went by. ``photos``: single files, which may be in no order at all."""
        names = [each.sequence for each in self.glimpses]
        cuts: list[str] = []
        motion: dict[str, float] = {}
        lonely = 0
        for positions in self._filmed():
            seen = [self.glimpses[i] for i in positions]
            if photos and not in_order(seen):
                lonely += len(seen)
                for i in positions:
                    names[i] = self.glimpses[i].key
                continue
            starts = find_cuts(seen)
            cuts += [seen[start].key for start in starts]
            for number, (start, end) in enumerate(zip([0, *starts], [*starts, len(seen)], strict=True), 1):
                name = f"{seen[0].sequence}#{number}" if starts else seen[0].sequence
                for i in positions[start:end]:
                    names[i] = name
                moved = measure_motion(seen[start:end], config.stride)
                if moved is not None:
                    motion[name] = max(moved, motion.get(name, 0.0))
        return Sequences(tuple(names), tuple(each.frame for each in self.glimpses), tuple(cuts), lonely, motion)

    def _filmed(self) -> list[list[int]]:
        """Positions of the frames of each sequence and view, in the order of their numbers."""
        members: dict[tuple[str, int], list[int]] = defaultdict(list)
        for i, each in enumerate(self.glimpses):
            members[each.sequence, each.view].append(i)
        return [sorted(positions, key=lambda i: self.glimpses[i].frame) for positions in members.values()]


def find_cuts(seen: Sequence[Glimpse]) -> list[int]:
    """Positions at which a new shot begins, in a sequence in the order of its frames.

    There, frames differ by far more than their neighbours do among themselves, and neither of the two frames before
    looks like one of the two from there on: so a flash or one damaged frame is no cut.
    """
    steps = np.array([difference(a, b) for a, b in pairwise(seen)])
    cuts = []
    for i, jump in enumerate(steps):
        around = np.concatenate([steps[max(0, i - _NEAR) : i], steps[i + 1 : i + 1 + _NEAR]])
        usual = float(np.median(around)) if len(around) else 0.0
        spread = 1.4826 * float(np.median(np.abs(around - usual))) if len(around) else 0.0
        least = usual + max(_LEAST_JUMP, _TIMES_SPREAD * spread)
        if jump > least and _across(seen, i + 1) > least:
            cuts.append(i + 1)
    return cuts


def _across(seen: Sequence[Glimpse], start: int) -> float:
    """The smallest difference of one of the two frames before a boundary and one of the two after it."""
    before, after = seen[max(0, start - 2) : start], seen[start : start + 2]
    return min(difference(a, b) for a in before for b in after)


def in_order(photos: Sequence[Glimpse]) -> bool:
    """Whether neighbours are more alike than photos far apart, as frames of a video are."""
    count = len(photos)
    if count < 4:
        return True
    asked = np.unique(np.linspace(1, count - 1, min(count - 1, _ASKED)).astype(int))
    near = float(np.median([difference(photos[i - 1], photos[i]) for i in asked]))
    if near < _ALIKE:
        return True
    far = float(np.median([difference(photos[i], photos[(i + count // 2) % count]) for i in asked]))
    return near < (_UNORDERED if count >= _FEW else _UNORDERED_FEW) * far


def measure_motion(seen: Sequence[Glimpse], stride: tuple[int, int]) -> float | None:
    """The median motion of the background over pairs of one shot; None where the shot has no pair."""
    numbers = np.array([each.frame for each in seen])
    first = np.searchsorted(numbers, numbers + max(1, stride[0]))
    last = np.searchsorted(numbers, numbers + stride[1] + 1) - 1
    bases = np.flatnonzero(first <= last)
    if not len(bases):
        return None
    chosen = bases[np.unique(np.linspace(0, len(bases) - 1, min(len(bases), _MEASURED)).astype(int))]
    pairs = [(int(i), int(first[i] + last[i]) // 2) for i in chosen]
    return float(np.median([camera_motion(seen[base], seen[driving]) for base, driving in pairs]))
