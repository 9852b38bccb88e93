"""Terms of evidence lower bounds against SciPy and against Monte Carlo."""

import numpy as np
import pytest
import torch
from scipy import stats

from posebridge.losses.elbo import gaussian_nll
from posebridge.representations.gaussian import Gaussian


@pytest.mark.parametrize("deviation", [1.0, 0.05])
def test_likelihood_is_scipys_up_to_its_constant(deviation):
    generator = torch.Generator().manual_seed(0)
    predicted, observed = torch.rand(2, 5, 3, 4, 4, generator=generator).double()
    density = stats.norm(predicted.numpy(), deviation).logpdf(observed.numpy()).reshape(5, -1)
    constant = stats.norm(0, deviation).logpdf(0) * density.shape[1]
    np.testing.assert_allclose(gaussian_nll(predicted, observed, deviation), constant - density.sum(1), rtol=1e-9)


def test_likelihood_is_a_sum_over_pixels():
    """An image of twice as many equal pixels costs twice as much."""
    small, large = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 16)
    assert gaussian_nll(large, large + 0.5) == 2 * gaussian_nll(small, small + 0.5)


def test_bound_by_monte_carlo():
    """E_q log p(y | z) of a linear decoder, and KL(q || N(0, I)), by 200,000 samples of q."""
    generator = torch.Generator().manual_seed(1)
    q = Gaussian(torch.tensor([[0.5, -1.0]]), torch.tensor([[-0.4, 0.7]]))
    A, y = torch.tensor([[1.0, 0.3], [-0.7, 2.0], [0.2, 0.9]]), torch.tensor([[0.1, 0.2, -0.5]])
    count = 200_000
    z = Gaussian(q.mean.expand(count, 2), q.log_variance.expand(count, 2)).sample(generator)
    sampled = gaussian_nll(z @ A.T, y.expand(count, 3), 0.8).mean().item()
    mean = (q.mean @ A.T - y).square().sum() + (A.square() * q.log_variance.exp()).sum()
    assert sampled == pytest.approx(mean.item() / (2 * 0.8**2), rel=0.01)
    own, prior = stats.norm(q.mean.numpy(), q.deviation.numpy()), stats.norm(0, 1)
    divergence = (own.logpdf(z.numpy()) - prior.logpdf(z.numpy())).mean(0)
    np.testing.assert_allclose(q.divergence()[0].numpy(), divergence, rtol=0.02)
