"""Training of the segmentation network on the source's masks (masked reconstruction 2025, Sec. 3.1)."""

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Generator

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.networks.segmentation import SegmentationConfig, SegmentationNetwork
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class SegmentationTrainingConfig:
    """The paper gives the network alone; rate, steps and augmentation are those of the source training here."""

    network: SegmentationConfig = field(default_factory=SegmentationConfig)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=20_000, learning_rate=1e-3, decay="cosine", warmup=0.03, weight_decay=1e-4, clip_norm=5.0
        )
    )
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    # Fraction of the images whose background is exchanged for a crop of an unconstrained image; not given. A network
    # that saw plain walls alone takes edges of other backgrounds for the subject's.
    composited_frac: float = 0.8

    def __post_init__(self):
        if not 0 <= self.composited_frac <= 1:
            raise InputError(f"composited_frac={self.composited_frac} is no fraction: give a number in [0, 1]")


class SegmentationTraining(Stage):
    """Binary cross-entropy on masks of the source. No image of the target takes part."""

    name = "segmentation"

    def __init__(self, config: SegmentationTrainingConfig, context: Context, unconstrained: UnconstrainedImages):
        super().__init__(
            config.schedule, {"source": context.source.batches(config.batch_size)}, {"mask": 1.0},
            **context.stage_options(6),
        )  # fmt: skip
        self.config = config
        self.mirror = context.skeleton.mirror
        self.unconstrained = unconstrained
        torch.manual_seed(context.seed)  # initial weights must not depend on the stages before
        self.network = SegmentationNetwork(config.network).train()

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """The mean over all pixels."""
        source = batches["source"]
        assert isinstance(source, LabelledBatch)
        view = self._view(source, generator)
        with self.trainer.precision_plugin.forward_context():
            logits = self.network(view.rgb)
        assert view.mask is not None
        return {"mask": F.binary_cross_entropy_with_logits(logits.float(), view.mask.float())}

    def _view(self, source: LabelledBatch, generator: Generator) -> LabelledBatch:
        """Warped, some before other backgrounds, then with photometric changes of the picture as one."""
        size_px, device = source.rgb.shape[-1], source.rgb.device
        view = warp_batch(
            source, draw_views(self.config.geometry, len(source), size_px, generator, device), self.mirror
        )
        if view.mask is None:
            raise ValueError("the segmentation network is trained on masks, and these source samples have none")
        image = self.unconstrained.behind(view.rgb, view.mask, self.config.composited_frac, generator)
        return replace(view, image=apply_appearance(image, self.config.appearance, generator))

    def result(self) -> SegmentationNetwork:
        """The trained network."""
        return self.network
