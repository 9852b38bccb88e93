"""The stage that learns the radii of the circles from hand masks of the source (Sec. 6.3.3)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.losses.cross_modal import data_to_model, model_to_data
from posebridge.losses.keypoints import weighted_mean
from posebridge.networks.circle_hand import CircleHand, HandCircles
from posebridge.training.context import Context
from posebridge.training.multi_task import reduced
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class CircleTrainingConfig:
    """Nothing is given but the data: synthetic masks. A radius is a factor of the palm's size (``CircleHand``)."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=200, learning_rate=0.05, decay="cosine", warmup=0.05)
    )
    batch_size: int = 32
    mask_px: int = 64  # side that masks keep at least where they are averaged


class CircleTraining(Stage):
    """Fits the circles of true poses to true masks by the terms of Eq. 6.11."""

    name = "circles"

    def __init__(self, config: CircleTrainingConfig, context: Context):
        super().__init__(
            config.schedule,
            {"source": context.source.batches(config.batch_size)},
            {"model_to_data": 1.0, "data_to_model": 1.0},
            **context.stage_options(12),
        )
        self.config = config
        self.circles = CircleHand()

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 6.12 and 6.13 as sums over pixels; hands count that have a label for every joint."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        circles, mask = labelled_circles(self.circles, batch, self.config.mask_px)
        assert batch.valid is not None
        whole = batch.valid.all(1).float()
        distance = circles.distance(mask.shape[-1])
        return {
            "model_to_data": weighted_mean(model_to_data(circles.covered(distance), mask), whole),
            "data_to_model": weighted_mean(data_to_model(distance, mask), whole),
        }

    def result(self) -> CircleHand:
        """The circles with their radii."""
        return self.circles


def labelled_circles(
    circles: CircleHand, batch: LabelledBatch, mask_px: int
) -> tuple[HandCircles, Float[Tensor, "B h h"]]:
    """The circles of labelled joints, and the labelled mask, averaged by a whole factor to ``mask_px`` or more.

    Raises ``ValueError`` for a batch without joints or hand masks.
    """
    if batch.uv_px is None or batch.hand_mask is None:
        raise ValueError("circles are compared with masks by labelled joints, and a batch has no uv_px or no hand_mask")
    image_px = batch.hand_mask.shape[-1]
    uv_px = torch.where(batch.uv_px.isfinite(), batch.uv_px, 0)
    return circles(uv_px, image_px), reduced(batch.hand_mask, image_px // max(1, image_px // mask_px))
