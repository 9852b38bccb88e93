"""Dots of three colours as far, small subjects: images, joints, masks and depth that agree with their cameras."""

from dataclasses import replace

import torch

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.methods.aligned_latent_spaces.alignment import Alignment
from posebridge.methods.aligned_latent_spaces.config import AlignedLatentSpacesConfig
from posebridge.networks.aligned_latents import AlignedPoseConfig, AlignedPoseNetwork, HeatMapConfig
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.point_clouds import CloudCoderConfig
from posebridge.rendering.photometry import OFF
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from training.dots import SIDE, SKELETON, dots, with_trainer

FOCAL, DISTANCE_M = 200.0, 2.0
ENCODER = ImageEncoderConfig("test_resnet", hidden=16)
NETWORK = AlignedPoseConfig(
    size_px=SIDE, joints=3, latent=6, encoder=ENCODER, pose_hidden=(16,), heat_maps=HeatMapConfig(8, 1.0, width=4)
)
CONFIG = AlignedLatentSpacesConfig(
    schedule=Schedule(steps=6, learning_rate=3e-3, decay="steps", drops=(0.5,)),
    batch_size=8,
    weak_batch_size=4,
    clouds=CloudCoderConfig(points=16, encoder_widths=(8, 16), hidden=8, folding_width=16),
    geometry=GeometryConfig(rotation_deg=180, shear_deg=0, translation=0.1, scale=(1.0, 1.2)),
    appearance=OFF,
)


def far_dots(count: int, seed: int) -> LabelledBatch:
    """Dots on a tilted plane about 2 m away, seen in crops beside the middle of their image; the plane is the hand."""
    batch = dots(count, seed)
    assert batch.uv_px is not None
    camera = Camera(torch.tensor([[FOCAL, 0, -40.0], [0, FOCAL, 70.0], [0, 0, 1]]).repeat(count, 1, 1))
    v, u = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    depth_m = (DISTANCE_M + 0.002 * (u - v)).expand(count, SIDE, SIDE)
    joint_depth_m = DISTANCE_M + 0.002 * (batch.uv_px[..., 0] - batch.uv_px[..., 1])
    ring = batch.rgb.amax(dim=1) > 0.2
    joints_m = camera.unproject(batch.uv_px, joint_depth_m)
    return replace(batch, camera=camera, joints_m=joints_m, hand_mask=ring, depth_label_m=depth_m.clone())


SOURCE = far_dots(40, seed=1)


def network(config: AlignedPoseConfig = NETWORK) -> AlignedPoseNetwork:
    torch.manual_seed(0)
    return AlignedPoseNetwork(config, SKELETON, reference_length_m=0.1)


def stage(
    config: AlignedLatentSpacesConfig = CONFIG, network_config: AlignedPoseConfig = NETWORK, source=SOURCE
) -> Alignment:
    """A stage with its trainer, so that its terms can be computed."""
    context = Context(
        new_network=torch.nn.Identity,
        skeleton=SKELETON,
        source=InMemoryFrames(InMemoryDataset([source]), seed=3),
        target=None,
        selection=None,
        seed=5,
    )
    return with_trainer(Alignment(config, context, network(network_config)))


def first_terms(made: Alignment, number: int = 0) -> dict[str, torch.Tensor]:
    """The terms of one batch."""
    batches = {name: stream.batch(number) for name, stream in made.streams.items()}
    return made.terms(batches, torch.Generator().manual_seed(number))
