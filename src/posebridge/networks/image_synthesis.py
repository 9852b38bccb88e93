"""Synthesis of images by pose and content: a disentangled VAE whose x is an image (chapter 4 of Yang, 2022).

Its factors are the 3D pose and a tag image, another image of the same content (Fig. 4.2a). Without tag images the
content is the extra latent z_u, which is encoded from the image itself (Fig. 4.2b).
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.disentangled_vae import DisentangledVAE, FactorCoder
from posebridge.networks.latent_coders import (
    ImageEncoder,
    ImageEncoderConfig,
    PictureDecoder,
    VectorDecoder,
    VectorEncoder,
)
from posebridge.networks.latent_pose import pose_output
from posebridge.networks.pose_network import PoseNetwork, PoseOutput

POSE, TAG = "pose", "tag"  # factors
ContentSource = Literal["tags", "extra"]


@dataclass(frozen=True)
class ImageSynthesisConfig:
    """Defaults are those of chapter 4: ResNet-18, DCGAN, six layers of 512, a latent of 32 + 32."""

    size_px: int = 128  # not given: a multiple of DCGAN's 64
    joints: int = 21
    pose_latent: int = 32
    content_latent: int = 32
    content: ContentSource = "tags"  # extra: z_u, without tag images
    hidden: tuple[int, ...] = (512,) * 6
    decoder_width: int = 64  # channels of the decoder's last features
    encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)


class ImageSynthesisNetwork(PoseNetwork):
    """Images from poses and contents, and both from images."""

    def __init__(self, config: ImageSynthesisConfig, root: int, reference_length_m: float | None):
        """Raises ``InputError`` for sizes that ``PictureDecoder`` can't decode."""
        super().__init__()
        self.config = config
        self.root = root
        self.reference_length_m = reference_length_m
        latent = config.pose_latent + config.content_latent
        tags = config.content == "tags"
        coordinates = 3 * config.joints
        factors = {
            POSE: FactorCoder(
                VectorEncoder(coordinates, config.pose_latent, config.hidden),
                VectorDecoder(config.pose_latent if tags else latent, coordinates, config.hidden),
                config.pose_latent,
            )
        }
        if tags:
            factors[TAG] = FactorCoder(
                ImageEncoder(config.encoder, config.content_latent), self._pictures(config.content_latent),
                config.content_latent,
            )  # fmt: skip
        self.vae = DisentangledVAE(
            factors,
            self._pictures(latent),
            None if tags else ImageEncoder(config.encoder, config.content_latent),
            0 if tags else config.content_latent,
        )
        self.encoder = ImageEncoder(config.encoder, latent)  # q(z | x) of the embedding step

    def _pictures(self, latent: int) -> nn.Module:
        picture = PictureDecoder(latent, self.config.size_px, 3, self.config.decoder_width)
        return nn.Sequential(picture, nn.Sigmoid())

    @property
    def cube_m(self) -> None:
        """None: the network reads colour images."""

    def pose_latents(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        """Means of z_pose by the embedding step's encoder. Raises ``InputError`` for images of another size."""
        self._check(images)
        return self.vae.split(self.encoder(images).mean)[POSE]

    def latents_of_poses(self, poses: Float[Tensor, "B J 3"]) -> Float[Tensor, "B d"]:
        """Means of z_pose of poses relative to the root, in reference bones."""
        return self.vae.factor(POSE).encoder(poses.flatten(1)).mean

    def content_latents(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        """Means of q(z_tag | tag image), or of q(z_u | image). Raises ``InputError`` for images of another size."""
        self._check(images)
        encoder = self.vae.extra_encoder if self.config.content == "extra" else self.vae.factor(TAG).encoder
        assert encoder is not None
        return encoder(images).mean

    def synthesise(
        self, pose: Float[Tensor, "B d"], content: Float[Tensor, "B e"]
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B J 3"]]:
        """Images in [0, 1] of latent vectors, and the poses (reference bones) that the latent vectors decode to."""
        z = torch.cat([pose, content], dim=1)
        return self.vae.decode(z).float(), self._pose(z)

    def predict(self, images: Float[Tensor, "B 3 S S"]) -> PoseOutput:
        """Poses by the encoder of the embedding step and the decoder of poses, as ``pose_output`` has them."""
        self._check(images)
        return pose_output(self._pose(self.encoder(images).mean), self.root, self.reference_length_m, images.shape[-1])

    def _pose(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B J 3"]:
        return self.vae.decode_factor(POSE, z).float().unflatten(1, (self.config.joints, 3))

    def _check(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if (height, width) != (self.config.size_px, self.config.size_px):
            raise InputError(
                f"images are {width} x {height} px, and this model's {self.config.size_px} px: give crops of that size"
            )
