"""3D pose from an image through a latent space: an encoder of images and a decoder of poses.

The network has what a prediction needs of a variational autoencoder: q(z | image) and p(pose | z).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.latent_coders import ImageEncoder, ImageEncoderConfig, VectorDecoder
from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.representations.gaussian import Gaussian
from posebridge.representations.pose25d import fill_crop


@dataclass(frozen=True)
class LatentPoseConfig:
    """Encoder and decoder. Defaults are those of chapter 4: ResNet-18, and six layers of 512."""

    joints: int = 21
    latent: int = 64
    hidden: tuple[int, ...] = (512,) * 6  # widths of the layers for poses
    encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)


class LatentPoseNetwork(PoseNetwork):
    """Images to 3D poses relative to the root, in reference bones, by the mean of q(z | image)."""

    def __init__(self, config: LatentPoseConfig, root: int, reference_length_m: float | None):
        """``reference_length_m`` scales poses to metres; None: only pixels and relative depth are predicted."""
        super().__init__()
        self.config = config
        self.root = root
        self.reference_length_m = reference_length_m
        self.encoder = ImageEncoder(config.encoder, config.latent)
        self.decoder: nn.Module = VectorDecoder(config.latent, 3 * config.joints, config.hidden)

    @property
    def cube_m(self) -> None:
        """None: the network reads colour images."""

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Gaussian:
        """q(z | image)."""
        return self.encoder(images)

    def decode(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B J 3"]:
        """Poses in reference bones."""
        return self.decoder(z).float().unflatten(1, (self.config.joints, 3))

    def predict(self, images: Float[Tensor, "B 3 H W"]) -> PoseOutput:
        """Poses in float32; see ``pose_output``."""
        pose = self.decode(self.encode(images).mean)
        return pose_output(pose, self.root, self.reference_length_m, images.shape[-1])


def pose_output(pose: Float[Tensor, "B J 3"], root: int, reference_length_m: float | None, size_px: int) -> PoseOutput:
    """Poses in reference bones as the output of a network of square crops.

    Pixels are those of a projection along the optical axis, by ``fill_crop``. A latent space has no heat maps, so the
    joints' place within the crop is not predicted, and confidence is 1.
    """
    relative = pose - pose[:, [root]]
    return PoseOutput(
        uv_px=fill_crop(relative[..., :2], size_px),
        confidence=torch.ones_like(relative[..., 0]),
        relative_depth=relative[..., 2],
        joints_m=None if reference_length_m is None else relative * reference_length_m,
    )
