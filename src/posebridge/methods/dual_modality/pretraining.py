"""The pretraining stage: labels and contrastive alignment of three branches on the source (Sec. 7.3.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, concatenate
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.losses.contrastive import nt_xent
from posebridge.methods.dual_modality.branch_stage import BranchStage
from posebridge.methods.dual_modality.supervision import ModalityWeights, supervised_terms
from posebridge.methods.dual_modality.views import ViewConfig, source_view, textured_depth
from posebridge.networks.dual_modality import BRANCHES, Branch, DualModalityNetwork, depth_image
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.callbacks import evaluating
from posebridge.training.context import Context
from posebridge.training.multi_task import SurfaceDepth
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Terms

Pair = Literal["rgb", "depth", "fusion", "rgb-depth"]
# The pairs of Eq. 7.3 for each term: (branch, textured) of anchor and positive.
_PAIRS: Mapping[Pair, tuple[tuple[tuple[Branch, bool], tuple[Branch, bool]], ...]] = {
    "rgb": ((("rgb", False), ("rgb", True)),),
    "depth": ((("depth", False), ("depth", True)),),
    "fusion": ((("rgb", False), ("fusion", False)), (("rgb", True), ("fusion", True))),
    "rgb-depth": ((("rgb", False), ("depth", False)),),
}


@dataclass(frozen=True)
class PretrainingConfig:
    """Defaults are the paper's: Adam, a tenth of the rate after epochs 40 and 50.

    The number of epochs is not given; here it is 60 of 41,258 images, RHD's.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=17_700, learning_rate=2.5e-4, drops=(40 / 60, 50 / 60), second_momentum=0.99
        )
    )
    batch_size: int = 140  # samples, each of them in two textures
    branches: tuple[Branch, ...] = BRANCHES
    pairs: tuple[Pair, ...] = ("rgb", "depth", "fusion")  # the terms of Eq. 7.5; none: no contrastive alignment
    contrastive_weight: float = 0.1  # lambda_c
    temperature: float = 0.5  # tau
    # Samples whose depth map is predicted from colour, as in fine-tuning; the others have the true one. Not given.
    predicted_depth_frac: float = 0.25
    weights: ModalityWeights = field(default_factory=ModalityWeights)
    views: ViewConfig = field(default_factory=ViewConfig)

    def __post_init__(self):
        needed = {branch for pair in self.pairs for sides in _PAIRS[pair] for branch, _ in sides}
        if missing := sorted(needed - {*self.branches}):
            raise InputError(f"pairs {', '.join(self.pairs)} need branch {missing[0]}: add it to branches")
        if "rgb" not in self.branches:
            raise InputError(f"branches {', '.join(self.branches)} lack rgb, which is the result: add it")
        if not 0 <= self.predicted_depth_frac <= 1:
            raise InputError(f"predicted_depth_frac={self.predicted_depth_frac}: give a number in [0, 1]")


class Pretraining(BranchStage):
    """Eq. 7.7 on the source: labels supervise all branches, and positive pairs attract one another."""

    name = "pretraining"

    def __init__(
        self,
        config: PretrainingConfig,
        context: Context,
        network: DualModalityNetwork,
        backgrounds: UnconstrainedImages | None,
    ):
        weights = dict(config.weights.labelled)
        if config.pairs:
            weights["contrastive"] = config.contrastive_weight
        streams = {"source": context.source.batches(config.batch_size)}
        super().__init__(config.schedule, streams, weights, **context.stage_options(8))
        self.config, self.skeleton, self.backgrounds = config, context.skeleton, backgrounds
        self.network = network.train()
        self.network.projection.requires_grad_(bool(config.pairs))
        self.network.depth_encoder.requires_grad_(config.branches != ("rgb",))
        self.network.fusion_norms.requires_grad_("fusion" in config.branches)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 7.7. The first half of the images are G(x), the others T(G(x)) of the same samples."""
        config, pose = self.config, self.network.pose
        view = source_view(batches["source"], config.views, self.backgrounds, generator, self.skeleton.mirror)
        images = torch.cat([view.rgb, apply_appearance(view.rgb, config.views.appearance, generator)])
        true_depth = SurfaceDepth.of(view, self.skeleton).values
        depth = torch.cat([true_depth, textured_depth(true_depth, config.views.depth_texture, generator)])
        depth = self.with_predicted(depth, images)
        with self.trainer.precision_plugin.forward_context():
            outputs = self.network(images, depth, config.branches)
        maps = [output.maps.float() for output in outputs.values()]
        labels = concatenate([view, view])
        terms = supervised_terms(pose.maps, maps, labels, self.skeleton, config.weights.depth)  # Eq. 7.6
        if config.pairs:
            terms["contrastive"] = self.contrastive_term({name: out.latent.float() for name, out in outputs.items()})
        return terms

    def with_predicted(self, depth: Float[Tensor, "N S S"], images: Float[Tensor, "N 3 S S"]) -> Float[Tensor, "N S S"]:
        """The depth maps, of which the first samples of each half are predicted from their images.

        Batches are random, so the first samples are.
        """
        half = len(images) // 2
        count = round(self.config.predicted_depth_frac * half)
        if count == 0 or self.config.branches == ("rgb",):
            return depth
        chosen = torch.cat([torch.arange(count), half + torch.arange(count)]).to(images.device)
        with torch.no_grad(), evaluating(self.network), self.trainer.precision_plugin.forward_context():
            predicted = self.network(images[chosen], branches=("rgb",))["rgb"].maps.depth_map
        return depth.index_copy(0, chosen, depth_image(predicted.float(), images.shape[-1]))

    def contrastive_term(self, latent: Mapping[Branch, Float[Tensor, "N D"]]) -> Float[Tensor, ""]:
        """Eq. 7.5, with Eq. 7.3 summed over the samples of the batch as printed."""
        halves = {(branch, i == 1): part for branch, both in latent.items() for i, part in enumerate(both.chunk(2))}
        losses = [
            nt_xent(halves[anchor], halves[positive], self.config.temperature).sum()
            for pair in self.config.pairs
            for anchor, positive in _PAIRS[pair]
        ]
        return torch.stack(losses).sum()
