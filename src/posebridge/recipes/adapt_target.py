"""A user's frames, loaded into memory: with sequences of one shot each where a method needs pairs of frames."""

import json
from dataclasses import dataclass
from pathlib import Path

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.files import write_atomically
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig, PairStream, pairs_of
from posebridge.data.sequences import Sequences, ShotDetector
from posebridge.data.target import TargetConfig, open_target
from posebridge.deployment.predict_files import list_skipped
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

SEQUENCES = "sequences.json"


@dataclass(frozen=True)
class AdaptTarget:
    """The frames, what was left out and why, and what was found of their sequences where that was asked."""

    frames: InMemoryDataset[UnlabelledBatch]
    skipped: dict[str, str]
    sequences: Sequences | None = None

    @property
    def camera_moves(self) -> bool:
        """Whether a background at rest would be wrong in some sequence."""
        return self.sequences is not None and bool(self.sequences.moving)

    def notes(self) -> tuple[str, ...]:
        """What was found and done about it, a line each."""
        if self.sequences is None:
            return ()
        redrawn = ("redrawn frames therefore have a background that moves by a predicted affine map",)
        return self.sequences.notes() + (redrawn if self.camera_moves else ())

    def pairs(self, count: int, config: PairConfig, seed: int) -> PairStream[UnlabelledBatch]:
        """Batches of ``count`` pairs of frames of one shot."""
        if self.sequences is None:
            raise ValueError("the target's sequences were not asked for")
        return PairStream(self.sequences.applied(self.frames), count, seed, config)

    def tell(self, folder: Path) -> None:
        """Say what was left out and what was found, and write both into the run's folder."""
        if self.skipped:
            listed = list_skipped(folder, len(self.frames), self.skipped)
            print(f"{len(self.skipped)} files could not be used; they are listed in {listed}")
        for line in self.notes():
            print(line)
        if self.sequences is not None:
            found = {"scene_cuts_before": self.sequences.cuts, "camera_motion": dict(self.sequences.motion)}
            write_atomically(folder / SEQUENCES, json.dumps(found, indent=1, ensure_ascii=False).encode())


def load_target(config: TargetConfig, skeleton: Skeleton, pairs: PairConfig | None) -> AdaptTarget:
    """Read the frames; ``pairs`` are those that the method needs, None where it needs none.

    Raises ``InputError`` for what can't be read, for a word on hands where people are meant, and where pairs are needed
    and no two frames make one.
    """
    frames = open_target(config)
    if frames.crop.hand is not None and skeleton.mirror_of:
        raise InputError("people have both hands: leave --hand out, and hand from the boxes, or choose --subject hand")
    if pairs is None:
        dataset = InMemoryDataset(frames)
        return AdaptTarget(dataset, frames.skipped)
    detector = ShotDetector()
    dataset = InMemoryDataset(detector.observed(frames.with_files()))
    sequences = detector.sequences(pairs, photos=frames.single_files)
    try:
        pairs_of(sequences.applied(dataset).without_images(), pairs)
    except InputError:
        raise InputError(
            f"{config.path}: {sequences.without_pairs(pairs.stride)}; give videos, a folder of images for each "
            "sequence or another --stride, or adapt by integrated-pseudo-labels, which needs no pairs"
        ) from None
    return AdaptTarget(dataset, frames.skipped, sequences)
