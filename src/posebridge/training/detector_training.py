"""Supervised training of a detector on composed scenes."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import nn

from posebridge.contracts.batch import Observation
from posebridge.contracts.scene_batch import SceneBatch
from posebridge.data.streams import Stream
from posebridge.losses.detection import centre_loss, giou_loss
from posebridge.networks.detector import STRIDE, DetectorNetwork
from posebridge.rendering.photometry import STRONG, AppearanceConfig, apply_appearance
from posebridge.representations.centre_maps import CentreMaps
from posebridge.training.optimisers import Schedule
from posebridge.training.pseudo_labels import copy_buffers, update_average
from posebridge.training.stage import Stage, Terms

# Blurs as strong as those of crops would erase small subjects.
SCENE_APPEARANCE = replace(STRONG, blur_sigma=0.006, motion_length=0.025, noise_probability=0.3, erase_probability=0.0)


@dataclass(frozen=True)
class DetectorTrainingConfig:
    """Schedule, augmentation and weights of the terms."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=20_000, learning_rate=2e-3, decay="cosine", warmup=0.01, weight_decay=1e-4, clip_norm=5.0
        )
    )
    batch_size: int = 16
    appearance: AppearanceConfig = SCENE_APPEARANCE
    average_decay: float = 0.998  # of a moving average of the weights, which is the result
    centre_weight: float = 1.0
    box_weight: float = 2.0
    side_weight: float = 0.5


class DetectorTraining(Stage):
    """Learning of centres, boxes and handedness on augmented scenes."""

    name = "detector"

    def __init__(
        self,
        config: DetectorTrainingConfig,
        scenes: Stream[SceneBatch],
        network: DetectorNetwork,
        seed: int,
        workers: int = 0,
    ):
        weights = {"centre": config.centre_weight, "box": config.box_weight, "side": config.side_weight}
        super().__init__(config.schedule, {"scenes": scenes}, weights, seed, workers)
        self.config = config
        self.maps = CentreMaps(STRIDE)
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(False)

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """Each term is the mean over the labelled subjects of the batch."""
        scenes = batches["scenes"]
        assert isinstance(scenes, SceneBatch)
        images = apply_appearance(scenes.rgb, self.config.appearance, generator)
        with self.trainer.precision_plugin.forward_context():
            output = self.network(images)
        return detection_terms(self.maps, self.network, output.float(), scenes)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: update the network, then the average of its weights."""
        super().optimizer_step(*args, **kwargs)
        decay = min(self.config.average_decay, (self.global_step + 1) / (self.global_step + 10))
        update_average(self.average, self.network, decay)
        copy_buffers(self.average, self.network)

    def result(self) -> DetectorNetwork:
        """The network with averaged weights."""
        return self.average


def detection_terms(maps: CentreMaps, network: DetectorNetwork, output: torch.Tensor, scenes: SceneBatch) -> Terms:
    """The terms for the network's raw output: sums over cells, divided by the number of labelled subjects."""
    predicted = network.maps(output)
    grid = (output.shape[-2], output.shape[-1])
    targets = maps.targets(scenes.boxes_xyxy, scenes.kind, scenes.side, scenes.ignored, network.kinds, grid)
    subjects = ((scenes.kind >= 0) & ~scenes.ignored).sum().clamp(min=1)
    hands = targets.side_weight.sum().clamp(min=1)
    centre = centre_loss(predicted.centre_logits, targets.heat) * (targets.counted | (targets.heat == 1))
    boxes = maps.boxes(predicted.distances_px).movedim(2, -1)
    box = giou_loss(boxes, targets.box.movedim(2, -1)) * targets.box_weight
    side = F.binary_cross_entropy_with_logits(predicted.right_logits, targets.side, reduction="none")
    return {
        "centre": centre.sum() / subjects,
        "box": box.sum() / subjects,
        "side": (side * targets.side_weight).sum() / hands,
    }
