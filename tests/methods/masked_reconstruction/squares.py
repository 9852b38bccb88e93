"""Bright squares before dark backgrounds, with their masks: 32 px, 16 patches."""

from dataclasses import replace

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import NONE
from posebridge.data.in_memory import InMemoryDataset
from posebridge.methods.masked_reconstruction.masks import label_masks
from posebridge.methods.masked_reconstruction.pretraining import Foreground, Pretraining, PretrainingConfig
from posebridge.networks.masked_autoencoder import AutoencoderConfig, MaskedAutoencoder
from posebridge.networks.vision_transformer import ViTConfig
from posebridge.rendering.photometry import OFF
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from training.dots import SKELETON, with_trainer

SIZE, PATCH = 32, 8
VIT = ViTConfig(size_px=SIZE, patch_px=PATCH, width=24, depth=2, heads=3)
AUTOENCODER = AutoencoderConfig(VIT, 16, 2)
SCHEDULE = Schedule(steps=6, learning_rate=1e-3, decay="cosine", warmup=0.2, weight_decay=0.05, second_momentum=0.95)
PLAIN = PretrainingConfig(
    schedule=SCHEDULE, batch_size=8, accumulated=1, composited_frac=0.0, beta=0.0, geometry=NONE, appearance=OFF
)


def squares(count: int, seed: int) -> LabelledBatch:
    """Squares of 0.7 to 1 with a joint in each of three corners, before noise below 0.3."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    mask = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    uv = torch.zeros(count, 3, 2)
    for i in range(count):
        top, left = torch.randint(4, 14, (2,), generator=generator).tolist()
        mask[i, top : top + 12, left : left + 12] = True
        uv[i] = torch.tensor([[left, top], [left + 11, top], [left, top + 11]])
    image = torch.where(mask[:, None], 0.7 + image, image)
    depth = 1 + 0.1 * torch.rand(count, 3, 1, generator=generator)
    present = torch.ones(count, 3, dtype=torch.bool)
    return LabelledBatch(
        image=image,
        key=tuple(f"{seed}-{i}" for i in range(count)),
        uv_px=uv,
        valid=present,
        visible=present,
        joints_m=torch.cat([(uv - SIZE / 2) / SIZE, depth], dim=-1),
        mask=mask,
    )


SOURCE, TARGET = squares(40, seed=1), squares(24, seed=2)


def target_masks(batch) -> torch.Tensor:
    """The true masks of target squares, by key."""
    assert TARGET.mask is not None
    return TARGET.mask[[TARGET.key.index(key) for key in batch.key]]


MASKED = Foreground(source=label_masks, target=target_masks)


def context(**changes) -> Context:
    made = Context(
        new_network=torch.nn.Identity,
        skeleton=SKELETON,
        source=InMemoryFrames(InMemoryDataset([SOURCE]), seed=3),
        target=InMemoryFrames(InMemoryDataset([TARGET.unlabelled()]), seed=4),
        selection=None,
        seed=5,
    )
    return replace(made, **changes)


def pretraining(config: PretrainingConfig = PLAIN, foreground: Foreground = MASKED, **changes) -> Pretraining:
    """A stage with its trainer, so that its terms can be computed."""
    torch.manual_seed(0)
    return with_trainer(Pretraining(config, context(**changes), MaskedAutoencoder(AUTOENCODER), foreground))


def first_terms(stage, number: int = 0) -> dict[str, torch.Tensor]:
    """The terms of one batch."""
    batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
    return stage.terms(batches, torch.Generator().manual_seed(number))
