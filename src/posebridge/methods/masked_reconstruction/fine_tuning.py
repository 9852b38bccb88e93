"""The fine-tuning stage: poses on the source while the attention on the target is kept (Sec. 3.2)."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from posebridge.contracts.batch import Observation
from posebridge.data.augment import GeometryConfig
from posebridge.data.streams import Stream
from posebridge.losses.masked_reconstruction import attention_distance
from posebridge.networks.pose_vit import PoseViT
from posebridge.networks.vision_transformer import ViTEncoder
from posebridge.rendering.photometry import STRONG, AppearanceConfig
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.source_training import augmented, augmented_target
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.supervision import volume_term


@dataclass(frozen=True)
class FineTuningConfig:
    """Defaults are the paper's for hands: 50 epochs, lambda 100. Bodies have 100 epochs and lambda 10.

    Warm-up and weight decay are not given.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=50_000, learning_rate=5e-4, decay="cosine", warmup=0.05, weight_decay=0.05
        )
    )
    batch_size: int = 128  # labelled images
    target_batch_size: int = 128  # images whose attention is regularised
    attention_weight: float = 100.0  # lambda of Eq. 7; 0: no regularisation
    per_head: bool = True  # compare the rows of each head; False: their means
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = STRONG


class FineTuning(PoseStage):
    """Trains encoder and head on the source (Eq. 5) and penalises changes of attention on the target (Eq. 6)."""

    name = "fine-tuning"

    def __init__(self, config: FineTuningConfig, context: Context, network: PoseViT):
        streams: dict[str, Stream[Observation]] = {"source": context.source.batches(config.batch_size)}
        weights = {"pose": 1.0}
        if config.attention_weight:
            streams["target"] = context.target_frames.batches(config.target_batch_size)
            weights["attention"] = config.attention_weight
        super().__init__(config.schedule, streams, weights, **context.stage_options(7))
        self.config = config
        self.skeleton = context.skeleton
        self.network = network.train()
        self.pretrained = copy.deepcopy(network.encoder).eval().requires_grad_(False)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 5 on augmented source images, Eq. 6 on target images."""
        source = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        with self.trainer.precision_plugin.forward_context():
            volumes = self.network(source.rgb)
        terms = {"pose": volume_term(self.network.volumes, volumes, source, self.skeleton)}
        if "target" in batches:
            images, _ = augmented_target(batches["target"], self.config, generator)
            terms["attention"] = self.attention_term(images)
        return terms

    def attention_term(self, images: Tensor) -> Tensor:
        """Eq. 6: distance of the class token's attention from that of the pretrained encoder."""
        with torch.no_grad():
            reference = self._attention(self.pretrained, images)
        return attention_distance(self._attention(self.network.encoder, images), reference, self.config.per_head).mean()

    def _attention(self, encoder: ViTEncoder, images: Tensor) -> Tensor:
        with self.trainer.precision_plugin.forward_context():
            return encoder.class_attention(images)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def result(self) -> PoseViT:
        """The fine-tuned network."""
        return self.network
