"""Pretraining with style-invariant features (Lin et al., NeurIPS 2023, Sec. 3.2, Eq. 1, 2 and 10)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.losses.contrastive import nt_xent
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import Augmentation, augmented
from posebridge.training.stage import MapPair, PoseStage, Terms
from posebridge.training.style import Restyler, restyle_randomly
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class PretrainingConfig:
    """Sec. 3.2, Eq. 10: batches of 64 for 40 epochs of 500 steps."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=1e-4, decay="none"))
    batch_size: int = 64
    heat_weight: float = 1.0
    depth_weight: float = 0.1  # lambda_d of Eq. 1; not given, as in source training
    alignment_weight: float = 0.1  # lambda_a, Eq. 10
    temperature: float = 0.5  # tau, Eq. 2


class Pretraining(PoseStage):
    """Sec. 3.2: supervised training on the source, and contrastive alignment of features across styles."""

    name = "pretraining"

    def __init__(
        self,
        augmentation: Augmentation,
        config: PretrainingConfig,
        context: Context,
        network: PoseResNet,
        restyler: Restyler | None,
    ):
        size = config.batch_size
        super().__init__(
            config.schedule,
            {"source": context.source.batches(size), "target": context.target_frames.batches(size)},
            {
                "heat": config.heat_weight,
                "depth": config.depth_weight,
                "alignment": config.alignment_weight,
            },
            **context.stage_options(4),
        )
        self.augmentation = augmentation
        self.temperature = config.temperature
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.network = network.train().requires_grad_(True)
        self.restyler = self.in_precision(restyler)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 10 on source images and on the same images in the target's style."""
        source, target = batches["source"], batches["target"]
        view = augmented(source, self.augmentation, generator, self.skeleton.mirror)
        styled = restyle_randomly(self.restyler, view.rgb, target.rgb, 1.0, generator)
        features, maps = self._predict(torch.cat([view.rgb, styled]))
        z, z_plus = features.chunk(2)
        terms = supervised_terms(self.maps, maps, _twice(view), self.skeleton)  # Eq. 1, for both styles
        return {**terms, "alignment": nt_xent(z, z_plus, self.temperature).mean()}  # Eq. 2

    def _predict(self, images: Tensor) -> tuple[Float[Tensor, "B C"], MapPair]:
        """The encoder's deepest features, averaged over the image, and the pose maps."""
        with self.trainer.precision_plugin.forward_context():
            features = self.network.features(images)
            heat, depth = self.network.maps_of(self.network.upwards(features))
        return features[-1].float().mean((-2, -1)), (heat.float(), depth.float())

    def result(self) -> PoseResNet:
        """The pretrained network."""
        return self.network


def _twice(batch: LabelledBatch) -> LabelledBatch:
    """The batch, repeated once."""
    return batch.take(torch.arange(len(batch)).repeat(2))
