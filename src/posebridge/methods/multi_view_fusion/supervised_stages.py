"""Depth hands from labels: the network of single views, then the one that fuses views (Ren et al., CVPR 2022, 3.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from posebridge.bodies.collision_spheres import CollisionSpheres
from posebridge.bodies.parametric_hand import (
    HandMesh,
    HandParameters,
    ParametricHand,
    hand_meshes,
    hand_meshes_in_views,
)
from posebridge.cameras.multiview import transform_to_views
from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.cube_views import CubeViews
from posebridge.data.streams import Stream
from posebridge.fitting.depth_misfit import DepthEvidence
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.geometry.offset_maps import encode_offsets
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig, DrawnViews
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.networks.depth_hand_model import DepthHandModel, FusedPrediction
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class DepthWeights:
    """Of the terms against labels or pseudo-labels: those of Ren's single-view predecessor, and a prior."""

    joints: float = 100.0  # of the pixels' word, Eq. 7
    maps: float = 1.0  # distances and directions, Eq. 8
    model_joints: float = 100.0  # of the hand model, Eq. 9
    mesh: float = 100.0
    shape: float = 0.1  # the mean square of the shape's standard deviations
    collision: float = 1.0

    def of_terms(self, prefix: str = "", without: tuple[str, ...] = ()) -> dict[str, float]:
        """By the names of the terms."""
        return {f"{prefix}{name}": value for name, value in vars(self).items() if name not in without}


@dataclass(frozen=True)
class DepthTrainingConfig:
    """AdamW and batches of 32 in the paper, which gives neither rate nor steps; here of 30, sets being whole."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=40_000, learning_rate=1e-3, decay="cosine", warmup=0.02, clip_norm=5.0)
    )
    sets: int = 10  # a batch, of ``views`` views each
    views: int = 3
    augmentation: DepthViewConfig = field(default_factory=DepthViewConfig)
    weights: DepthWeights = field(default_factory=DepthWeights)
    beta: float = 0.01  # of the smooth L1 losses, in halves of the cube


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
        """Stages of one run have different offsets, by which they draw different numbers."""
        if context.hand is None or context.cube_m is None:
            raise ValueError("a stage on depth needs a context with a hand model and the side of the crops' cube")
        super().__init__(schedule, streams, weights, **context.stage_options(offset))
        self.hand, self.cube_m = context.hand, context.cube_m
        self.spheres = CollisionSpheres.from_hand(context.hand)
        self.model = model.train()

    def see(self, views: CubeViews) -> list[ViewPrediction]:
        """What each view tells by itself, one for each stack; computed in the trainer's precision."""
        network = self.model.single
        seen = views.picture(), *views.points(network.map_stride)
        with self.trainer.precision_plugin.forward_context():
            return network(*seen)

    def result(self) -> DepthHandModel:
        """The model as it stands."""
        return self.model


class SingleViewTraining(DepthStage):
    """Stage 1: each view by itself."""

    name = "single-view"

    def __init__(self, config: DepthTrainingConfig, context: Context, model: DepthHandModel):
        streams = {"source": context.source.view_sets(config.sets, config.views)}
        super().__init__(config.schedule, streams, config.weights.of_terms(), context, model, offset=1)
        self.config = config

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Every stack learns from the labels."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        drawn = DrawnViews.of(batch, self.cube_m, self.config.augmentation, generator)
        truth = true_hand(batch, drawn.whole)
        found = [
            single_terms(self.hand, self.spheres, seen, truth, drawn.shown, self.config.beta)
            for seen in self.see(drawn.shown)
        ]
        return mean_of_stacks(found)

    def trained(self):
        """The network of single views."""
        return self.model.single.parameters()


class FusionTraining(DepthStage):
    """Stage 2: several views, the network of single ones standing still."""

    name = "view-fusion"

    def __init__(self, config: DepthTrainingConfig, context: Context, model: DepthHandModel):
        streams = {"source": context.source.view_sets(config.sets, config.views)}
        weights = config.weights.of_terms(without=("maps",))
        super().__init__(config.schedule, streams, weights, context, model, offset=2)
        self.config = config

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """The hand of each set, in the space of a view that is drawn anew."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        self.model.single.eval()
        drawn = DrawnViews.of(batch, self.cube_m, self.config.augmentation, generator)
        with torch.no_grad():
            seen = self.see(drawn.shown)[-1]
        sets = len(batch) // self.config.views
        fused = FusedInViews.of(self.model, self.hand, seen, drawn.whole, sets, generator)
        return fused_terms(self.spheres, fused, true_hand(batch, drawn.whole), self.config.beta)

    def trained(self):
        """The fusion and its hand model."""
        return [*self.model.fusion.parameters(), *self.model.fused_parameter_head.parameters()]


@dataclass(frozen=True)
class FusedInViews:
    """The hands of sets in the spaces of all their views."""

    told: FusedPrediction
    joints: Float[Tensor, "B J 3"]  # of the pixels' word
    hand: HandMesh
    half_m: Float[Tensor, "S"]  # unit of the spaces in which they were told
    T_view_candidate: Float[Tensor, "B 4 4"]  # from there to the views

    @classmethod
    def of(
        cls,
        model: DepthHandModel,
        hand: ParametricHand,
        seen: ViewPrediction,
        views: CubeViews,
        sets: int,
        generator: Generator,
    ) -> "FusedInViews":
        """Fused in the space of one view of each set, which is drawn."""
        count = len(views) // sets
        candidate = torch.randint(count, (sets,), generator=generator).to(views.depth_m.device)
        T_candidate_view = views.to_candidates(sets, candidate)
        told = model.fuse(seen, T_candidate_view, sets)
        half_m = views.half_m.view(sets, count).gather(1, candidate[:, None])[:, 0]
        back = torch.linalg.inv(T_candidate_view)
        mesh = hand_meshes_in_views(hand, told.hand, half_m, back)
        return cls(told, transform_to_views(told.fusion.joints, back), mesh, half_m, back)

    def fitted(self, hand: ParametricHand, seen: DepthEvidence, config: HandFittingConfig) -> HandMesh:
        """The hands when they have been moved to explain what all their views saw, in these; without gradients."""
        moved = fit_hands(hand, self.told.hand, self.half_m, self.T_view_candidate, seen, config)
        return hand_meshes_in_views(hand, moved, self.half_m, self.T_view_candidate)


def true_hand(batch: LabelledBatch, views: CubeViews) -> HandMesh:
    """Labels in the views' spaces. Raises ``ValueError`` for a batch without joints or meshes."""
    if batch.joints_m is None or batch.vertices_m is None:
        raise ValueError("a source of depth needs joints and meshes in metres")
    return HandMesh(views.in_cubes(batch.vertices_m), views.in_cubes(batch.joints_m))


def mean_of_stacks(found: Sequence[Terms]) -> Terms:
    """Each term's mean."""
    return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}


def single_terms(
    hand: ParametricHand,
    spheres: CollisionSpheres,
    seen: ViewPrediction,
    wanted: HandMesh,
    views: CubeViews,
    beta: float,
) -> Terms:
    """Single views against hands that are known, or taken for known (Eq. 7 to 9), and the prior."""
    own = hand_meshes(hand, seen.hand, views.half_m)
    pixels, model = pixel_terms(seen, wanted.joints, beta), model_terms(own, wanted, beta)
    return {**pixels, **model, **prior_terms(spheres, own, seen.hand)}


def pixel_terms(seen: ViewPrediction, joints: Float[Tensor, "B J 3"], beta: float) -> Terms:
    """Eq. 7 and 8; of the maps, the pixels of the hand."""
    maps = encode_offsets(seen.points, seen.surface, joints, seen.max_distance)
    on_hand = seen.surface.nonzero(as_tuple=True)
    both = ((seen.maps.heat[:, :, None], maps.heat[:, :, None]), (seen.maps.direction, maps.direction))
    differences = [_smooth_l1(_at(found, on_hand), _at(wanted, on_hand), beta) for found, wanted in both]
    return {"joints": _smooth_l1(seen.joints, joints, beta), "maps": torch.stack(differences).sum()}


def model_terms(own: HandMesh, wanted: HandMesh, beta: float) -> Terms:
    """Eq. 9."""
    return {
        "model_joints": _smooth_l1(own.joints, wanted.joints, beta),
        "mesh": _smooth_l1(own.vertices, wanted.vertices, beta),
    }


def prior_terms(spheres: CollisionSpheres, own: HandMesh, model: HandParameters) -> Terms:
    """A shape near the mean, and fingers that don't pass through one another (Sec. 3.3)."""
    return {"shape": model.shape.square().mean(), "collision": spheres.overlap(own.joints).mean()}


def fused_terms(spheres: CollisionSpheres, fused: FusedInViews, wanted: HandMesh, beta: float) -> Terms:
    """Fused hands against hands that are known, and the prior."""
    return {**distillation_terms(fused, wanted, beta), **prior_terms(spheres, fused.hand, fused.told.hand)}


def distillation_terms(fused: FusedInViews, wanted: HandMesh, beta: float) -> Terms:
    """Eq. 7 and 9."""
    return {"joints": _smooth_l1(fused.joints, wanted.joints, beta), **model_terms(fused.hand, wanted, beta)}


def _at(values: Float[Tensor, "B J D h w"], place: tuple[Tensor, ...]) -> Float[Tensor, "n J D"]:
    """The values at some pixels."""
    image, row, column = place
    return values[image, :, :, row, column]


def _smooth_l1(found: Tensor, wanted: Tensor, beta: float) -> Float[Tensor, ""]:
    """The mean over everything; quadratic below ``beta``, with slope one beyond."""
    return F.smooth_l1_loss(found, wanted, beta=beta)
