"""Disentangled variational autoencoder (chapter 4 of Yang's dissertation, 2022, Eq. 4.2 to 4.8).

A latent vector z consists of the latent vectors of N factors, and perhaps of an extra one: z = [z_1, ..., z_N, z_u].
Encoders of the factors and their decoders are learnt together with a decoder of x from all of z.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from posebridge.representations.gaussian import Gaussian, joined

EXTRA = "extra"  # name of z_u among the parts of z


class FactorCoder(nn.Module):
    """Encoder q(z_i | y_i) and decoder p(y_i | .) of one factor."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int):
        """``latent``: dimensions of z_i. The decoder takes z_i, or all of z in a model with an extra latent."""
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent = latent


class DisentangledVAE(nn.Module):
    """N factors, their observations y_i, and an observation x of all of them."""

    def __init__(
        self,
        factors: Mapping[str, FactorCoder],
        decoder: nn.Module,
        extra_encoder: nn.Module | None = None,
        extra_latent: int = 0,
    ):
        """
        Args:
            factors: by name, in the order of their latent vectors in z.
            decoder: p(x | z), from all of z.
            extra_encoder: q(z_u | x) (Eq. 4.6); None: z is fully specified by the factors (Eq. 4.2).
            extra_latent: dimensions of z_u.

        Raises ``ValueError`` for an extra latent without an encoder, or the reverse.
        """
        super().__init__()
        if (extra_encoder is None) != (extra_latent == 0):
            raise ValueError("an extra latent needs an encoder and at least one dimension")
        self.factors = nn.ModuleDict(factors)
        self.decoder = decoder
        self.extra_encoder = extra_encoder
        self.sizes = {name: coder.latent for name, coder in factors.items()}
        if extra_latent:
            self.sizes[EXTRA] = extra_latent

    @property
    def latent(self) -> int:
        """Dimensions of z."""
        return sum(self.sizes.values())

    def factor(self, name: str) -> FactorCoder:
        """The coder of a factor."""
        coder = self.factors[name]
        assert isinstance(coder, FactorCoder)
        return coder

    def encode(self, factors: Mapping[str, Tensor], x: Tensor | None = None) -> dict[str, Gaussian]:
        """q(z_i | y_i) of the factors, and q(z_u | x) in a model with an extra latent. Raises ``ValueError`` without x.

        Algorithms 4.1 and 4.2, line 3.
        """
        found = {name: self.factor(name).encoder(factors[name]) for name in self.factors}
        if self.extra_encoder is not None:
            if x is None:
                raise ValueError("the extra latent is encoded from x: give it")
            found[EXTRA] = self.extra_encoder(x)
        return found

    def decode(self, z: Float[Tensor, "B D"]) -> Tensor:
        """Means of p(x | z)."""
        return self.decoder(z)

    def decode_factors(self, z: Float[Tensor, "B D"]) -> dict[str, Tensor]:
        """Means of p(y_i | z_i); with an extra latent, of p(y_i | z) from all of z (Algorithm 4.2, line 5)."""
        return {name: self.decode_factor(name, z) for name in self.factors}

    def decode_factor(self, name: str, z: Float[Tensor, "B D"]) -> Tensor:
        """The mean of one factor's observation; see ``decode_factors``."""
        return self.factor(name).decoder(z if self.extra_encoder is not None else self.split(z)[name])

    def split(self, z: Float[Tensor, "B D"]) -> dict[str, Float[Tensor, "B d"]]:
        """The parts of z by name."""
        return dict(zip(self.sizes, z.split(list(self.sizes.values()), dim=1), strict=True))

    def split_posterior(self, posterior: Gaussian) -> dict[str, Gaussian]:
        """The marginals of q(z | x) over the parts of z, by name."""
        means, log_variances = self.split(posterior.mean), self.split(posterior.log_variance)
        return {name: Gaussian(means[name], log_variances[name]) for name in self.sizes}

    def joint(self, posteriors: Mapping[str, Gaussian]) -> Gaussian:
        """q(z | y_1, ..., y_N): independent parts as one Gaussian over z (Algorithm 4.1, line 4)."""
        return joined([posteriors[name] for name in self.sizes])

    def with_noise(self, factors: Mapping[str, Tensor], extra: Gaussian, generator: Generator) -> Float[Tensor, "B D"]:
        """z of the factors, with z_u drawn from the extra posteriors of the batch in another order.

        Algorithm 4.2, line 9: z_noise is drawn from N(mu, sigma) of q(z_u | x). The order makes it that of another
        sample, so that decoders of factors learn to ignore it. No gradient reaches q(z_u | x).
        """
        other = torch.randperm(len(extra), generator=generator).to(extra.mean.device)
        noise = Gaussian(extra.mean.detach(), extra.log_variance.detach())[other].sample(generator)
        parts = [self.factor(name).encoder(factors[name]).sample(generator) for name in self.factors]
        return torch.cat([*parts, noise], dim=1)
