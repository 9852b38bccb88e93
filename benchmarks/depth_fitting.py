"""What fitting alone can do (Eq. 5 and 6): hands of a pretrained network, each fitted to its own depth picture.

python benchmarks/depth_fitting.py --pretrained runs/depth_fusion/pretrained-small-0/stages/2-view-fusion

The folder is one that ``depth_fusion.py`` has left. No network is trained here: pose, shape, turn and place of every
hand are moved by Adam until its mesh explains what its one view saw. Errors are of the mesh's joints, nothing aligned.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import AnnyHand, HandMesh, HandParameters, pose_parameters
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, data_to_model, model_to_data
from posebridge.geometry.alignment import fit_similarity
from posebridge.networks.depth_hand import rotation_from_columns
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.weights import load_weights
from posebridge.recipes.depth_fusion import SMALL, hold_hands
from posebridge.recipes.track import HELD_OUT
from posebridge.skeletons.hand import HAND21
from posebridge.training.depth_training import true_hand

_ASTRAY_DEG = 45.0
_PRIORS = {"shape": 0.01, "pose": 0.003}  # of squares, shape's from the mean and pose's from where it began


@dataclass(frozen=True)
class Options:
    """What is fitted."""

    pretrained: Path
    sets: int = 40  # of three views each
    steps: int = 120
    learning_rate: float = 0.01
    threads: int = 2


def table(options: Options) -> str:
    """Markdown, a row a domain."""
    torch.set_num_threads(options.threads)
    hand = AnnyHand(SMALL.network.shape_size)
    model = DepthHandModel(SMALL.network, SMALL.fusion, HAND21)
    load_weights(model, options.pretrained / "result.safetensors")
    columns = (
        "turned by over 45°, %",
        "joints",
        "misfit",
        "joints, fitted",
        "misfit, fitted",
        "misfit of the true mesh",
    )
    lines = ["| mm | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for number, domain in enumerate(("studio", "street")):
        held = hold_hands(SMALL, domain, options.sets, HELD_OUT + number, lambda _: None)
        numbers = fitted(model.eval(), hand, held.all(), options)
        cells = (f"{value:.1f}" for value in numbers)
        lines.append(f"| {domain} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fitted(model: DepthHandModel, hand: AnnyHand, batch: LabelledBatch, options: Options) -> tuple[float, ...]:
    """Share of hands that begin turned wrongly; joint error and misfit in mm before and after; the truth's misfit."""
    views, config, half_mm = CubeViews.of(batch, SMALL.cube_m), EvidenceConfig(), 500 * SMALL.cube_m
    truth, faces = true_hand(batch, views), hand.faces(torch.device("cpu"))
    evidence = DepthEvidence.of(views, config, generator_for(0, 1))
    with torch.no_grad():
        start = model.single(views.picture(), *views.points(model.single.map_stride))[-1].model
    upright = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).expand(len(batch), 6)
    moved = [value.clone().requires_grad_() for value in (start.pose, start.shape, upright, start.place)]
    adam = torch.optim.Adam(moved, lr=options.learning_rate)

    def mesh() -> HandMesh:
        pose, shape, turn, place = moved
        return pose_parameters(
            hand, HandParameters(pose, shape, start.R @ rotation_from_columns(turn), place), views.half_m
        )

    def misfit(vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B"]:
        sides = [side(vertices, faces, evidence, config) for side in (model_to_data, data_to_model)]
        return torch.stack(sides).mean(0)

    def measured() -> tuple[float, float]:
        with torch.no_grad():
            own = mesh()
            error = (own.joints - truth.joints).norm(dim=-1).mean()
            return half_mm * error.item(), half_mm * misfit(own.vertices).mean().item()

    with torch.no_grad():
        R = fit_similarity(mesh().joints, truth.joints, with_scale=False).R
    angle = torch.rad2deg(((torch.einsum("bii->b", R) - 1) / 2).clamp(-1, 1).acos())
    before = (100 * (angle > _ASTRAY_DEG).float().mean().item(), *measured())
    for _ in range(options.steps):
        prior = _PRIORS["shape"] * moved[1].square().sum() + _PRIORS["pose"] * (moved[0] - start.pose).square().sum()
        loss = 2 * misfit(mesh().vertices).sum() + prior
        adam.zero_grad()
        loss.backward()
        adam.step()
    return (*before, *measured(), half_mm * misfit(truth.vertices).mean().item())


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"depth_fitting: {error}") from None
