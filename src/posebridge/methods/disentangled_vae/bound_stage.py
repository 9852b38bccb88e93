"""What the stages of both models share: bounds as terms, and modules in the trainer's precision."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.losses.keypoints import weighted_mean
from posebridge.methods.disentangled_vae.config import BoundConfig
from posebridge.representations.gaussian import Gaussian
from posebridge.training.stage import Stage, Terms

DIVERGENCE = "divergence"


def bound_terms(likelihoods: Mapping[str, Float[Tensor, "B"]], posterior: Gaussian, usable: Bool[Tensor, "B"]) -> Terms:
    """Terms of a negative bound: means over usable samples of -log p of each observation, and of the KL divergence.

    The divergence to N(0, I) is summed over the latent dimensions.
    """
    terms = {name: weighted_mean(values, usable) for name, values in likelihoods.items()}
    return {**terms, DIVERGENCE: weighted_mean(posterior.divergence().sum(dim=1), usable)}


def bound_weights(bound: BoundConfig, x: str, *factors: str) -> dict[str, float]:
    """The weights of ``bound_terms``: lambda of x and of the factors, and beta."""
    return {x: bound.lambda_x, **dict.fromkeys(factors, bound.lambda_y), DIVERGENCE: bound.beta}


class BoundStage(Stage):
    """Base of the stages."""

    def in_precision(self, call: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """What a decoder returns, computed in the trainer's precision, as float32."""
        with self.trainer.precision_plugin.forward_context():
            return call(*inputs).float()

    def posterior(self, encoder: Callable[..., Gaussian], inputs: Tensor) -> Gaussian:
        """What an encoder returns, computed in the trainer's precision; heads return float32."""
        with self.trainer.precision_plugin.forward_context():
            return encoder(inputs)


def every(batch: Tensor) -> Bool[Tensor, "B"]:
    """A mask of all samples."""
    return torch.ones(len(batch), dtype=torch.bool, device=batch.device)
