"""Frozen features of the perceptual loss."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from posebridge.losses.perceptual import perceptual_l1
from posebridge.methods.geometric_reconstruction.perceptual_features import (
    VGG19_RELU5,
    EncoderFeatures,
    PerceptualLoss,
    VggFeatures,
)
from posebridge.networks.vgg import VggConfig
from training.dots import small_network

pytestmark = pytest.mark.usefixtures("one_thread")
VGG = VggFeatures(VggConfig(widths=(4, 6), depths=(1, 1), pretrained="none"), scales=(1.0, 0.5))
ENCODER = EncoderFeatures(levels=2)


def pictures(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("features", [VGG, ENCODER], ids=["vgg", "encoder"])
def test_one_value_per_sample_and_zero_for_equal_images(features):
    perceptual_loss = PerceptualLoss(features, small_network())
    assert perceptual_loss(pictures(0), pictures(0)).tolist() == [0, 0]
    found = perceptual_loss(pictures(0), pictures(1))
    assert found.shape == (2,)
    assert (found > 0).all()


@pytest.mark.parametrize("features", [VGG, ENCODER], ids=["vgg", "encoder"])
def test_features_are_frozen(features):
    network = small_network()
    perceptual_loss = PerceptualLoss(features, network)
    parent = nn.ModuleList([perceptual_loss]).train()  # like all modules of a training stage
    assert parent.training
    assert not any(module.training for module in perceptual_loss.modules())
    before = state(perceptual_loss)
    image = pictures(0).requires_grad_()
    for _ in range(3):
        perceptual_loss(image, pictures(1)).sum().backward()
    assert same(state(perceptual_loss), before)
    assert not any(parameter.requires_grad for parameter in perceptual_loss.parameters())
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_encoder_features_are_a_frozen_copy():
    """Training of the student does not change the features, including the statistics of batches."""
    student = small_network().train()
    perceptual_loss = PerceptualLoss(ENCODER, student)
    before, value = state(perceptual_loss), perceptual_loss(pictures(0), pictures(1))
    adam = torch.optim.SGD(student.parameters(), lr=0.1)
    for number in range(3):
        heat, depth = student(pictures(number))
        adam.zero_grad()
        (heat.square().mean() + depth.square().mean() + heat.std()).backward()
        adam.step()
    assert same(state(perceptual_loss), before)
    assert torch.equal(perceptual_loss(pictures(0), pictures(1)), value)
    fresh = PerceptualLoss(ENCODER, student)
    assert not torch.equal(fresh(pictures(0), pictures(1)), value)  # the student did change
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_encoder_features_are_those_of_the_pose_network():
    """With the normalisation of the network, and the shallowest levels only."""
    network = small_network().eval()
    perceptual_loss = PerceptualLoss(EncoderFeatures(levels=2, scales=(1.0,), relative=False), network)
    with torch.no_grad():
        expected = perceptual_l1(lambda x: network.features(x)[:2], pictures(0), pictures(1), (1.0,))
        deeper = perceptual_l1(lambda x: network.features(x)[:3], pictures(0), pictures(1), (1.0,))
    torch.testing.assert_close(perceptual_loss(pictures(0), pictures(1)), expected)
    assert (deeper > expected).all()


def test_config_sets_scales_and_relative_differences():
    network = small_network()
    values = {
        (scales, relative): PerceptualLoss(replace(ENCODER, scales=scales, relative=relative), network)(
            pictures(0), pictures(1)
        ).sum().item()
        for scales in ((1.0,), (1.0, 0.5))
        for relative in (True, False)
    }  # fmt: skip
    assert len(set(values.values())) == 4


def test_the_papers_vgg_goes_to_relu5_1():
    """VGG-19 has blocks of 2, 2, 4, 4, 4 convolutions."""
    assert VggConfig(widths=(64, 128, 256, 512, 512), depths=(2, 2, 4, 4, 1)) == VGG19_RELU5
    assert VggFeatures().network == VGG19_RELU5
    assert VggFeatures().scales == (1.0, 0.5, 0.25, 0.125)


def test_the_given_network_is_not_changed():
    network = small_network().train()
    before = copy.deepcopy(network.state_dict())
    PerceptualLoss(ENCODER, network)(pictures(0), pictures(1))
    assert network.encoder.training
    assert same(state(network), before)
