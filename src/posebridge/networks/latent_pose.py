"""3D pose from an image through a latent space: an encoder of images and a decoder of poses.

The network has what a prediction needs of a variational autoencoder: q(z | image) and p(pose | z).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.geometry.boxes import JOINT_BOX_PADDING
from posebridge.networks.latent_coders import ImageEncoder, ImageEncoderConfig, VectorDecoder
from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.representations.gaussian import Gaussian

_MIN_EXTENT = 1e-6  # reference bones: the extent of a pose by which its pixels are scaled


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

    Pixels are those of a projection along the optical axis, whose box is the one that crops are cut around: it lies in
    the middle of the crop, and its larger side is that of the crop over ``JOINT_BOX_PADDING``. A latent space has no
    heat maps, so the joints' place within the crop is not predicted, and confidence is 1.
    """
    relative = pose - pose[:, [root]]
    low, high = relative[..., :2].amin(dim=1), relative[..., :2].amax(dim=1)
    extent = (high - low).amax(dim=1).clamp_min(_MIN_EXTENT)
    px_per_bone = size_px / JOINT_BOX_PADDING / extent
    centred = relative[..., :2] - ((low + high) / 2)[:, None]
    return PoseOutput(
        uv_px=(size_px - 1) / 2 + centred * px_per_bone[:, None, None],
        confidence=torch.ones_like(relative[..., 0]),
        relative_depth=relative[..., 2],
        joints_m=None if reference_length_m is None else relative * reference_length_m,
    )
