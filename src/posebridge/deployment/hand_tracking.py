"""One hand, from frame to frame of a depth camera: each cube sits where the hand was last seen."""

from dataclasses import dataclass, replace

import numpy as np

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.depth_centre import BlobConfig, depth_centre
from posebridge.data.filled_cubes import EMPTY, holds_hand
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands
from posebridge.errors import InputError


@dataclass(frozen=True)
class TrackingConfig:
    """When a hand counts as lost."""

    lost_m: float = 0.02  # a mesh that is so far from the depth isn't that of this hand
    looks: int = 2  # at a hand that was found anew, each around the joints of the look before


@dataclass(frozen=True)
class TrackedHand:
    """A frame's hand and the crop that it was seen in."""

    crop: UnlabelledBatch
    hands: DepthHands
    found_anew: bool  # by the nearest blob, not where the frame before had it


class HandTracker:
    """Call it with one frame after the other. It starts anew with each sequence, and where the hand is lost."""

    def __init__(
        self,
        predictor: DepthHandPredictor,
        crop: CubeCropConfig,
        blob: BlobConfig | None = None,
        config: TrackingConfig | None = None,
    ):
        """``blob``: what counts as a hand where one has to be found. ``crop``: of the predictor's size and cube."""
        self.predictor = predictor
        self.crop = crop
        self.blob = blob
        self.config = config or TrackingConfig()
        self._last: dict[tuple[str, int], np.ndarray] = {}  # by sequence and view: middle of the joints (3,) metres

    def __call__(self, frame: RawFrame) -> TrackedHand:
        """The frame's hand. Raises ``UnreadableFrameError`` where no hand is found, and then starts anew."""
        last_m = self._last.pop((frame.sequence, frame.view), None)
        if last_m is not None and frame.centre_m is None:
            followed = self._look(frame, last_m)
            if followed is not None and followed[1].apart_m.item() < self.config.lost_m:
                return self._keep(frame, TrackedHand(*followed, found_anew=False))
        return self._keep(frame, self.find(frame))

    def find(self, frame: RawFrame) -> TrackedHand:
        """The hand of a frame that follows no other. Raises ``UnreadableFrameError`` where none is found.

        Of several looks the one counts in which the mesh explains most of what was measured. Where the frame says where
        its hand is, there is one look, and it is there.
        """
        assert frame.depth_m is not None
        assert frame.K is not None
        centre_m = frame.centre_m
        try:
            if centre_m is None:
                centre_m = depth_centre(frame.depth_m, frame.K, self.blob)
        except InputError as error:
            raise UnreadableFrameError(frame.key, str(error)) from None
        seen, looks = None, self.config.looks if frame.centre_m is None else 1
        for _ in range(looks):
            again = self._look(frame, centre_m)
            if again is None:
                break
            if seen is None or again[1].explained.item() >= seen[1].explained.item():
                seen = again
            centre_m = _middle(again[1])
        if seen is None:
            raise UnreadableFrameError(frame.key, EMPTY)
        return TrackedHand(*seen, found_anew=True)

    def _look(self, frame: RawFrame, centre_m: np.ndarray) -> tuple[UnlabelledBatch, DepthHands] | None:
        """What a cube around a centre shows; None where it is behind the camera, or empty."""
        if not (np.isfinite(centre_m).all() and centre_m[2] > 0):
            return None
        crop = crop_cube(replace(frame, centre_m=centre_m), self.crop)
        if not holds_hand(crop, self.crop.cube_m):
            return None
        return crop, self.predictor(crop.to(self.predictor.device), fused=False)

    def _keep(self, frame: RawFrame, tracked: TrackedHand) -> TrackedHand:
        self._last[frame.sequence, frame.view] = _middle(tracked.hands)
        return tracked


def _middle(hands: DepthHands) -> np.ndarray:
    """By the pixels: a mesh that is fitted wrongly would lead the cube astray."""
    return hands.pixel_joints_m[0].mean(0).cpu().double().numpy()
