"""Terms of evidence lower bounds, in nats: one value for each sample.

Likelihoods are sums over all values of an observation. A mean over pixels would make an image weigh no more than one
number, and a beta of 100 would then collapse the latent space.
"""

from jaxtyping import Float
from torch import Tensor


def gaussian_nll(
    predicted: Float[Tensor, "B *n"], observed: Float[Tensor, "B *n"], deviation: float = 1.0
) -> Float[Tensor, "B"]:
    """Negative logarithm of the likelihood N(observed; predicted, deviation^2 I), without its constant.

    The squared error is summed over all dimensions but the first, and divided by 2 ``deviation``^2.
    """
    return (predicted - observed).square().flatten(1).sum(dim=1) / (2 * deviation**2)
