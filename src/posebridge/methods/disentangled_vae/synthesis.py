"""Stages of the synthesis model: images into 3D pose and content, and the encoder of images behind them."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.pairs import PairConfig, split_pairs
from posebridge.data.streams import Stream
from posebridge.errors import InputError
from posebridge.losses.elbo import gaussian_nll
from posebridge.losses.keypoints import weighted_mean
from posebridge.methods.disentangled_vae.bound_stage import DIVERGENCE, BoundStage, bound_terms, bound_weights
from posebridge.methods.disentangled_vae.config import SynthesisConfig
from posebridge.methods.disentangled_vae.pose_labels import PoseLabels, pose_labels
from posebridge.networks.image_synthesis import POSE, TAG, ImageSynthesisNetwork
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context
from posebridge.training.stage import Terms

IMAGE, NOISE = "image", "noise"
# A tag image is any other image of the same sequence: frames of a recording, or renders of one content.
TAGS = PairConfig(stride=(1, 2**40))


def synthesis_streams(context: Context, batch_size: int, tags: bool) -> dict[str, Stream[Observation]]:
    """Labelled images, with a tag image for each where the model takes them.

    Raises ``InputError`` for a source without sequences whose images share their content.
    """
    if not tags:
        return {"source": context.source.batches(batch_size)}
    try:
        return {"pairs": context.source.pairs(batch_size, TAGS)}
    except InputError as error:
        raise InputError(
            f"this source has no tag images ({error}): choose renders with contents or recordings, or the preset with "
            "the extra latent"
        ) from error


class _SynthesisStage(BoundStage):
    """What both steps share."""

    def __init__(
        self,
        config: SynthesisConfig,
        context: Context,
        network: ImageSynthesisNetwork,
        weights: dict[str, float],
        number: int,
    ):
        bound = config.disentangling if number == 1 else config.embedding
        tags = network.config.content == "tags"
        super().__init__(
            bound.schedule,
            synthesis_streams(context, bound.batch_size, tags),
            weights,
            **context.stage_options(number),
        )
        self.config = config
        self.skeleton: Skeleton = context.skeleton
        self.network = network
        self.tags = tags

    def result(self) -> ImageSynthesisNetwork:
        """The network."""
        return self.network

    def _observed(self, batches: dict[str, Observation]) -> tuple[Tensor, PoseLabels, dict[str, Tensor]]:
        """Images, labels of their poses, and the observed factors: flat poses, and tag images where there are any."""
        if not self.tags:
            batch = batches["source"]
            assert isinstance(batch, LabelledBatch)
            labels = pose_labels(batch, self.skeleton)
            return batch.rgb, labels, {POSE: labels.pose.flatten(1)}
        tag, batch = split_pairs(batches["pairs"])
        assert isinstance(batch, LabelledBatch)
        labels = pose_labels(batch, self.skeleton)
        return batch.rgb, labels, {POSE: labels.pose.flatten(1), TAG: tag.rgb}

    def _likelihoods(self, z: Tensor, images: Tensor, observed: dict[str, Tensor]) -> dict[str, Tensor]:
        vae, config = self.network.vae, self.config
        deviations = {POSE: config.pose_deviation, TAG: config.image_deviation}
        found = {IMAGE: gaussian_nll(self.in_precision(vae.decode, z), images, config.image_deviation)}
        for name, values in observed.items():
            decoded = self.in_precision(partial(vae.decode_factor, name), z)
            found[name] = gaussian_nll(decoded, values, deviations[name])
        return found


class ImageDisentangling(_SynthesisStage):
    """The disentangling step: Eq. 4.2 with tag images, Eq. 4.6 and Algorithm 4.2 with the extra latent.

    With the extra latent, each step of the bound follows ``inner_steps`` steps on encoder and decoder of poses, in
    which z_u comes from other images.
    """

    name = "disentangling"

    def __init__(self, config: SynthesisConfig, context: Context, network: ImageSynthesisNetwork):
        tags = network.config.content == "tags"
        weights = bound_weights(config.disentangling, IMAGE, POSE, *((TAG,) if tags else ()))
        if not tags:
            weights[NOISE] = config.disentangling.lambda_y
        super().__init__(config, context, network, weights, 1)

    @property
    def is_inner(self) -> bool:
        """Whether this step is one of the inner loop."""
        cycle = 1 + self.config.inner_steps
        return not self.tags and self.global_step % cycle < self.config.inner_steps

    def training_step(self, item: tuple[int, dict[str, Observation]], _: int) -> Tensor:
        """Called by the trainer. Terms that a step doesn't compute are left out of the table of metrics."""
        inner = self.is_inner
        loss = super().training_step(item, _)
        if not self.tags:
            computed = {"loss", NOISE} if inner else {"loss", IMAGE, POSE, DIVERGENCE}
            self.latest = {name: value for name, value in self.latest.items() if name in computed}
        return loss

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """The negative bound, or the term of the inner loop; terms of the other kind of step are zero."""
        images, labels, observed = self._observed(batches)
        zero = images.new_zeros(())
        if self.is_inner:
            return {**dict.fromkeys(self.term_weights, zero), NOISE: self._noise(images, labels, observed, generator)}
        vae = self.network.vae
        with self.trainer.precision_plugin.forward_context():
            posteriors = vae.encode(observed, images)
        posterior = vae.joint(posteriors)
        z = posterior.sample(generator)
        terms = bound_terms(self._likelihoods(z, images, observed), posterior, labels.usable)
        return terms if self.tags else {**terms, NOISE: zero}

    def _noise(
        self, images: Tensor, labels: PoseLabels, observed: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """-log p(y_1 | [z_y1, z_noise]) (Algorithm 4.2, lines 8 to 11)."""
        vae = self.network.vae
        assert vae.extra_encoder is not None
        with torch.no_grad():
            extra = self.posterior(vae.extra_encoder, images)
        z = vae.with_noise(observed, extra, generator)
        decoded = vae.decode_factor(POSE, z)
        return weighted_mean(gaussian_nll(decoded, observed[POSE], self.config.pose_deviation), labels.usable)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of all encoders and decoders but the encoder of the embedding step."""
        return self.network.vae.parameters()


class ImageEmbedding(_SynthesisStage):
    """The embedding step: q(z | x), with decoders that stay (Eq. 4.4, Algorithm 4.1, T2; 4.2, T3)."""

    name = "embedding"
    trains_pose_network = True

    def __init__(self, config: SynthesisConfig, context: Context, network: ImageSynthesisNetwork):
        factors = (POSE, TAG) if network.config.content == "tags" else (POSE,)
        super().__init__(config, context, network, bound_weights(config.embedding, IMAGE, *factors), 2)
        network.vae.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Any:
        """Called by the trainer: all but the trained encoder stays in evaluation mode."""
        super().train(mode)
        self.network.vae.eval()
        return self

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """The negative of Eq. 4.4."""
        images, labels, observed = self._observed(batches)
        posterior = self.posterior(self.network.encoder, images)
        z = posterior.sample(generator)
        return bound_terms(self._likelihoods(z, images, observed), posterior, labels.usable)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of q(z | x)."""
        return self.network.encoder.parameters()
