"""Errors of depth hands, from single views and from fused views (Ren et al., CVPR 2022, Table 1)."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import ParametricHand, hand_meshes
from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, misfit
from posebridge.methods.multi_view_fusion.hand_terms import labelled_hand
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.view_fusion import ViewJoints, mean_of_views, median_of_views, weighted_mean_of_views

_SETS = 32  # per batch
FUSION_RULES: dict[str, Callable[[ViewJoints], Tensor]] = {
    "average": mean_of_views,
    "weight": weighted_mean_of_views,
    "median": median_of_views,
}


@dataclass(frozen=True)
class HandErrors:
    """Means over test hands in mm, without alignment."""

    pixels_mm: float  # joints of the pixel-wise head (HPE), single views
    model_mm: float  # joints of the hand model (HME), single views
    mesh_mm: float  # vertices of the hand model, single views
    misfit_mm: float  # between mesh and depth, in both directions
    fused_pixels_mm: float
    fused_model_mm: float
    fused_mesh_mm: float
    rules_mm: dict[str, float]  # pixel-wise joints, fused by fixed rules


@torch.inference_mode()
def measure(
    model: DepthHandModel, hand: ParametricHand, dataset: InMemoryDataset[LabelledBatch], cube_m: float, views: int
) -> HandErrors:
    """Errors on set-major samples without augmentation, fused in the space of each set's first view."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    errors_mm: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(dataset), _SETS * views):
        batch = dataset.part(slice(start, min(len(dataset), start + _SETS * views))).to(device)
        for name, errors in _errors(model, hand, batch, cube_m, views).items():
            errors_mm[name].append(errors.flatten().cpu())
    model.train(training)
    means = {name: torch.cat(errors).mean().item() for name, errors in errors_mm.items()}
    rules = {name: means.pop(name) for name in FUSION_RULES}
    return HandErrors(**means, rules_mm=rules)


def _errors(
    model: DepthHandModel, hand: ParametricHand, batch: LabelledBatch, cube_m: float, views: int
) -> dict[str, Tensor]:
    crops, sets = CubeViews.of(batch, cube_m), len(batch) // views
    truth, half_mm = labelled_hand(batch, crops), 500 * cube_m
    network = model.single
    single = network(crops.picture(), *crops.points(network.map_stride))[-1]
    mesh = hand_meshes(hand, single.hand, crops.half_m)
    first = torch.zeros(sets, dtype=torch.long, device=crops.depth_m.device)
    T_candidate_view = crops.to_candidates(sets, first)
    fused = model.fuse(single, T_candidate_view, sets)
    fused_mesh = hand_meshes(hand, fused.hand, crops.half_m[::views])
    joints_of_views = view_joints(single, T_candidate_view, sets)

    def distance_mm(points: Float[Tensor, "B N 3"], target: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        return half_mm * (points - target).norm(dim=-1)

    fitting, faces = EvidenceConfig(), hand.faces(first.device)
    evidence = DepthEvidence.from_views(crops, fitting, generator_for(0, 1))
    return {
        "pixels_mm": distance_mm(single.joints, truth.joints),
        "model_mm": distance_mm(mesh.joints, truth.joints),
        "mesh_mm": distance_mm(mesh.vertices, truth.vertices),
        "misfit_mm": half_mm * misfit(mesh.vertices, faces, evidence, fitting) / 2,
        "fused_pixels_mm": distance_mm(fused.fusion.joints, truth.joints[::views]),
        "fused_model_mm": distance_mm(fused_mesh.joints, truth.joints[::views]),
        "fused_mesh_mm": distance_mm(fused_mesh.vertices, truth.vertices[::views]),
        **{name: distance_mm(rule(joints_of_views), truth.joints[::views]) for name, rule in FUSION_RULES.items()},
    }


def view_joints(single: ViewPrediction, T_candidate_view: Float[Tensor, "B 4 4"], sets: int) -> ViewJoints:
    """The input of the fusion rules: joints of each view in the space of the candidate, with their quality."""
    joints = transform(T_candidate_view, single.joints).unflatten(0, (sets, -1))
    present = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
    return ViewJoints(joints, joints.new_zeros(*joints.shape[:3], 0), single.quality.unflatten(0, (sets, -1)), present)
