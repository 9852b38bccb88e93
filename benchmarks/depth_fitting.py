"""Errors of predicted hands before and after each is fitted until its mesh explains its depth (Eq. 5 and 6).

python benchmarks/depth_fitting.py --model runs/depth_fusion/pretrained-small-0/multi-view-fusion/stages/2-view-fusion

The folder is that of a stage of ``depth_fusion.py``: view-fusion or fine-tuning. Hands of single views are fitted to
one view, fused hands to all views of their moment, as ``posebridge predict-depth --fit-steps`` fits them. Without a
model, relaxed mean hands near the true palm replace predictions. Joints are those of the mesh, nothing is aligned.
Errors are in mm, flexions of MCP and PIP joints in degrees, misfits are of differences up to 2 cm.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import roma
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.hand_articulation import HandAngles
from posebridge.bodies.parametric_hand import AnnyHand, HandMesh, HandParameters, hand_meshes
from posebridge.cameras.multiview import transform_to_views
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.draw import generator_for, normal
from posebridge.errors import InputError
from posebridge.experiments.synthshift_sets import TEST_SEED
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.geometry.alignment import fit_similarity
from posebridge.methods.multi_view_fusion.hand_terms import labelled_hand
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.weights import load_weights
from posebridge.presets.table import find_preset
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS, DEPTH_VARIED, with_meshes
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.stream import Samples

_FISTS = PoseDistribution(gesture_weights={"fist": 3.0, "thumbs_up": 1.0}, random_share=0.0, noise_deg=9.0)
_DOMAINS = {**DEPTH_DOMAINS, "fists": replace(DEPTH_VARIED, name="fists", poses=_FISTS)}
_PALM = [HAND21.index(joint) for joint in ("wrist", "index_1", "middle_1", "ring_1", "pinky_1")]
_ROTATION_NOISE_RAD, _CENTRE_NOISE = 0.2, 0.06  # of simulated predictions, per axis; in half cubes
_LARGE_ROTATION_DEG = 45.0
_COLUMNS = (
    "rotated by over 45°, %",
    "joints",
    "fitted",
    "median hand",
    "fitted",
    "flexion",
    "fitted",
    "true",
    "misfit",
    "fitted",
    "misfit of the true mesh",
)


@dataclass(frozen=True)
class Options:
    """What is fitted."""

    model: Path | None = None
    """Folder with the weights, result.safetensors; none: simulated predictions."""

    preset: str = "small"
    """The preset that the model was trained by."""

    targets: tuple[str, ...] = ("studio", "street")
    """Domains: studio, street, bare, varied, and fists, which are those of varied."""

    sets: int = 40
    """Hands of each domain, each seen by three cameras."""

    steps: int = HandFittingConfig.steps
    """Steps of fitting."""

    gestures: tuple[str, ...] = HandFittingConfig.gestures
    """Starts of fitting beside the predicted pose."""

    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True)
class Hands:
    """B hands, each seen by V views, in cube spaces whose unit is ``half_m``."""

    predicted: HandParameters
    true: HandMesh
    true_flexion_deg: Float[Tensor, "B"]
    half_m: Float[Tensor, "B"]
    T_view_hand: Float[Tensor, "B*V 4 4"]


def table(options: Options) -> str:
    """Markdown, one or two rows for each domain. Raises ``InputError`` for an unknown preset or domain."""
    torch.set_num_threads(options.threads)
    preset = find_preset("synthshift/hand-depth", options.preset, "multi-view-fusion")
    spec, views_per_set = preset.model, preset.data.views
    assert isinstance(spec, DepthHandSpec)
    if unknown := sorted({*options.targets} - {*_DOMAINS}):
        raise InputError(f"unknown domain {unknown[0]!r}: give some of {', '.join(_DOMAINS)}")
    hand = AnnyHand(spec.network.shape_size)
    model = None if options.model is None else _load(spec, options.model)
    config = HandFittingConfig(options.steps, gestures=options.gestures)
    lines = ["| mm | " + " | ".join(_COLUMNS) + " |", "|---" * (1 + len(_COLUMNS)) + "|"]
    for domain in options.targets:
        seed = TEST_SEED + (domain != "studio")
        batch = with_meshes(Samples(_DOMAINS[domain], spec.size_px, seed).samples(0, options.sets * views_per_set))
        views = CubeViews.of(batch, spec.cube_m)
        evidence = DepthEvidence.from_views(views, config.evidence, generator_for(0, 1))
        rows = _simulated(hand, batch, views) if model is None else _hands(model, batch, views, views_per_set)
        for name, hands in rows.items():
            cells = (f"{value:.1f}" for value in _measured(hand, hands, evidence, config))
            lines.append(f"| {domain}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _load(spec: DepthHandSpec, folder: Path) -> DepthHandModel:
    model = DEPTH_HAND.build(spec).eval()
    load_weights(model, folder / "result.safetensors")
    return model


@torch.no_grad()
def _simulated(hand: AnnyHand, batch: LabelledBatch, views: CubeViews) -> dict[str, Hands]:
    """Relaxed mean hands whose palms lie near the true ones, for single views."""
    truth, count, generator = labelled_hand(batch, views), len(batch), generator_for(5, 1)
    zeros = torch.zeros(count, hand.pose_size), torch.zeros(count, hand.shape_size)
    relaxed = HandParameters(*zeros, torch.eye(3).expand(count, 3, 3), torch.zeros(count, 3))
    palm = hand_meshes(hand, relaxed, views.half_m).joints[:, _PALM]
    R = fit_similarity(palm, truth.joints[:, _PALM], with_scale=False).R
    turned = replace(relaxed, R=roma.rotvec_to_rotmat(normal(generator, _ROTATION_NOISE_RAD, count, 3)) @ R)
    offset = (truth.joints - hand_meshes(hand, turned, views.half_m).joints)[:, _PALM].mean(1)
    predicted = replace(turned, centre=offset + normal(generator, _CENTRE_NOISE, count, 3))
    own = torch.eye(4).expand(count, 4, 4)
    return {"one view": Hands(predicted, truth, _flexion_deg(batch.angles_rad), views.half_m, own)}


def _flexion_deg(angles_rad: Float[Tensor, "B 22"] | None) -> Float[Tensor, "B"]:
    """Mean flexion of the MCP and PIP joints of the four fingers."""
    assert angles_rad is not None
    return torch.rad2deg(HandAngles.from_stacked(angles_rad).fingers[..., [0, 2]].mean((1, 2)))


@torch.no_grad()
def _hands(model: DepthHandModel, batch: LabelledBatch, views: CubeViews, views_per_set: int) -> dict[str, Hands]:
    """Predicted hands of single views, and of all views of each moment in the space of its first view."""
    truth, sets = labelled_hand(batch, views), len(batch) // views_per_set
    prediction = model.single(views.picture(), *views.points(model.single.map_stride))[-1]
    flexion_deg = _flexion_deg(batch.angles_rad)
    single = Hands(prediction.hand, truth, flexion_deg, views.half_m, torch.eye(4).expand(len(batch), 4, 4))
    T_candidate_view = views.to_candidates(sets, torch.zeros(sets, dtype=torch.long))
    fused = model.fuse(prediction, T_candidate_view, sets).hand
    first = slice(None, None, views_per_set)
    true = HandMesh(truth.vertices[first], truth.joints[first])
    T_view_candidate = torch.linalg.inv(T_candidate_view)
    together = Hands(fused, true, flexion_deg[first], views.half_m[first], T_view_candidate)
    return {"one view": single, f"{views_per_set} views": together}


def _measured(hand: AnnyHand, hands: Hands, evidence: DepthEvidence, config: HandFittingConfig) -> tuple[float, ...]:
    """The numbers of a row, in the order of ``_COLUMNS``."""
    faces, half_mm = hand.faces(torch.device("cpu")), 1000 * hands.half_m[0].item()

    def misfit_mm(vertices: Float[Tensor, "B V 3"]) -> float:
        in_views = transform_to_views(vertices, hands.T_view_hand)
        return half_mm / 2 * misfit(in_views, faces, evidence, config.evidence).mean().item()

    def errors_mm(mesh: HandMesh) -> Float[Tensor, "B"]:
        return half_mm * (mesh.joints - hands.true.joints).norm(dim=-1).mean(1)

    fitted = fit_hands(hand, hands.predicted, hands.half_m, hands.T_view_hand, evidence, config)
    with torch.no_grad():
        before, after = (hand_meshes(hand, parameters, hands.half_m) for parameters in (hands.predicted, fitted))
        R = fit_similarity(before.joints, hands.true.joints, with_scale=False).R
        angle_deg = torch.rad2deg(((torch.einsum("bii->b", R) - 1) / 2).clamp(-1, 1).acos())
        errors = [errors_mm(mesh) for mesh in (before, after)]
        return (
            100 * (angle_deg > _LARGE_ROTATION_DEG).float().mean().item(),
            *(error.mean().item() for error in errors),
            *(error.median().item() for error in errors),
            *(_flexion_deg(found.pose + hand.relaxed_rad).mean().item() for found in (hands.predicted, fitted)),
            hands.true_flexion_deg.mean().item(),
            *(misfit_mm(mesh.vertices) for mesh in (before, after, hands.true)),
        )


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"depth_fitting: {error}") from None
