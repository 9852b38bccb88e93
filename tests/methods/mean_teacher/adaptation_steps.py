"""Training steps of the mean teacher on dots, with a student whose gradient shows its targets."""

import torch
from torch import Tensor, nn

from posebridge.draw import generator_for
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.networks.pose_network import HeatmapNetwork
from training.dots import MAPS, PLAIN, UNMOVED, RecordingFinder, adaptation_stage, context, dots, with_trainer

NO_AUGMENTATION = {"appearance": PLAIN, "occlusion": UNMOVED, "style": None}


class FlatStudent(HeatmapNetwork):
    """Outputs flat heat maps, whose gradient gives the target, and records its images."""

    maps = MAPS

    def __init__(self):
        super().__init__()
        self.heat = nn.Parameter(torch.zeros(8, 3, 16, 16))
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.shown.append(images)
        return self.heat, 0 * self.heat


def batches() -> dict:
    return {"source": dots(8, seed=11), "target": dots(8, seed=12).unlabelled()}


def pseudo_targets(number: int = 0, **changes) -> tuple[Adaptation, dict[str, Tensor]]:
    """A step of a teacher that finds the dots and a student with flat heat maps."""
    stage = with_trainer(adaptation_stage(context(), RecordingFinder(), kept_frac=1.0, **NO_AUGMENTATION, **changes))
    stage.student = FlatStudent()
    return stage, stage.terms(batches(), generator_for(0, number))
