"""Whole images with boxes of the subjects in them: what a detector is trained on."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.contracts.batch import Observation

NO_SUBJECT = -1  # ``kind`` of an unused place
NO_SIDE = -1


@dataclass(frozen=True, kw_only=True)
class SceneBatch(Observation):
    """B whole images, each with at most N regions. Places beyond an image's regions have kind ``NO_SUBJECT``."""

    boxes_xyxy: Float[Tensor, "B N 4"]  # pixels of the image; may reach beyond it
    kind: Int[Tensor, "B N"]  # index into ``SUBJECT_KINDS``
    side: Int[Tensor, "B N"]  # of hands: 0 left, 1 right (``SIDES``); else ``NO_SIDE``
    # Regions that are neither subject nor background for their kind: mostly hidden subjects.
    ignored: Bool[Tensor, "B N"]
