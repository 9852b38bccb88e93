"""PoseViT: a vision transformer and a head of deconvolutions that predicts a 3D heat map of each joint.

Masked reconstruction, Sec. 3.2 and Table 7 of its supplement; the head follows ViTPose (Xu et al., NeurIPS 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.networks.vision_transformer import ViTConfig, ViTEncoder
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose_volumes import PoseVolumes


@dataclass(frozen=True)
class PoseViTConfig:
    """Defaults are the paper's network: ViT-B/16 at 256 px, maps of 64 px."""

    vit: ViTConfig = field(default_factory=ViTConfig)
    joints: int = 21
    head_channels: int = 256  # of both deconvolutions


class VolumeHead(nn.Module):
    """Eq. 4: two deconvolutions, which double the grid of patches twice, and a 1x1 convolution to K volumes."""

    def __init__(self, width: int, channels: int, joints: int, depth_bins: int):
        """``width`` is that of the tokens, ``channels`` that of the deconvolutions."""
        super().__init__()
        self.joints = joints
        self.deconvolutions = nn.Sequential(*_deconvolution(width, channels), *_deconvolution(channels, channels))
        self.volumes = nn.Conv2d(channels, joints * depth_bins, 1)
        nn.init.normal_(self.volumes.weight, std=0.001)
        assert self.volumes.bias is not None
        nn.init.zeros_(self.volumes.bias)
        self.to(memory_format=torch.channels_last)  # the tokens' format: 0.4 of the time of a step

    def forward(self, tokens: Float[Tensor, "B N C"]) -> Float[Tensor, "B K D h w"]:
        """Volumes from the features of all patches of square images, row by row."""
        side = round(tokens.shape[1] ** 0.5)
        features = self.deconvolutions(tokens.transpose(1, 2).unflatten(2, (side, side)))
        return self.volumes(features).unflatten(1, (self.joints, -1))


class PoseViT(PoseNetwork):
    """Square images to K volumes, and to poses by ``volumes``."""

    def __init__(self, config: PoseViTConfig, volumes: PoseVolumes | None = None):
        """``volumes``: how the volumes are read, ``PoseVolumes()`` by default.

        Raises ``InputError`` for an encoder's weights that can't be loaded.
        """
        super().__init__()
        self.config = config
        self.volumes = volumes or PoseVolumes()
        self.encoder = ViTEncoder(config.vit)
        self.head = VolumeHead(config.vit.width, config.head_channels, config.joints, self.volumes.depth_bins)

    @property
    def cube_m(self) -> None:
        """None: the network reads colour images."""

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the transformer."""
        return self.encoder.parameters()

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K D h w"]:
        """Volumes at four times the grid of patches. Raises ``InputError`` for images of another size."""
        return self.head(self.encoder.encode(images))

    def predict(self, images: Float[Tensor, "B 3 S S"]) -> PoseOutput:
        """Poses decoded from the volumes. Raises ``InputError`` for images of another size."""
        volumes = self(images)
        with torch.autocast(images.device.type, enabled=False):  # positions need more digits than bfloat16 has
            pose = self.volumes.decode(volumes.float())
            uv_px = image_from_map(pose.uv_map, images.shape[-2:], volumes.shape[-2:])
            return PoseOutput(uv_px, pose.confidence, pose.relative_depth)


def _deconvolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """4x4, stride 2; ReLU before batch norm, as the supplement's Table 7 has them."""
    deconvolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    nn.init.kaiming_normal_(deconvolution.weight, mode="fan_in", nonlinearity="relu")
    assert deconvolution.bias is not None
    nn.init.zeros_(deconvolution.bias)
    return deconvolution, nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)
