"""Stages on labels: the single-view network, then view fusion (Ren et al., CVPR 2022, Sec. 3.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator

from posebridge.bodies.collision_spheres import CollisionSpheres
from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.cube_views import CubeViews
from posebridge.data.streams import Stream
from posebridge.methods.multi_view_fusion.depth_views import AugmentedViews, DepthViewConfig
from posebridge.methods.multi_view_fusion.fused_hands import FusedHands
from posebridge.methods.multi_view_fusion.hand_terms import (
    DepthWeights,
    fused_terms,
    labelled_hand,
    mean_of_stacks,
    single_view_terms,
)
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class DepthTrainingConfig:
    """AdamW, as in the paper, which gives neither rate nor steps. Its batches of 32 are 30 here, for whole sets."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=40_000, learning_rate=1e-3, decay="cosine", warmup=0.02, clip_norm=5.0)
    )
    sets: int = 10  # per batch, of ``views`` views each
    views: int = 3
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    weights: DepthWeights = field(default_factory=DepthWeights)
    beta: float = 0.01  # of the smooth L1 losses, in half cubes


class DepthStage(Stage):
    """A stage that trains a depth hand model."""

    trains_pose_network = True

    def __init__(
        self,
        schedule: Schedule,
        streams: Mapping[str, Stream[Observation]],
        weights: Mapping[str, float],
        context: Context,
        model: DepthHandModel,
        offset: int,
    ):
        """Stages of one run have different offsets and so different seeds.

        Raises ``ValueError`` for a context without a hand model or without the side of the cube.
        """
        if context.hand is None or context.cube_m is None:
            raise ValueError("a stage on depth needs a context with a hand model and the side of the crops' cube")
        super().__init__(schedule, streams, weights, **context.stage_options(offset))
        self.hand, self.cube_m = context.hand, context.cube_m
        self.spheres = CollisionSpheres.from_hand(context.hand)
        self.model = model.train()

    def predict_views(self, views: CubeViews) -> list[ViewPrediction]:
        """Predictions of the single-view network, one per stack; computed in the trainer's precision."""
        network = self.model.single
        inputs = views.picture(), *views.points(network.map_stride)
        with self.trainer.precision_plugin.forward_context():
            return network(*inputs)

    def result(self) -> DepthHandModel:
        """The current model."""
        return self.model


class SingleViewTraining(DepthStage):
    """Stage 1: the single-view network."""

    name = "single-view"

    def __init__(self, config: DepthTrainingConfig, context: Context, model: DepthHandModel):
        streams = {"source": context.source.view_sets(config.sets, config.views)}
        super().__init__(config.schedule, streams, config.weights.by_term(), context, model, offset=1)
        self.config = config

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 7 to 9 for each stack."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        views = AugmentedViews.draw(batch, self.cube_m, self.config.augmentation, generator)
        target = labelled_hand(batch, views.complete)
        return mean_of_stacks(
            [
                single_view_terms(self.hand, self.spheres, prediction, target, views.erased, self.config.beta)
                for prediction in self.predict_views(views.erased)
            ]
        )

    def trained_parameters(self):
        """Those of the single-view network."""
        return self.model.single.parameters()


class FusionTraining(DepthStage):
    """Stage 2: view fusion, on a frozen single-view network."""

    name = "view-fusion"

    def __init__(self, config: DepthTrainingConfig, context: Context, model: DepthHandModel):
        streams = {"source": context.source.view_sets(config.sets, config.views)}
        weights = config.weights.by_term(without=("maps",))
        super().__init__(config.schedule, streams, weights, context, model, offset=2)
        self.config = config

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 7 and 9 for the hand of each set, fused in the space of a random view."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        self.model.single.eval()
        views = AugmentedViews.draw(batch, self.cube_m, self.config.augmentation, generator)
        with torch.no_grad():
            prediction = self.predict_views(views.erased)[-1]
        sets = len(batch) // self.config.views
        fused = FusedHands.predict(self.model, self.hand, prediction, views.complete, sets, generator)
        return fused_terms(self.spheres, fused, labelled_hand(batch, views.complete), self.config.beta)

    def trained_parameters(self):
        """Those of the fusion network and of its hand model."""
        return [*self.model.fusion.parameters(), *self.model.fused_parameter_head.parameters()]
