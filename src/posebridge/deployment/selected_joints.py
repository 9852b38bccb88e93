"""Joints of another skeleton, chosen from those that a model predicts. Imports no torch."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.crop_predictor import WrappedPredictor
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class SelectedJoints(WrappedPredictor):
    """A predictor of the joints of ``skeleton``, in its order and with its names, chosen by their canonical names.

    Joints in space stay relative to what ``predictor`` relates them to. Raises ``InputError`` where it predicts fewer.
    """

    skeleton: Skeleton

    def __post_init__(self):
        lacking = [joint for joint, place in zip(self.skeleton.joints, self._order.tolist(), strict=True) if place < 0]
        if lacking:
            raise InputError(
                f"the model predicts {self.predictor.skeleton.name}, which lacks {', '.join(lacking)} of "
                f"{self.skeleton.name}: leave joints out"
            )

    @cached_property
    def _order(self) -> np.ndarray:
        return self.skeleton.order_of(self.predictor.skeleton.canonical_names)

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        """Keypoints as the predictor returns them, of the chosen joints."""
        found = self.predictor.predict_crops(crops)
        return replace(found.take(np.arange(len(found)), self._order), joint_names=self.skeleton.joints)
