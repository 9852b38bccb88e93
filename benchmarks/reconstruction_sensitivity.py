"""Reconstruction error of a trained reconstructor, by where some joints of the target's frames are placed.

    python benchmarks/reconstruction_sensitivity.py RUN

RUN is a run of SynthShift with geometric reconstruction. The target's frames are reconstructed from their true joints.
Those joints that ``data.annotation_gap`` can move are moved towards their neighbours by an interpolation factor.
The target's labels are used by this table alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from posebridge.contracts.config_file import load_config
from posebridge.data.annotation_gap import gap_joints
from posebridge.data.pairs import PairStream
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.methods.geometric_reconstruction.perceptual_features import PerceptualLoss
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructionConfig,
    reconstruction_loss,
)
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.weights import load_weights
from posebridge.presets.table import find_preset

FACTORS = (-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5, 0.7)


@dataclass(frozen=True)
class Options:
    """Measure a reconstructor's error by the place of some joints."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""

    pairs: int = 256
    """Pairs of frames of the target."""


@torch.inference_mode()
def table(options: Options) -> str:
    """The error above that of the best factor, as Markdown. Raises ``InputError`` for a run without reconstructor."""
    _, config = load_config(options.run / "config.yaml", {"synthshift": SynthShiftConfig})
    track = TRACKS[config.track]
    preset = find_preset(track.preset_family(config.target_frames == "videos"), config.preset, config.method)
    reconstruction = _reconstruction(options.run, preset.config_of(config.method))
    network = network_as(load_model(options.run, POSE).network, PoseResNet)
    stages = options.run / "stages"
    reconstructor = FrameReconstructor(reconstruction.reconstructor, track.skeleton).eval()
    load_weights(network, _weights(stages, "warm-start"))  # whose features the loss compares
    load_weights(reconstructor, _weights(stages, "reconstructor"))
    compare = PerceptualLoss(reconstruction.features, network)
    assert track.video_frames is not None
    assert preset.data.target is not None
    count = preset.data.target - preset.data.target % track.video_frames
    loader = RenderLoader(track=config.track, model=preset.model, labels=frozenset({"joints"}), sets=config.sets)
    videos = loader.load(config.target_domain, count, 2 * config.seed + 1, track.video_frames)
    frames = PairStream(videos, options.pairs, 0, reconstruction.pairs).batch(0)
    assert frames.uv_px is not None
    joints, towards = gap_joints(track.skeleton)
    losses = []
    for factor in FACTORS:
        uv_px = frames.uv_px.clone()
        uv_px[:, joints] = torch.lerp(frames.uv_px[:, joints], frames.uv_px[:, towards], factor)
        losses.append(reconstruction_loss(reconstructor, compare, frames, uv_px).item())
    cells = (f"{loss / min(losses) - 1:.1%}" for loss in losses)
    head = " | ".join(f"{factor:g}" for factor in FACTORS)
    columns = "|---" * (len(FACTORS) + 1)
    return f"| interpolation factor | {head} |\n{columns}|\n| error above the least | {' | '.join(cells)} |"


def _reconstruction(run: Path, config: object) -> ReconstructionConfig:
    if not isinstance(config, GeometricReconstructionConfig) or config.reconstruction is None:
        raise InputError(f"{run} has no reconstructor: give a run of geometric-reconstruction")
    return config.reconstruction


def _weights(stages: Path, name: str) -> Path:
    """The file with the weights of a finished stage."""
    for path in sorted(stages.glob(f"*-{name}/result.safetensors")):
        return path
    raise InputError(f"{stages} has no finished stage {name}: finish the run first")


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"reconstruction_sensitivity: {error}") from None
