"""PoseResNet: an encoder, three deconvolutions, and 2K maps (Xiao et al. 2018, with Iqbal et al.'s depth maps)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.encoder_decoder import EncoderDecoder, Normalisation
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.representations.pose_maps import PoseMaps


@dataclass(frozen=True)
class PoseResNetConfig:
    """Defaults are the papers' network: ResNet-101 at 256 px, maps of 64 px."""

    encoder: str = "resnet101"  # any timm model that has features_only
    pretrained: str = "none"  # "none", "timm" (download), "package" (``encoders``), or the path of a weights file
    joints: int = 21
    encoder_stride: int = 32  # of the deepest features in use; maps come out at an eighth of it
    decoder_channels: int = 256
    skips: bool = False  # add the encoder's shallower features on the way up (helps small images)
    normalisation: Normalisation = field(default_factory=Normalisation)  # of the images


class PoseResNet(EncoderDecoder, FeatureNetwork):
    """Images to K heat maps (logits) and K maps of relative depth, and to poses by ``maps``."""

    def __init__(self, config: PoseResNetConfig, maps: PoseMaps | None = None):
        """``maps``: how the maps are read, ``PoseMaps()`` by default. Raises ``InputError`` as ``EncoderDecoder``."""
        width = config.decoder_channels
        super().__init__(
            config.encoder, config.pretrained, config.encoder_stride, width, config.skips, config.normalisation
        )
        self.config = config
        self.maps = maps or PoseMaps()
        self.head = nn.Conv2d(width, 2 * config.joints, 1)
        for parameter, deviation in zip(self.head.parameters(), (0.001, 0.0), strict=True):  # weight, bias
            nn.init.normal_(parameter, std=deviation)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the timm encoder."""
        return self.encoder.parameters()

    @property
    def feature_channels(self) -> int:
        """Those of the decoder."""
        return self.config.decoder_channels

    def map_features(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B C h w"]]:
        """The decoder's features."""
        return (self.upwards(self.features(images)),)

    def maps_of(
        self, features: Float[Tensor, "B C h w"], stack: int = -1
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K h w"]]:
        """Heat-map logits and depth maps from the decoder's features."""
        heat, depth = self.head(features).chunk(2, dim=1)
        return heat, depth
