"""A target's videos as sequences of one shot each, with the motion of their cameras: what pairs of frames need."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from posebridge.contracts.batch import BatchT, UnlabelledBatch
from posebridge.data.frames import RawFrame
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig
from posebridge.data.shot_features import ShotFeatures, camera_motion, shot_difference, shot_features
from posebridge.data.subset import even_positions

MOVING_CAMERA_FRAC = 0.02  # of the crop's side between the frames of a pair: a camera with less counts as static
_NEIGHBOURS = 12  # frames before and after a boundary, whose differences are the usual ones
_MIN_JUMP = 0.2  # a cut exceeds the usual difference by this; two places differ by about 0.8
_DEVIATIONS = 6.0  # and by that many deviations of the usual differences
_SIMILAR = 0.1  # neighbours with a smaller difference are in order, whatever the other frames are
# Photos are in no order where neighbours differ by more than this fraction of the difference of distant ones. The
# second is for fewer than ``_FEW`` photos, whose distant ones are not far apart.
_UNORDERED, _UNORDERED_FEW, _FEW = 0.65, 0.85, 12
_ORDER_SAMPLES = 40  # neighbours, at most, by which the order is measured
_MOTION_SAMPLES = 16  # pairs of a sequence, at most, by which its camera's motion is measured
_LISTED = 3  # cuts that a note lists


@dataclass(frozen=True)
class Sequences:
    """A target's N frames as sequences of one shot each, with cuts and camera motion."""

    names: tuple[str, ...]  # N names of the frames' sequences
    frames: tuple[int, ...]  # N numbers of the frames within them
    cuts: tuple[str, ...] = ()  # keys of the frames that begin a new shot
    photos: int = 0  # frames in no order: each is a sequence of its own
    motion: Mapping[str, float] = field(default_factory=dict)  # by sequence: fraction of the crop's side within a pair

    @property
    def moving(self) -> dict[str, float]:
        """Motion of the sequences with a moving camera, by name: fractions of the crop's side within a pair."""
        return {name: motion for name, motion in self.motion.items() if motion > MOVING_CAMERA_FRAC}

    def applied(self, dataset: InMemoryDataset[BatchT]) -> InMemoryDataset[BatchT]:
        """The frames with these names of sequences."""
        return dataset.map(lambda batch: replace(batch, sequence=self.names))

    def notes(self) -> tuple[str, ...]:
        """Cuts, photos and camera motion in one line each."""
        lines = []
        if self.cuts:
            more = f" and {len(self.cuts) - _LISTED} more" if len(self.cuts) > _LISTED else ""
            where = ", ".join(self.cuts[:_LISTED])
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
        """An error message: why no two frames make a pair."""
        low, high = stride
        return f"no two frames of one sequence are {low} to {high} frames apart: {self._reason()}"

    def _reason(self) -> str:
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


class ShotDetector:
    """Collects features of a target's frames while they are read, and finds shots and camera motion from them."""

    def __init__(self) -> None:
        self.features: list[ShotFeatures] = []

    def observed(self, frames: Iterable[tuple[RawFrame, UnlabelledBatch]]) -> Iterator[UnlabelledBatch]:
        """Yields the crops, each a batch of one, and keeps the features of their frames."""
        for frame, crop in frames:
            self.features.append(shot_features(frame, crop))
            yield crop

    def sequences(self, config: PairConfig, photos: bool) -> Sequences:
        """The sequences of the frames observed so far. ``photos``: frames are single files, perhaps in no order."""
        names = [each.sequence for each in self.features]
        cuts: list[str] = []
        motion: dict[str, float] = {}
        unordered = 0
        for positions in self._videos():
            frames = [self.features[i] for i in positions]
            if photos and not in_order(frames):
                unordered += len(frames)
                for i in positions:
                    names[i] = self.features[i].key
                continue
            starts = find_cuts(frames)
            cuts += [frames[start].key for start in starts]
            for number, (start, end) in enumerate(zip([0, *starts], [*starts, len(frames)], strict=True), 1):
                name = f"{frames[0].sequence}#{number}" if starts else frames[0].sequence
                for i in positions[start:end]:
                    names[i] = name
                moved = measure_motion(frames[start:end], config.stride)
                if moved is not None:
                    motion[name] = max(moved, motion.get(name, 0.0))
        return Sequences(tuple(names), tuple(each.frame for each in self.features), tuple(cuts), unordered, motion)

    def _videos(self) -> list[list[int]]:
        """Positions of the frames of each sequence and view, in the order of their numbers."""
        members: dict[tuple[str, int], list[int]] = defaultdict(list)
        for i, each in enumerate(self.features):
            members[each.sequence, each.view].append(i)
        return [sorted(positions, key=lambda i: self.features[i].frame) for positions in members.values()]


def find_cuts(frames: Sequence[ShotFeatures]) -> list[int]:
    """Positions at which a new shot begins, in a sequence in the order of its frames.

    At a cut, frames differ by far more than neighbours usually do. Both of the two frames before it also differ from
    the two after it, so a flash or one damaged frame is no cut.
    """
    steps = np.array([shot_difference(a, b) for a, b in pairwise(frames)])
    cuts = []
    for i, jump in enumerate(steps):
        around = np.concatenate([steps[max(0, i - _NEIGHBOURS) : i], steps[i + 1 : i + 1 + _NEIGHBOURS]])
        usual = float(np.median(around)) if len(around) else 0.0
        spread = 1.4826 * float(np.median(np.abs(around - usual))) if len(around) else 0.0
        least = usual + max(_MIN_JUMP, _DEVIATIONS * spread)
        if jump > least and _across(frames, i + 1) > least:
            cuts.append(i + 1)
    return cuts


def _across(frames: Sequence[ShotFeatures], start: int) -> float:
    """The smallest difference of one of the two frames before a boundary and one of the two after it."""
    before, after = frames[max(0, start - 2) : start], frames[start : start + 2]
    return min(shot_difference(a, b) for a in before for b in after)


def in_order(photos: Sequence[ShotFeatures]) -> bool:
    """Whether neighbours are more similar than distant photos, as frames of a video are."""
    count = len(photos)
    if count < 4:
        return True
    sampled = 1 + even_positions(count - 1, _ORDER_SAMPLES, round_down=True)
    near = float(np.median([shot_difference(photos[i - 1], photos[i]) for i in sampled]))
    if near < _SIMILAR:
        return True
    far = float(np.median([shot_difference(photos[i], photos[(i + count // 2) % count]) for i in sampled]))
    return near < (_UNORDERED if count >= _FEW else _UNORDERED_FEW) * far


def measure_motion(frames: Sequence[ShotFeatures], stride: tuple[int, int]) -> float | None:
    """The median motion of the background over pairs of one shot; None where the shot has no pair."""
    numbers = np.array([each.frame for each in frames])
    first = np.searchsorted(numbers, numbers + max(1, stride[0]))
    last = np.searchsorted(numbers, numbers + stride[1] + 1) - 1
    bases = np.flatnonzero(first <= last)
    if not len(bases):
        return None
    chosen = bases[even_positions(len(bases), _MOTION_SAMPLES, round_down=True)]
    pairs = [(int(i), int(first[i] + last[i]) // 2) for i in chosen]
    return float(np.median([camera_motion(frames[base], frames[driving]) for base, driving in pairs]))
