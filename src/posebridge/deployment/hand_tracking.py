"""Tracking of one hand in a depth stream: each cube is centred at the hand of the frame before."""

from dataclasses import dataclass

import numpy as np

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.depth_centre import BlobConfig
from posebridge.data.filled_cubes import EMPTY, filled_cube, holds_hand
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.located_frames import located
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands
from posebridge.deployment.refined_crops import predicted_middle, refined_crops


@dataclass(frozen=True)
class TrackingConfig:
    """When a hand counts as lost, and how a new one is located."""

    lost_m: float = 0.02  # a hand is lost where its mesh differs from the depth by more


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
            if followed is not None and followed.hands.depth_error_m.item() < self.config.lost_m:
                return self._remember(frame, followed)
        return self._remember(frame, self.detect(frame))

    def detect(self, frame: RawFrame) -> TrackedHand:
        """The hand of a frame by itself, in its second crop (``refined_crops``).

        A frame with a centre of its own gets one crop, around that centre. Raises ``UnreadableFrameError`` where none
        is found.
        """
        first = crop_cube(located(frame, self.blob), self.crop)
        if not holds_hand(first, self.crop.cube_m):
            raise UnreadableFrameError(frame.key, EMPTY)
        crop = refined_crops(
            self.predictor, first, lambda _, centre_m: filled_cube(frame, centre_m, self.crop), self.crop.cube_m
        )
        return TrackedHand(crop, self._hands(crop), newly_detected=True)

    def _predict_around(self, frame: RawFrame, centre_m: np.ndarray) -> TrackedHand | None:
        """The hand in the cube around a centre; None where that is behind the camera, or empty."""
        crop = filled_cube(frame, centre_m, self.crop)
        return None if crop is None else TrackedHand(crop, self._hands(crop), newly_detected=False)

    def _hands(self, crop: UnlabelledBatch) -> DepthHands:
        return self.predictor(crop.to(self.predictor.device), fused=False)

    def _remember(self, frame: RawFrame, tracked: TrackedHand) -> TrackedHand:
        self._last[frame.sequence, frame.view] = predicted_middle(tracked.hands)[0]
        return tracked
