"""Tracking of one hand in a depth stream: each cube is centred at the hand of the frame before."""

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
    """When a hand counts as lost, and how a new one is located."""

    lost_m: float = 0.02  # a hand is lost where its mesh differs from the depth by more
    refine_steps: int = 2  # crops of a newly detected hand, each around the joints predicted from the one before


@dataclass(frozen=True)
class TrackedHand:
    """A frame's hand and the crop that it was predicted from."""

    crop: UnlabelledBatch
    hands: DepthHands
    newly_detected: bool  # by the nearest blob, not by the frame before


class HandTracker:
    """Predicts the hand of one frame after another; detects it again in each sequence and where it was lost."""

    def __init__(
        self,
        predictor: DepthHandPredictor,
        crop: CubeCropConfig,
        blob: BlobConfig | None = None,
        config: TrackingConfig | None = None,
    ):
        """``blob``: which surfaces may be a hand. ``crop``: size and cube of the predictor's crops."""
        self.predictor = predictor
        self.crop = crop
        self.blob = blob
        self.config = config or TrackingConfig()
        self._last: dict[tuple[str, int], np.ndarray] = {}  # by sequence and view: mean of the joints (3,) metres

    def __call__(self, frame: RawFrame) -> TrackedHand:
        """The frame's hand. Raises ``UnreadableFrameError`` where none is found; the next frame is then a first one."""
        last_m = self._last.pop((frame.sequence, frame.view), None)
        if last_m is not None and frame.centre_m is None:
            followed = self._predict_around(frame, last_m)
            if followed is not None and followed[1].depth_error_m.item() < self.config.lost_m:
                return self._remember(frame, TrackedHand(*followed, newly_detected=False))
        return self._remember(frame, self.detect(frame))

    def detect(self, frame: RawFrame) -> TrackedHand:
        """The hand of a frame by itself. Raises ``UnreadableFrameError`` where none is found.

        Of ``refine_steps`` crops the one is returned whose mesh explains most of the measured depth. A frame with a
        centre of its own gets one crop, around that centre.
        """
        assert frame.depth_m is not None
        assert frame.K is not None
        centre_m = frame.centre_m
        try:
            if centre_m is None:
                centre_m = depth_centre(frame.depth_m, frame.K, self.blob)
        except InputError as error:
            raise UnreadableFrameError(frame.key, str(error)) from None
        best, steps = None, self.config.refine_steps if frame.centre_m is None else 1
        for _ in range(steps):
            refined = self._predict_around(frame, centre_m)
            if refined is None:
                break
            if best is None or refined[1].explained_frac.item() >= best[1].explained_frac.item():
                best = refined
            centre_m = _middle(refined[1])
        if best is None:
            raise UnreadableFrameError(frame.key, EMPTY)
        return TrackedHand(*best, newly_detected=True)

    def _predict_around(self, frame: RawFrame, centre_m: np.ndarray) -> tuple[UnlabelledBatch, DepthHands] | None:
        """Crop and hand of the cube around a centre; None where it is behind the camera, or empty."""
        if not (np.isfinite(centre_m).all() and centre_m[2] > 0):
            return None
        crop = crop_cube(replace(frame, centre_m=centre_m), self.crop)
        if not holds_hand(crop, self.crop.cube_m):
            return None
        return crop, self.predictor(crop.to(self.predictor.device), fused=False)

    def _remember(self, frame: RawFrame, tracked: TrackedHand) -> TrackedHand:
        self._last[frame.sequence, frame.view] = _middle(tracked.hands)
        return tracked


def _middle(hands: DepthHands) -> np.ndarray:
    """Mean of the pixel-wise head's joints (3,): the cube then doesn't follow a mesh that fits badly."""
    return hands.pixel_joints_m[0].mean(0).cpu().double().numpy()
