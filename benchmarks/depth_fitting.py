"""Errors of predicted hands before and after each is fitted until its mesh explains its depth (Eq. 5 and 6).

python benchmarks/depth_fitting.py --model runs/depth_fusion/pretrained-small-0/multi-view-fusion/stages/2-view-fusion

The folder is that of a stage of ``depth_fusion.py``: view-fusion or fine-tuning. Hands of single views are fitted to
one view, fused hands to all views of their moment, as ``posebridge predict-depth --fit-steps`` fits them. Joints are
those of the mesh, nothing is aligned. Errors are in mm, misfits are of differences up to 2 cm.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import AnnyHand, HandMesh, HandParameters, hand_meshes
from posebridge.cameras.multiview import transform_to_views
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.synthshift_sets import TEST_SEED
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.geometry.alignment import fit_similarity
from posebridge.methods.multi_view_fusion.hand_terms import labelled_hand
from posebridge.methods.registry import find_method
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.weights import load_weights
from posebridge.presets.table import find_preset

_LARGE_ROTATION_DEG = 45.0
_COLUMNS = (
    "rotated by over 45°, %",
    "joints",
    "fitted",
    "median hand",
    "fitted",
    "misfit",
    "fitted",
    "misfit of the true mesh",
)


@dataclass(frozen=True)
class Options:
    """What is fitted."""

    model: Path
    """Folder with the weights, result.safetensors."""

    preset: str = "small"
    """The preset that the model was trained by."""

    targets: tuple[str, ...] = ("street",)
    """Domains beside studio: street, bare, varied."""

    sets: int = 40
    """Hands of each domain, each seen by three cameras."""

    steps: int = HandFittingConfig.steps
    """Steps of fitting."""

    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True)
class Hands:
    """B hands, each seen by V views, in cube spaces whose unit is ``half_m``."""

    predicted: HandParameters
    true: HandMesh
    half_m: Float[Tensor, "B"]
    T_view_hand: Float[Tensor, "B*V 4 4"]


def table(options: Options) -> str:
    """Markdown, two rows for each domain. Raises ``InputError`` for an unknown preset or domain."""
    torch.set_num_threads(options.threads)
    method = find_method("multi-view-fusion")
    preset = find_preset("synthshift/hand-depth", options.preset, method.name)
    assert isinstance(preset.model, DepthHandSpec)
    views_per_set = preset.data.views
    hand = AnnyHand(preset.model.network.shape_size)
    model = DEPTH_HAND.build(preset.model).eval()
    load_weights(model, options.model / "result.safetensors")
    loader = RenderLoader(track="hand-depth", model=preset.model, labels=frozenset(method.source_labels))
    config = HandFittingConfig(options.steps)
    lines = ["| mm | " + " | ".join(_COLUMNS) + " |", "|---" * (1 + len(_COLUMNS)) + "|"]
    for number, domain in enumerate(("studio", *options.targets)):
        batch = loader.load(domain, options.sets * views_per_set, TEST_SEED + min(number, 1)).all()
        views = CubeViews.of(batch, preset.model.cube_m)
        evidence = DepthEvidence.from_views(views, config.evidence, generator_for(0, 1))
        single, fused = _hands(model, batch, views, views_per_set)
        for name, hands in (("one view", single), (f"{views_per_set} views", fused)):
            cells = (f"{value:.1f}" for value in _measured(hand, hands, evidence, config))
            lines.append(f"| {domain}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@torch.no_grad()
def _hands(model: DepthHandModel, batch: LabelledBatch, views: CubeViews, views_per_set: int) -> tuple[Hands, Hands]:
    """Predicted hands of single views, and of all views of each moment in the space of its first view."""
    truth, sets = labelled_hand(batch, views), len(batch) // views_per_set
    prediction = model.single(views.picture(), *views.points(model.single.map_stride))[-1]
    single = Hands(prediction.hand, truth, views.half_m, torch.eye(4).expand(len(batch), 4, 4))
    T_candidate_view = views.to_candidates(sets, torch.zeros(sets, dtype=torch.long))
    fused = model.fuse(prediction, T_candidate_view, sets).hand
    first = slice(None, None, views_per_set)
    true = HandMesh(truth.vertices[first], truth.joints[first])
    return single, Hands(fused, true, views.half_m[first], torch.linalg.inv(T_candidate_view))


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
            *(misfit_mm(mesh.vertices) for mesh in (before, after, hands.true)),
        )


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"depth_fitting: {error}") from None
