"""Multi-scale differences of features that are computed by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posebridge.losses.perceptual import perceptual_l1


def colours(images: Tensor) -> list[Tensor]:
    """Two layers: the images, and twice their negatives at half the size."""
    return [images, -2 * F.avg_pool2d(images, 2)]


def pictures(seed: int, count: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_equal_images_have_no_loss():
    assert perceptual_l1(colours, pictures(0), pictures(0)).tolist() == [0, 0, 0]


def test_layers_are_summed_and_each_is_a_mean():
    """A difference of 0.1 everywhere is 0.1 in the first layer, 0.2 in the second; at any scale."""
    image = pictures(0) * 0.5
    shift = torch.tensor([0.1, 0.2, 0.0]).view(3, 1, 1, 1)
    found = perceptual_l1(colours, image + shift, image, scales=(1.0,))
    assert found.tolist() == pytest.approx([0.3, 0.6, 0.0], abs=1e-5)
    assert perceptual_l1(colours, image + shift, image).tolist() == pytest.approx([1.2, 2.4, 0.0], abs=1e-5)


def test_each_sample_has_its_own_value():
    image, target = pictures(0), pictures(1)
    whole = perceptual_l1(colours, image, target)
    alone = [perceptual_l1(colours, image[[i]], target[[i]]).item() for i in range(3)]
    assert whole.tolist() == pytest.approx(alone)
    assert len(set(alone)) == 3


def test_images_are_compared_at_every_scale():
    sizes: list[int] = []

    def seen(images: Tensor) -> list[Tensor]:
        sizes.append(images.shape[-1])
        return [images]

    perceptual_l1(seen, pictures(0), pictures(1), scales=(1.0, 0.5, 0.25, 0.125))
    assert sorted(sizes) == [2, 2, 4, 4, 8, 8, 16, 16]  # image and target, each once


def test_smaller_scales_average_fine_detail():
    """A checkerboard averages to grey; torch's mean pooling agrees except at the border."""
    checkers = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float().expand(1, 3, 16, 16)
    grey = torch.full_like(checkers, 0.5)
    fine = perceptual_l1(lambda x: [x], checkers, grey, scales=(1.0,)).item()
    coarse = perceptual_l1(lambda x: [x], checkers, grey, scales=(0.25,)).item()
    assert fine == pytest.approx(0.5)
    assert coarse < 0.05
    seen: list[Tensor] = []
    perceptual_l1(lambda x: seen.append(x) or [x], pictures(0), pictures(0), scales=(0.5,))
    pooled = F.avg_pool2d(F.avg_pool2d(pictures(0), 3, 1, 1), 2)
    assert (seen[0] - pooled)[..., 1:-1, 1:-1].abs().mean() < 0.05  # a triangle, not a box


def test_the_target_gets_no_gradient():
    image, target = pictures(0).requires_grad_(), pictures(1).requires_grad_()
    perceptual_l1(colours, image, target).sum().backward()
    assert target.grad is None
    assert image.grad is not None
    assert (image.grad != 0).all()


def test_the_gradient_by_finite_differences():
    image = pictures(0, 1, 4).double().requires_grad_()
    target = pictures(1, 1, 4).double()
    assert torch.autograd.gradcheck(lambda x: perceptual_l1(lambda y: [y, y.square()], x, target, (1.0, 0.5)), (image,))


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_relative_differences_do_not_depend_on_the_unit(factor):
    def scaled(images: Tensor) -> list[Tensor]:
        return [factor * layer for layer in colours(images)]

    image, target = pictures(0), pictures(1)
    expected = perceptual_l1(colours, image, target, relative=True)
    torch.testing.assert_close(perceptual_l1(scaled, image, target, relative=True), expected, rtol=1e-3, atol=0)
    plain = perceptual_l1(colours, image, target)
    torch.testing.assert_close(perceptual_l1(scaled, image, target), factor * plain)


def test_relative_differences_are_of_the_targets_size():
    """For a target of 0.5 everywhere, a difference of 0.1 is a fifth in each layer."""
    target = torch.full((2, 3, 8, 8), 0.5)
    found = perceptual_l1(colours, target + 0.1, target, scales=(1.0,), relative=True)
    assert found.tolist() == pytest.approx([0.4, 0.4], rel=1e-5)


def test_zero_features_have_a_finite_relative_loss():
    image = pictures(0).requires_grad_()
    loss = perceptual_l1(lambda x: [0 * x], image, pictures(1), relative=True).sum()
    loss.backward()
    assert loss.item() == 0
    assert image.grad is not None
    assert image.grad.isfinite().all()
