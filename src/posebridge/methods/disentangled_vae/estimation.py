"""Stages of the pose model: 3D pose into canonical pose and viewpoint, and images into the same latent space."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import draw_views, warp_batch
from posebridge.losses.elbo import gaussian_nll
from posebridge.methods.disentangled_vae.bound_stage import DIVERGENCE, BoundStage, bound_terms, bound_weights
from posebridge.methods.disentangled_vae.config import EstimationConfig
from posebridge.methods.disentangled_vae.pose_labels import PoseLabels, pose_labels
from posebridge.networks.disentangled_vae import DisentangledVAE, FactorCoder
from posebridge.networks.latent_coders import VectorDecoder, VectorEncoder
from posebridge.networks.latent_pose import LatentPoseConfig, LatentPoseNetwork
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.context import Context
from posebridge.training.stage import Terms

POSE, CANONICAL, VIEWPOINT = "pose", "canonical", "viewpoint"
WEAK_VIEWPOINT, WEAK_DIVERGENCE = "weak_viewpoint", "weak_divergence"


def pose_vae(config: LatentPoseConfig) -> DisentangledVAE:
    """x: the 3D pose; half of the latent space for the canonical pose, half for the viewpoint."""
    coordinates, half = 3 * config.joints, config.latent // 2
    sizes = {CANONICAL: (coordinates, half), VIEWPOINT: (9, config.latent - half)}
    factors = {
        name: FactorCoder(
            VectorEncoder(observed, latent, config.hidden), VectorDecoder(latent, observed, config.hidden), latent
        )
        for name, (observed, latent) in sizes.items()
    }
    return DisentangledVAE(factors, VectorDecoder(config.latent, coordinates, config.hidden))


def _observations(labels: PoseLabels) -> dict[str, Float[Tensor, "B d"]]:
    """The observed factors as vectors."""
    return {CANONICAL: labels.canonical.flatten(1), VIEWPOINT: labels.viewpoint.flatten(1)}


class PoseDisentangling(BoundStage):
    """The disentangling step on label triples, without images (Eq. 4.2, Algorithm 4.1, T1)."""

    name = "disentangling"

    def __init__(self, config: EstimationConfig, context: Context, vae: DisentangledVAE):
        bound = config.disentangling
        labelled = None if config.unlabelled == "poses" else config.labelled
        super().__init__(
            bound.schedule,
            {"source": context.source.subset(slice(0, labelled)).batches(bound.batch_size)},
            bound_weights(bound, POSE, CANONICAL, VIEWPOINT),
            **context.stage_options(1),
        )
        self.config = config
        self.skeleton = context.skeleton
        self.vae = vae

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """The negative of Eq. 4.2 on poses that are turned as images are in the embedding step."""
        batch = batches["source"]
        assert isinstance(batch, LabelledBatch)
        assert batch.joints_m is not None
        T_view_crop = draw_views(self.config.geometry, len(batch), 2, generator, batch.joints_m.device)
        labels = pose_labels(batch, self.skeleton, T_view_crop)
        observed = _observations(labels)
        posterior = self.vae.joint(self.vae.encode(observed))
        z = posterior.sample(generator)
        likelihoods = {POSE: gaussian_nll(self.vae.decode(z), labels.pose.flatten(1), self.config.deviation)}
        for name, decoded in self.vae.decode_factors(z).items():
            likelihoods[name] = gaussian_nll(decoded, observed[name], self.config.deviation)
        return bound_terms(likelihoods, posterior, labels.usable)

    def result(self) -> DisentangledVAE:
        """Encoders of the factors and all decoders."""
        return self.vae


class PoseEmbedding(BoundStage):
    """The embedding step: images into the latent space of poses, with decoders that stay (Eq. 4.8, T2)."""

    name = "embedding"
    trains_pose_network = True

    def __init__(self, config: EstimationConfig, context: Context, network: LatentPoseNetwork, vae: DisentangledVAE):
        """``network`` is given the decoder of poses. Raises ``InputError`` where no weakly labelled image is left."""
        bound, weak = config.embedding, config.unlabelled == "viewpoints"
        streams = {"source": context.source.subset(slice(0, config.labelled)).batches(bound.batch_size)}
        weights = bound_weights(bound, POSE, CANONICAL, VIEWPOINT)
        if weak:
            assert config.labelled is not None
            streams["weak"] = context.source.subset(slice(config.labelled, None)).batches(bound.batch_size)
            weights |= {WEAK_VIEWPOINT: config.lambda_weak, WEAK_DIVERGENCE: bound.beta}
        super().__init__(bound.schedule, streams, weights, **context.stage_options(2))
        self.config = config
        self.skeleton = context.skeleton
        network.decoder.load_state_dict(vae.decoder.state_dict())
        self.network = network.train()
        self.vae = vae
        for frozen in (self.vae, self.network.decoder):
            frozen.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "PoseEmbedding":
        """Called by the trainer: the decoders stay in evaluation mode."""
        super().train(mode)
        self.vae.eval()
        self.network.decoder.eval()
        return self

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """The negative of Eq. 4.8; for weakly labelled images with the viewpoint alone."""
        images, labels = self._view(batches["source"], generator)
        posterior = self.posterior(self.network.encoder, images)
        z = posterior.sample(generator)
        likelihoods = {
            POSE: gaussian_nll(self.network.decode(z), labels.pose, self.config.deviation),
            **self._factors(z, _observations(labels)),
        }
        terms = bound_terms(likelihoods, posterior, labels.usable)
        if "weak" in batches:
            images, labels = self._view(batches["weak"], generator)
            posterior = self.posterior(self.network.encoder, images)
            viewpoint = {VIEWPOINT: labels.viewpoint.flatten(1)}
            likelihoods = self._factors(posterior.sample(generator), viewpoint)
            weak = bound_terms(likelihoods, posterior, labels.usable)
            terms |= {WEAK_VIEWPOINT: weak[VIEWPOINT], WEAK_DIVERGENCE: weak[DIVERGENCE]}
        return terms

    def _factors(self, z: Tensor, observed: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "B"]]:
        return {
            name: gaussian_nll(self.vae.decode_factor(name, z), values, self.config.deviation)
            for name, values in observed.items()
        }

    def _view(self, batch: Observation, generator: torch.Generator) -> tuple[Float[Tensor, "B 3 S S"], PoseLabels]:
        """Augmented images with their labels."""
        assert isinstance(batch, LabelledBatch)
        T_view_crop = draw_views(self.config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)
        labels = pose_labels(batch, self.skeleton, T_view_crop)
        view = warp_batch(batch, T_view_crop, self.skeleton.mirror)
        return apply_appearance(view.rgb, self.config.appearance, generator), labels

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the encoder of images."""
        return self.network.encoder.parameters()

    def result(self) -> LatentPoseNetwork:
        """Encoder of images and decoder of poses."""
        return self.network
