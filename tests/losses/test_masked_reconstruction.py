"""Losses of masked reconstruction against loops over patches, and against plain masked autoencoding."""

import math

import numpy as np
import pytest
import torch

from posebridge.losses.masked_reconstruction import (
    attention_distance,
    normalised_patches,
    patch_loss,
    patch_weights,
)
from posebridge.networks.vision_transformer import patchify


def mae_loss(images: np.ndarray, predicted: np.ndarray, masked: np.ndarray, patch: int, normalise: bool) -> float:
    """He et al.'s loss by a loop: the mean over masked patches of the mean squared error of their pixels."""
    errors = []
    for image, patches, mask in zip(images, predicted, masked, strict=True):
        across = image.shape[-1] // patch
        for n in np.flatnonzero(mask):
            top, left = patch * (n // across), patch * (n % across)
            pixels = image[:, top : top + patch, left : left + patch].transpose(1, 2, 0).ravel()
            if normalise:
                pixels = (pixels - pixels.mean()) / math.sqrt(pixels.var(ddof=1) + 1e-6)
            errors.append(np.mean((patches[n] - pixels) ** 2))
    return float(np.mean(errors))


@pytest.mark.parametrize("normalise", [False, True])
def test_beta_zero_is_a_plain_masked_autoencoder(normalise):
    generator = torch.Generator().manual_seed(3)
    images, predicted = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 16, 48, generator=generator)
    masked = (torch.rand(2, 16, generator=generator) < 0.6).float()
    mask = torch.rand(2, 16, 16, generator=generator) < 0.5
    target = patchify(images, 4)
    target = normalised_patches(target) if normalise else target
    loss = patch_loss(predicted, target, patch_weights(mask, 4, beta=0.0), masked)
    expected = mae_loss(images.numpy(), predicted.numpy(), masked.numpy(), 4, normalise)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_weights_grow_with_the_fraction_of_foreground():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :4] = True  # the first patch is all foreground
    mask[0, :2, 4:] = True  # half of the second
    weights = patch_weights(mask, 4, beta=4.0)
    torch.testing.assert_close(weights, torch.tensor([[math.exp(4), math.exp(2), 1, 1]]))
    normalised = patch_weights(mask, 4, beta=4.0, normalise=True)
    torch.testing.assert_close(normalised, weights / weights.mean())


def test_weighted_loss_counts_masked_patches_alone():
    predicted, target = torch.zeros(1, 4, 2), torch.tensor([[[1.0, 3.0], [2.0, 2.0], [9.0, 9.0], [1.0, 1.0]]])
    loss = patch_loss(predicted, target, torch.tensor([[2.0, 1.0, 5.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0, 1.0]]))
    assert loss.item() == pytest.approx((2 * 5 + 1 * 4 + 3 * 1) / 3)


@pytest.mark.parametrize("value", [False, True])
def test_weights_of_empty_and_full_masks_are_finite(value):
    weights = patch_weights(torch.full((1, 8, 8), value), 4, beta=8.0, normalise=True)
    torch.testing.assert_close(weights, torch.ones(1, 4))


def test_attention_distance_of_heads_and_of_their_means():
    """Two heads that change in opposite directions keep their mean."""
    reference = torch.full((2, 1, 2, 3), 0.2)
    attention = reference.clone()
    attention[0, 0, 0, 1] += 0.1
    attention[0, 0, 1, 1] -= 0.1
    attention[1, 0, :, 2] += 0.3
    torch.testing.assert_close(attention_distance(attention, reference), torch.tensor([0.01 + 0.09]))
    torch.testing.assert_close(attention_distance(attention, reference, per_head=False), torch.tensor([0.09]))
