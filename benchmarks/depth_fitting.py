"""What fitting adds to what a network tells (Eq. 5 and 6): hands, each moved until its mesh explains its depth.

python benchmarks/depth_fitting.py --model runs/depth_fusion/pretrained-small-0/stages/2-view-fusion

The folder is one that ``depth_fusion.py`` has left, of either of its last stages. Single views are fitted by
themselves, fused hands to all views of their moment at once, as ``posebridge predict --fit-steps`` does it. Joints are
the mesh's, nothing is aligned.
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
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.geometry.alignment import fit_similarity
from posebridge.methods.multi_view_fusion.supervised_stages import true_hand
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.weights import load_weights
from posebridge.recipes.depth_fusion import SMALL, DepthTarget, load_hands
from posebridge.recipes.track import TEST_SEED
from posebridge.skeletons.hand import HAND21

_ASTRAY_DEG = 45.0
_HALF_MM = 500 * SMALL.cube_m
_COLUMNS = (
    "turned by over 45°, %",
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

    targets: tuple[DepthTarget, ...] = ("street",)
    """Looks beside studio."""

    sets: int = 40
    """Hands of each look, seen by three cameras each."""

    steps: int = HandFittingConfig.steps
    """Of fitting."""

    threads: int = 2


@dataclass(frozen=True)
class Hands:
    """B hands, each seen by V views, told in spaces of unit ``half_m``."""

    told: HandParameters
    true: HandMesh
    half_m: Float[Tensor, "B"]
    T_view_hand: Float[Tensor, "B*V 4 4"]


def table(options: Options) -> str:
    """Markdown, two rows a look."""
    torch.set_num_threads(options.threads)
    hand = AnnyHand(SMALL.network.shape_size)
    model = DepthHandModel(SMALL.network, SMALL.fusion, HAND21)
    load_weights(model, options.model / "result.safetensors")
    config = HandFittingConfig(options.steps)
    lines = ["| mm | " + " | ".join(_COLUMNS) + " |", "|---" * (1 + len(_COLUMNS)) + "|"]
    for number, look in enumerate(("studio", *options.targets)):
        batch = load_hands(SMALL, look, options.sets, TEST_SEED + min(number, 1), lambda _: None).all()
        views = CubeViews.of(batch, SMALL.cube_m)
        evidence = DepthEvidence.from_views(views, config.evidence, generator_for(0, 1))
        single, fused = _hands(model.eval(), batch, views)
        for name, hands in (("one view", single), (f"{SMALL.views} views", fused)):
            cells = (f"{value:.1f}" for value in _measured(hand, hands, evidence, config))
            lines.append(f"| {look}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@torch.no_grad()
def _hands(model: DepthHandModel, batch: LabelledBatch, views: CubeViews) -> tuple[Hands, Hands]:
    """Of single views, and of all views of each moment, in the space of its first one."""
    truth, sets = true_hand(batch, views), len(batch) // SMALL.views
    seen = model.single(views.picture(), *views.points(model.single.map_stride))[-1]
    single = Hands(seen.hand, truth, views.half_m, torch.eye(4).expand(len(batch), 4, 4))
    T_candidate_view = views.to_candidates(sets, torch.zeros(sets, dtype=torch.long))
    told = model.fuse(seen, T_candidate_view, sets).hand
    first = slice(None, None, SMALL.views)
    true = HandMesh(truth.vertices[first], truth.joints[first])
    return single, Hands(told, true, views.half_m[first], torch.linalg.inv(T_candidate_view))


def _measured(hand: AnnyHand, hands: Hands, evidence: DepthEvidence, config: HandFittingConfig) -> tuple[float, ...]:
    """The row's numbers."""
    faces = hand.faces(torch.device("cpu"))

    def misfit_mm(vertices: Float[Tensor, "B V 3"]) -> float:
        there = transform_to_views(vertices, hands.T_view_hand)
        return _HALF_MM / 2 * misfit(there, faces, evidence, config.evidence).mean().item()

    def errors_mm(mesh: HandMesh) -> Float[Tensor, "B"]:
        return _HALF_MM * (mesh.joints - hands.true.joints).norm(dim=-1).mean(1)

    fitted = fit_hands(hand, hands.told, hands.half_m, hands.T_view_hand, evidence, config)
    with torch.no_grad():
        before, after = (hand_meshes(hand, found, hands.half_m) for found in (hands.told, fitted))
        R = fit_similarity(before.joints, hands.true.joints, with_scale=False).R
        angle = torch.rad2deg(((torch.einsum("bii->b", R) - 1) / 2).clamp(-1, 1).acos())
        errors = [errors_mm(mesh) for mesh in (before, after)]
        return (
            100 * (angle > _ASTRAY_DEG).float().mean().item(),
            *(error.mean().item() for error in errors),
            *(error.median().item() for error in errors),
            *(misfit_mm(mesh.vertices) for mesh in (before, after, hands.true)),
        )


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"depth_fitting: {error}") from None
