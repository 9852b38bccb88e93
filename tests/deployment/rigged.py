"""Small models, and a network that finds coloured dots by construction."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import AlignedPoseSpec, PoseSpec, VolumePoseSpec
from posebridge.networks.aligned_latents import AlignedPoseConfig, AlignedPoseNetwork, HeatMapConfig
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.pose_vit import PoseViT, PoseViTConfig
from posebridge.networks.vision_transformer import ViTConfig
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.hand import HAND21

SMALL = PoseResNetConfig(encoder="test_resnet", encoder_stride=32, decoder_channels=8)
SPEC = PoseSpec(SMALL, size_px=64, reference_length_m=0.1)
SMALL_VIT = PoseViTConfig(ViTConfig(size_px=64, patch_px=16, width=16, depth=1, heads=2), head_channels=8)
VOLUME_SPEC = VolumePoseSpec(SMALL_VIT, PoseVolumes("softmax", depth_bins=8), reference_length_m=0.1)
ALIGNED_SPEC = AlignedPoseSpec(
    network=AlignedPoseConfig(
        size_px=64,
        latent=8,
        encoder=ImageEncoderConfig("test_resnet", hidden=16),
        pose_hidden=(16,),
        heat_maps=HeatMapConfig(side=16, width=4),
    ),
    reference_length_m=0.1,
)
CHANNEL_OF_JOINT = [0, *(1 + j % 2 for j in range(1, len(HAND21)))]  # the wrist is red, the others green or blue


def small_model(folder: Path, spec: PoseSpec = SPEC) -> PoseResNet:
    """Save a network with random weights."""
    network = PoseResNet(spec.network, spec.maps)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in network.state_dict().values():  # running statistics too
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    save_model(folder, spec, network)
    return network.eval()


def small_volume_model(folder: Path, spec: VolumePoseSpec = VOLUME_SPEC) -> PoseViT:
    """Save a transformer with random weights, whose volumes have distinct peaks."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = PoseViT(spec.network, spec.volumes)
        nn.init.normal_(network.head.volumes.weight)
        for parameter in network.head.deconvolutions.parameters():
            nn.init.normal_(parameter, std=0.2)
    save_model(folder, spec, network)
    return network.eval()


def draw_dots(width: int, height: int, dots: np.ndarray) -> np.ndarray:
    """A red, a green and a blue disc at (3, 2) pixels, on black."""
    image = np.zeros((height, width, 3), np.uint8)
    for channel, (u, v) in enumerate(dots):
        colour = [255 if c == channel else 0 for c in range(3)]
        cv2.circle(image, (round(u * 16), round(v * 16)), 7 * 16, colour, cv2.FILLED, cv2.LINE_AA, 4)
    return image


def truth_of(dots: np.ndarray) -> np.ndarray:
    """Pixels of the joints for these discs, (21, 2)."""
    return dots[CHANNEL_OF_JOINT]


class DotFinder(HeatmapNetwork):
    """Heat maps of a quarter of the image's side that peak at the discs; relative depth 0."""

    def __init__(self, maps: PoseMaps = SPEC.maps):
        super().__init__()
        self.maps = maps
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        weight = (images - 0.4).clamp_min(0)  # ignore compression artefacts on the background
        weight = weight / weight.sum(dim=(-2, -1), keepdim=True)
        u = (weight.sum(dim=-2) * torch.arange(width)).sum(dim=-1)
        v = (weight.sum(dim=-1) * torch.arange(height)).sum(dim=-1)
        uv_px = torch.stack([u, v], dim=-1)[:, CHANNEL_OF_JOINT]
        small = (height // 4, width // 4)
        maps, inside = encode_gaussian(map_from_image(uv_px, (height, width), small), *small, 2.0, "sum")
        assert torch.compiler.is_exporting() or inside.all()
        return maps.clamp_min(1e-30).log(), torch.zeros_like(maps)


def small_aligned_model(folder: Path, spec: AlignedPoseSpec = ALIGNED_SPEC) -> AlignedPoseNetwork:
    """Save a network with random weights, whose poses and heat maps differ between images."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = AlignedPoseNetwork(spec.network, HAND21, spec.reference_length_m)
        for module in (network.encoder.head, network.pose_decoder):
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.4)
        if network.heat_decoder is not None:  # all heights are positive, as those around true maxima are
            last = network.heat_decoder.last
            assert last.bias is not None
            with torch.no_grad():
                last.weight *= 8
                last.bias.fill_(0.5)
    save_model(folder, spec, network)
    return network.eval()


def change_entry(folder: Path, *path_and_value) -> None:
    """Set one entry of model.json."""
    *path, name, value = path_and_value
    content = json.loads((folder / "model.json").read_text())
    at = content
    for step in path:
        at = at[step]
    at[name] = value
    (folder / "model.json").write_text(json.dumps(content))
