"""Drawn hands with masks and depth, and the stages of the dual-modality network on them."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from data.on_disk import write_image
from methods import stick_hands
from methods.stick_hands import SIDE, network
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import NONE, GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.perturbations import PerturbationConfig
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.dual_modality.fine_tuning import FineTuning, FineTuningConfig
from posebridge.methods.dual_modality.pretraining import Pretraining, PretrainingConfig
from posebridge.methods.dual_modality.supervision import ModalityWeights
from posebridge.methods.dual_modality.views import DepthTextureConfig, ViewConfig
from posebridge.networks.dual_modality import DualModalityNetwork
from posebridge.rendering.photometry import OFF
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from training.dots import with_trainer
from training.stick_figures import draw

SCHEDULE = Schedule(steps=4, learning_rate=1e-3, decay="cosine", warmup=0.2, second_momentum=0.99)
UNTEXTURED = DepthTextureConfig(erase_probability=0.0, noise_probability=0.0)
PLAIN = ViewConfig(geometry=NONE, appearance=OFF, depth_texture=UNTEXTURED, composited_frac=0.0)
WEIGHTS = ModalityWeights(heat=1.0)
UNMOVED = PerturbationConfig(translation=0.0, rotation_deg=0.0, quarter_turns=False)
STRONG_VIEWS = GeometryConfig(rotation_deg=180.0, shear_deg=0.0, translation=20 / 256, scale=(0.8, 1.0))
PRETRAINING = PretrainingConfig(schedule=SCHEDULE, batch_size=6, weights=WEIGHTS)
FINE_TUNING = FineTuningConfig(schedule=SCHEDULE, batch_size=6, max_variance=1e6, weights=WEIGHTS)
CONFIG = DualModalityConfig(PRETRAINING, FINE_TUNING)


@lru_cache
def labelled() -> LabelledBatch:
    """The source: a pixel of a hand has the depth of the nearest joint."""
    batch = stick_hands.labelled()
    assert batch.uv_px is not None
    assert batch.joints_m is not None
    mask = draw(batch.uv_px, HAND21, torch.zeros(len(batch), 3, SIDE, SIDE), 0.03).amax(1) > 0.3
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).float().flatten(0, 1)
    nearest = torch.cdist(pixels.expand(len(batch), -1, -1), batch.uv_px).argmin(-1)
    depth_m = batch.joints_m[..., 2].gather(1, nearest).view(-1, SIDE, SIDE)
    return replace(batch, hand_mask=mask, depth_label_m=depth_m)


def context(**changes) -> Context:
    source = InMemoryFrames(InMemoryDataset([labelled()]), seed=3)
    return replace(stick_hands.context(), source=source, **changes)


def branches(stop_gradient: bool = True) -> DualModalityNetwork:
    torch.manual_seed(0)
    return DualModalityNetwork(network(), stop_gradient)


def pretraining(config: PretrainingConfig = PRETRAINING, backgrounds: UnconstrainedImages | None = None) -> Pretraining:
    """A stage with its trainer, so that its terms can be computed."""
    return with_trainer(Pretraining(config, context(), branches(), backgrounds))


def fine_tuning(config: FineTuningConfig = FINE_TUNING, backgrounds: UnconstrainedImages | None = None) -> FineTuning:
    """Likewise."""
    return with_trainer(FineTuning(config, context(), branches(), backgrounds))


def first_terms(stage, number: int = 0) -> dict[str, Tensor]:
    """The terms of one batch."""
    batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
    return stage.terms(batches, torch.Generator().manual_seed(number))


def other_images(folder: Path) -> UnconstrainedImages:
    """Four pictures of noise in a folder."""
    for seed in range(4):
        write_image(folder / f"{seed}.png", 32, 32, seed)
    return UnconstrainedImages(folder)
