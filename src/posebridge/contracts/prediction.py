"""The output of a predictor."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Poses of a batch of B crops. ``joints_m`` is in the camera frame where intrinsics and scale are known,
    otherwise relative to the root joint and in units of the reference bone times the skeleton's mean length.
    """

    uv_px: Float[Tensor, "B J 2"]  # pixels of the crop
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    relative_depth: Float[Tensor, "B J"] | None = None  # (z - z_root) / reference bone length
    joints_m: Float[Tensor, "B J 3"] | None = None
