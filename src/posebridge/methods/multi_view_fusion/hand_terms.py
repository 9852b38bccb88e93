"""Loss terms of predicted hands against labels or pseudo-labels (Ren et al., CVPR 2022, Eq. 7 to 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from posebridge.bodies.collision_spheres import CollisionSpheres
from posebridge.bodies.parametric_hand import HandMesh, HandParameters, ParametricHand, hand_meshes
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.geometry.offset_maps import encode_offsets
from posebridge.methods.multi_view_fusion.fused_hands import FusedHands
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.training.stage import Terms


@dataclass(frozen=True)
class DepthWeights:
    """Weights of the terms: those of the paper's single-view predecessor (Ren et al.), and of a prior."""

    joints: float = 100.0  # of the pixel-wise head, Eq. 7
    maps: float = 1.0  # distances and directions, Eq. 8
    model_joints: float = 100.0  # of the hand model, Eq. 9
    mesh: float = 100.0
    shape: float = 0.1  # mean square of the shape parameters, in standard deviations
    collision: float = 1.0

    def by_term(self, prefix: str = "", without: tuple[str, ...] = ()) -> dict[str, float]:
        """The weights by name of the term, with a prefix; some terms are left out."""
        return {f"{prefix}{name}": value for name, value in vars(self).items() if name not in without}


def labelled_hand(batch: LabelledBatch, views: CubeViews) -> HandMesh:
    """Labels in the views' spaces. Raises ``ValueError`` for a batch without joints or meshes."""
    if batch.joints_m is None or batch.vertices_m is None:
        raise ValueError("a source of depth needs joints and meshes in metres")
    return HandMesh(views.in_cubes(batch.vertices_m), views.in_cubes(batch.joints_m))


def mean_of_stacks(stacks: Sequence[Terms]) -> Terms:
    """The mean of each term over the network's stacks."""
    return {name: torch.stack([terms[name] for terms in stacks]).mean() for name in stacks[0]}


def single_view_terms(
    hand: ParametricHand,
    spheres: CollisionSpheres,
    prediction: ViewPrediction,
    target: HandMesh,
    views: CubeViews,
    beta: float,
) -> Terms:
    """Predictions of single views against labels (Eq. 7 to 9), and the prior."""
    mesh = hand_meshes(hand, prediction.hand, views.half_m)
    pixels, model = pixel_terms(prediction, target.joints, beta), model_terms(mesh, target, beta)
    return {**pixels, **model, **prior_terms(spheres, mesh, prediction.hand)}


def pixel_terms(prediction: ViewPrediction, joints: Float[Tensor, "B J 3"], beta: float) -> Terms:
    """Eq. 7 and 8: joints and offset maps of the pixel-wise head. Only pixels of the hand count in the maps."""
    target = encode_offsets(prediction.points, prediction.surface, joints, prediction.max_distance)
    on_hand = prediction.surface.nonzero(as_tuple=True)
    compared = (
        (prediction.maps.heat[:, :, None], target.heat[:, :, None]),
        (prediction.maps.direction, target.direction),
    )
    losses = [_smooth_l1(_at(maps, on_hand), _at(targets, on_hand), beta) for maps, targets in compared]
    return {"joints": _smooth_l1(prediction.joints, joints, beta), "maps": torch.stack(losses).sum()}


def model_terms(mesh: HandMesh, target: HandMesh, beta: float) -> Terms:
    """Eq. 9: joints and vertices of the hand model."""
    return {
        "model_joints": _smooth_l1(mesh.joints, target.joints, beta),
        "mesh": _smooth_l1(mesh.vertices, target.vertices, beta),
    }


def prior_terms(spheres: CollisionSpheres, mesh: HandMesh, parameters: HandParameters) -> Terms:
    """Penalties of shapes far from the mean, and of fingers that intersect (Sec. 3.3)."""
    return {"shape": parameters.shape.square().mean(), "collision": spheres.overlap(mesh.joints).mean()}


def fused_terms(spheres: CollisionSpheres, fused: FusedHands, target: HandMesh, beta: float) -> Terms:
    """Fused hands against labels, and the prior."""
    return {**distillation_terms(fused, target, beta), **prior_terms(spheres, fused.mesh, fused.prediction.hand)}


def distillation_terms(fused: FusedHands, target: HandMesh, beta: float) -> Terms:
    """Eq. 7 and 9: fused hands against labels or pseudo-labels."""
    return {"joints": _smooth_l1(fused.joints, target.joints, beta), **model_terms(fused.mesh, target, beta)}


def _at(values: Float[Tensor, "B J D h w"], pixels: tuple[Tensor, ...]) -> Float[Tensor, "n J D"]:
    """The values at some pixels."""
    image, row, column = pixels
    return values[image, :, :, row, column]


def _smooth_l1(values: Tensor, target: Tensor, beta: float) -> Float[Tensor, ""]:
    """Mean over all elements; quadratic below ``beta``, with slope one beyond."""
    return F.smooth_l1_loss(values, target, beta=beta)
