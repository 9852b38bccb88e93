"""Encoders and decoders of all modalities, and the Gaussians that they give for a batch (Algorithms 5.1 to 5.3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.methods.aligned_latent_spaces.config import AlignedLatentSpacesConfig
from posebridge.networks.aligned_latents import AlignedPoseNetwork
from posebridge.networks.latent_coders import GaussianHead, ImageEncoderConfig, ImageFeatures
from posebridge.networks.point_clouds import CloudCoderConfig, CloudDecoder, CloudEncoder, CloudFeatures
from posebridge.representations.gaussian import Gaussian, product_of_experts


@dataclass(frozen=True)
class Modalities:
    """What is known of B samples. Absent values are zero, and masked."""

    image: Float[Tensor, "B 3 S S"]
    cloud: Float[Tensor, "B N 3"]  # in the frame of the view, about its mean, in mean reference bones of the source
    pose: Float[Tensor, "B J 3"]  # in the frame of the view, about the origin, in the sample's reference bones
    uv_px: Float[Tensor, "B J 2"]  # joints in pixels of the image
    has_image: Bool[Tensor, "B"]
    has_cloud: Bool[Tensor, "B"]
    has_joint: Bool[Tensor, "B J"]  # in space
    has_pixel: Bool[Tensor, "B J"]  # in the image


@dataclass(frozen=True)
class Posterior:
    """Gaussians of the samples at ``rows`` of a batch."""

    rows: Int[Tensor, "n"]
    gaussian: Gaussian


class JointEncoder(nn.Module):
    """q(z | x, w) of Eq. 5.3: features of image and cloud, by networks of its own, and one Gaussian of both."""

    def __init__(self, images: ImageEncoderConfig, clouds: CloudCoderConfig, latent: int):
        super().__init__()
        self.images = ImageFeatures(images)
        self.clouds = CloudFeatures(clouds)
        self.head = GaussianHead(self.images.channels + self.clouds.channels, images.hidden, latent)

    def forward(self, images: Float[Tensor, "B 3 S S"], clouds: Float[Tensor, "B N 3"]) -> Gaussian:
        """Gaussians of pairs."""
        return self.head(torch.cat([self.images(images), self.clouds(clouds)], dim=1))


class LatentModels(nn.Module):
    """The network that is kept, and the encoders and decoders of other modalities."""

    def __init__(self, config: AlignedLatentSpacesConfig, network: AlignedPoseNetwork):
        super().__init__()
        self.prior_expert = config.prior_expert
        self.network = network
        self.cloud_encoder = self.joint_encoder = self.cloud_decoder = None
        latent = network.config.latent
        if config.clouds is not None:
            self.cloud_decoder = CloudDecoder(config.clouds, latent)
            match config.alignment:
                case "product":
                    self.cloud_encoder = CloudEncoder(config.clouds, latent)
                case "divergence":
                    self.joint_encoder = JointEncoder(network.config.encoder, config.clouds, latent)

    def posteriors(self, known: Modalities) -> dict[str, Posterior]:
        """Gaussians by what they are of: "image", "cloud", or "joint" of both, for the samples that have it.

        Raises ``InputError`` for a batch in which no sample has a modality with an encoder.
        """
        of_one = self._of_one_modality(known)
        if not of_one:
            raise InputError("no sample of the batch has an image or a cloud to encode: give samples with one of them")
        both = (known.has_image & known.has_cloud).nonzero()[:, 0]
        if self.joint_encoder is not None and len(both):
            return {**of_one, "joint": Posterior(both, self.joint_encoder(known.image[both], known.cloud[both]))}
        joint = self._product(of_one, len(known.image))
        return of_one if joint is None else {**of_one, "joint": joint}

    def _of_one_modality(self, known: Modalities) -> dict[str, Posterior]:
        """Gaussians of the modalities that have an encoder."""
        found = {}
        for name, encoder, values, present in (
            ("image", self.network.encoder, known.image, known.has_image),
            ("cloud", self.cloud_encoder, known.cloud, known.has_cloud),
        ):
            rows = present.nonzero()[:, 0]
            if encoder is not None and len(rows):
                found[name] = Posterior(rows, encoder(values[rows]))
        return found

    def _product(self, of_one: Mapping[str, Posterior], count: int) -> Posterior | None:
        """Eq. 5.5 of the samples that have two modalities or more; None where no sample has."""
        experts = [posterior.gaussian.spread(posterior.rows, count) for posterior in of_one.values()]
        present = torch.zeros(len(experts), count, dtype=torch.bool, device=experts[0].mean.device)
        for mask, posterior in zip(present, of_one.values(), strict=True):
            mask[posterior.rows] = True
        rows = (present.sum(dim=0) > 1).nonzero()[:, 0]
        if not len(rows):
            return None
        chosen = [expert[rows] for expert in experts]
        return Posterior(rows, product_of_experts(chosen, self.prior_expert, [*present[:, rows]]))
