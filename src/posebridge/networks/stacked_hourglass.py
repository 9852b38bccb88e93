"""Stacked hourglasses (Newell et al., ECCV 2016) with 2.5D maps (Iqbal et al. 2018): the network of SemiHand."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.encoder_decoder import Normalisation
from posebridge.networks.hourglass import Hourglass, HourglassConfig, conv_bn_relu
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.representations.pose_maps import PoseMaps


@dataclass(frozen=True)
class StackedHourglassConfig:
    """Defaults are SemiHand's: two stacks, 64 x 64 pixels in and out. Widths are not given, and chosen."""

    stacks: int = 2
    map_px: int = 64  # side of the maps; larger images are averaged to it
    width: int = 128  # channels between stacks, and of the features
    hourglass: HourglassConfig = field(
        default_factory=lambda: HourglassConfig(blocks=4, channels=64, most_channels=256)
    )
    joints: int = 21
    normalisation: Normalisation = field(default_factory=Normalisation)  # of the images


class StackedHourglass(FeatureNetwork):
    """Images to K heat maps (logits) and K depth maps of each stack; the next one takes features and maps."""

    def __init__(self, config: StackedHourglassConfig, maps: PoseMaps):
        super().__init__()
        self.config, self.maps, self.stacks = config, maps, config.stacks
        width, outputs = config.width, 2 * config.joints
        self.stem = nn.Sequential(conv_bn_relu(3, width), conv_bn_relu(width, width))
        hourglasses = [Hourglass(config.hourglass, width) for _ in range(config.stacks)]
        self.hourglasses = nn.ModuleList(hourglasses)
        self.features = nn.ModuleList(conv_bn_relu(hourglass.outputs, width, size=1) for hourglass in hourglasses)
        self.heads = nn.ModuleList(nn.Conv2d(width, outputs, 1) for _ in range(config.stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(config.stacks - 1))
        self.from_maps = nn.ModuleList(nn.Conv2d(outputs, width, 1) for _ in range(config.stacks - 1))
        for head in self.heads:
            for parameter, deviation in zip(head.parameters(), (0.001, 0.0), strict=True):  # weight, bias
                nn.init.normal_(parameter, std=deviation)

    @property
    def feature_channels(self) -> int:
        """Those of each stack's features."""
        return self.config.width

    def map_features(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B C h w"], ...]:
        """The features of each stack. Raises ``ValueError`` for images that are no multiple of the maps' size."""
        side = self.config.map_px
        if images.shape[-1] % side or images.shape[-2] != images.shape[-1]:
            raise ValueError(f"images of {tuple(images.shape[-2:])} px can't be averaged to {side} x {side} px")
        x = self.stem(F.avg_pool2d(self.config.normalisation(images), images.shape[-1] // side))
        found = []
        for stack, (hourglass, to_features) in enumerate(zip(self.hourglasses, self.features, strict=True)):
            found.append(to_features(hourglass(x)))
            if stack + 1 < self.stacks:
                maps = self.heads[stack](found[-1])
                x = x + self.from_features[stack](found[-1]) + self.from_maps[stack](maps)
        return tuple(found)

    def maps_of(
        self, features: Float[Tensor, "B C h w"], stack: int = -1
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K h w"]]:
        """Heat-map logits and depth maps from the features of a stack."""
        heat, depth = self.heads[stack](features).chunk(2, dim=1)
        return heat, depth
