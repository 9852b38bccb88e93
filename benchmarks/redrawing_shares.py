"""Where a trained reconstructor wants joints: how much worse frames are redrawn when some joints are moved.

    python benchmarks/redrawing_shares.py RUN

RUN is the folder of a run of SynthShift with geometric reconstruction. Joints of the target are the true ones, but
those for which ``recipes.annotation_gap`` knows a neighbour are moved by a share of the way to it. The labels serve
this table alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from posebridge.data.pairs import PairStream
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.errors import InputError
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.methods.geometric_reconstruction.perceptual_features import PerceptualLoss
from posebridge.methods.geometric_reconstruction.reconstructor_training import reconstruction_loss
from posebridge.networks.weights import load_weights
from posebridge.recipes.annotation_gap import gap_joints
from posebridge.recipes.synthshift import TRACKS, SynthShiftConfig
from posebridge.recipes.track import TrackRenderer
from posebridge.training.config_file import load_config

SHARES = (-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5, 0.7)


@dataclass(frozen=True)
class Options:
    """Tell where a reconstructor wants joints."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    pairs: int = 256
    """Pairs of frames of the target."""


@torch.inference_mode()
def table(options: Options) -> str:
    """The redrawing's error above that of the best share. Raises ``InputError`` for what is no such run."""
    _, config = load_config(options.run / "config.yaml", {"synthshift": SynthShiftConfig})
    plan = TRACKS[config.track]
    size = plan.sizes[config.size]
    settings = size.geometric_reconstruction
    if config.method != "geometric_reconstruction" or settings is None or settings.reconstruction is None:
        raise InputError(f"{options.run} is no run of geometric reconstruction: there is no reconstructor to ask")
    reconstruction = settings.reconstruction
    network = load_model(options.run, POSE).network
    stages = options.run / "stages"
    reconstructor = FrameReconstructor(reconstruction.reconstructor, plan.skeleton).eval()
    load_weights(network, _stage(stages, "warm-start"))  # by whose features redrawings were compared
    load_weights(reconstructor, _stage(stages, "reconstructor"))
    compare = PerceptualLoss(reconstruction.features, network)
    videos = TrackRenderer(plan, size, config.sets).videos(config.seed)
    frames = PairStream(videos, options.pairs, 0, reconstruction.pairs).batch(0)
    assert frames.uv_px is not None
    joints, towards = gap_joints(plan.skeleton)
    losses = []
    for share in SHARES:
        uv_px = frames.uv_px.clone()
        uv_px[:, joints] = torch.lerp(frames.uv_px[:, joints], frames.uv_px[:, towards], share)
        losses.append(reconstruction_loss(reconstructor, compare, frames, uv_px).item())
    cells = (f"{loss / min(losses) - 1:.1%}" for loss in losses)
    head = " | ".join(f"{share:g}" for share in SHARES)
    return f"| share of the way | {head} |\n{'|---' * (len(SHARES) + 1)}|\n| worse redrawn by | {' | '.join(cells)} |"


def _stage(stages: Path, name: str) -> Path:
    """The weights that a stage left."""
    for path in sorted(stages.glob(f"*-{name}/result.safetensors")):
        return path
    raise InputError(f"{stages} holds no finished stage {name}: let the run end first")


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"redrawing_shares: {error}") from None
