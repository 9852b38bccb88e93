import pytest
import torch
from torch.autograd import gradcheck

from posebridge.losses.keypoints import heatmap_cross_entropy
from posebridge.losses.volumes import volume_cross_entropy, volume_mse

B, K, D, H, W = 2, 4, 5, 6, 7


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def factors(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Along u, v and z, each of which sums to one; the last joint of the first image is outside."""
    along = [random(B, K, length, seed=seed + length).softmax(-1) for length in (W, H, D)]
    for factor in along:
        factor[0, -1] = 0
    return along[0], along[1], along[2]


def dense(along_u: torch.Tensor, along_v: torch.Tensor, along_z: torch.Tensor) -> torch.Tensor:
    return along_z[..., :, None, None] * along_v[..., None, :, None] * along_u[..., None, None, :]


def slow_cross_entropy(logits, along_u, along_v, along_z, has_depth):
    """By whole target volumes, and by maps of the softmax's marginal."""
    logs = logits.flatten(2).log_softmax(-1).view(logits.shape)
    in_space = -(dense(along_u, along_v, along_z) * logs).sum((2, 3, 4))
    in_image = -(along_v[..., :, None] * along_u[..., None, :] * logs.exp().sum(2).log()).sum((2, 3))
    return torch.where(has_depth, in_space, in_image)


HAS_DEPTH = torch.tensor([[True, False, True, True], [False, True, True, False]])


def with_gradient(loss, volumes: torch.Tensor, *arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    volumes = volumes.clone().requires_grad_()
    values = loss(volumes, *arguments)
    (gradient,) = torch.autograd.grad((values * random(B, K, seed=8)).sum(), volumes)
    return values.detach(), gradient


def test_cross_entropy_against_whole_volumes():
    logits = 3 * random(B, K, D, H, W)
    fast = with_gradient(volume_cross_entropy, logits, *factors(), HAS_DEPTH)
    slow = with_gradient(slow_cross_entropy, logits, *factors(), HAS_DEPTH)
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-12)
    assert fast[0][0, -1] == 0  # outside
    assert (fast[1][0, -1] == 0).all()
    assert (fast[0].flatten()[torch.arange(B * K) != K - 1] > 0.1).all()


def test_cross_entropy_without_depth_is_that_of_a_heat_map():
    """Where the logits are the same at every depth, the marginal is the softmax of a map."""
    heat, (along_u, along_v, along_z) = random(B, K, H, W), factors()
    in_image = along_v[..., :, None] * along_u[..., None, :]
    nowhere = torch.zeros(B, K, dtype=torch.bool)
    found = volume_cross_entropy(heat[:, :, None].expand(-1, -1, D, -1, -1), along_u, along_v, along_z, nowhere)
    torch.testing.assert_close(found, heatmap_cross_entropy(heat, in_image))


def test_depth_of_a_joint_without_depth_is_free():
    logits, (along_u, along_v, along_z) = random(B, K, D, H, W), factors()
    _, gradient = with_gradient(volume_cross_entropy, logits, along_u, along_v, along_z, HAS_DEPTH)
    _, other = with_gradient(volume_cross_entropy, logits, along_u, along_v, along_z.flip(-1), HAS_DEPTH)
    assert torch.equal(gradient[~HAS_DEPTH], other[~HAS_DEPTH])
    # The gradient moves mass between pixels; behind each, it keeps the shares of depth.
    shares = logits.softmax(2)
    expected = shares * gradient.sum(2, keepdim=True)
    torch.testing.assert_close(gradient[~HAS_DEPTH], expected[~HAS_DEPTH])
    assert not torch.allclose(gradient[HAS_DEPTH], expected[HAS_DEPTH])


def test_mse_against_whole_volumes():
    volumes = random(B, K, D, H, W)

    def slow(volumes, *along):
        return (volumes - dense(*along)).square().mean((2, 3, 4))

    fast = with_gradient(volume_mse, volumes, *factors())
    torch.testing.assert_close(fast, with_gradient(slow, volumes, *factors()), atol=1e-12, rtol=1e-12)


def test_gradients_by_differences():
    volumes, along = random(1, 2, 3, 2, 4).requires_grad_(), [random(1, 2, n, seed=n).softmax(-1) for n in (4, 2, 3)]
    assert gradcheck(lambda v: volume_cross_entropy(v, *along, torch.tensor([[True, False]])), volumes)
    assert gradcheck(lambda v: volume_mse(v, *along), volumes)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_large_logits_stay_finite(scale):
    logits = (scale * random(B, K, D, H, W)).float()
    along = [factor.float() for factor in factors()]
    logits.requires_grad_()
    loss = volume_cross_entropy(logits, *along, HAS_DEPTH)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_perfect_volume_costs_nothing():
    along = factors()
    target = dense(*along).float().requires_grad_()
    loss = volume_mse(target, *(factor.float() for factor in along))
    loss.sum().backward()
    assert (loss >= 0).all()
    assert loss.max() < 1e-8
    assert target.grad is not None
    assert target.grad.abs().max() < 1e-8
