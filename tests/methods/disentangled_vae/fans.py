"""A problem for both models: fans of three fingers before coloured grounds, 16 px, whose poses are known."""

from dataclasses import replace

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.networks.image_synthesis import ImageSynthesisConfig, ImageSynthesisNetwork
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.latent_pose import LatentPoseConfig, LatentPoseNetwork
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule

SIZE, GROUNDS = 16, 3
ENCODER = ImageEncoderConfig("test_resnet", hidden=16)
SCHEDULE = Schedule(steps=6, learning_rate=1e-3, decay="cosine", warmup=0.2)


def fans(count: int, seed: int) -> LabelledBatch:
    """Hands that are turned in the image; a white line shows their middle finger. Ground i is sequence i."""
    generator = torch.Generator().manual_seed(seed)
    pose = torch.zeros(21, 3)
    for finger in range(5):
        for segment in range(4):
            pose[1 + 4 * finger + segment] = torch.tensor([0.05 - 0.025 * finger, 0.08 + 0.03 * segment, 0.0])
    pose = pose + 0.004 * torch.randn(count, 21, 3, generator=generator) * (torch.arange(21) > 0)[:, None]
    angle = 6.28 * torch.rand(count, generator=generator)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros(count), torch.ones(count)
    R = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).unflatten(1, (3, 3))
    joints_m = pose @ R.transpose(1, 2) + torch.tensor([0.0, 0.0, 0.5])
    uv_px = SIZE / 2 + 40 * joints_m[..., :2]
    ground = torch.randint(GROUNDS, (count,), generator=generator)
    image = 0.6 * torch.eye(3)[ground][:, :, None, None].expand(-1, -1, SIZE, SIZE).clone()
    for i in range(count):
        for joint in range(9, 13):
            u, v = uv_px[i, joint].round().long().clamp(0, SIZE - 1).tolist()
            image[i, :, v, u] = 1.0
    present = torch.ones(count, 21, dtype=torch.bool)
    return LabelledBatch(
        image=image,
        key=tuple(f"{seed}-{i}" for i in range(count)),
        sequence=tuple(f"ground{i}" for i in ground.tolist()),
        frame=torch.arange(count),
        uv_px=uv_px,
        valid=present,
        visible=present,
        joints_m=joints_m,
    )


def estimator() -> LatentPoseNetwork:
    torch.manual_seed(0)
    return LatentPoseNetwork(LatentPoseConfig(latent=6, hidden=(16, 16), encoder=ENCODER), HAND21.root, 0.1)


def synthesiser(content: str = "tags") -> ImageSynthesisNetwork:
    torch.manual_seed(0)
    config = ImageSynthesisConfig(
        size_px=SIZE, pose_latent=3, content_latent=2, content=content, hidden=(16, 16), decoder_width=4,
        encoder=ENCODER,
    )  # fmt: skip
    return ImageSynthesisNetwork(config, HAND21.root, 0.1)


def context(count: int = 40, **changes) -> Context:
    dataset = InMemoryDataset([fans(count, seed=1)])
    made = Context(
        new_network=estimator,
        skeleton=HAND21,
        source=InMemoryFrames(dataset, seed=3, videos=dataset),
        target=None,
        selection=None,
        seed=5,
    )
    return replace(made, **changes)


def first_terms(stage, number: int = 0) -> dict[str, torch.Tensor]:
    """The terms of one batch."""
    batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
    return stage.terms(batches, torch.Generator().manual_seed(number))
