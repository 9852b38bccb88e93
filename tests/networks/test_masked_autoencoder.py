"""The masked autoencoder: what its predictions depend on, and which patches are drawn."""

import pytest
import torch

from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.networks.masked_autoencoder import (
    AutoencoderConfig,
    MaskedAutoencoder,
    draw_visible,
    masked_patches,
)
from posebridge.networks.vision_transformer import ViTConfig

CONFIG = AutoencoderConfig(ViTConfig(size_px=32, patch_px=8, width=24, depth=2, heads=3), 16, 2)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return MaskedAutoencoder(CONFIG)


def changed_patch(images: torch.Tensor, patch: int) -> torch.Tensor:
    row, column = divmod(patch, 4)
    changed = images.clone()
    changed[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 0.2
    return changed


def test_predictions_depend_on_visible_patches_alone(autoencoder):
    images, visible = torch.rand(1, 3, 32, 32), torch.tensor([[2, 7, 11]])
    predicted = autoencoder(images, visible)
    assert predicted.shape == (1, 16, 192)
    assert torch.equal(autoencoder(changed_patch(images, 5), visible), predicted)
    assert not torch.allclose(autoencoder(changed_patch(images, 7), visible), predicted)


def test_order_of_visible_patches_does_not_matter(autoencoder):
    """Each latent token returns to the place of its patch."""
    images = torch.rand(2, 3, 32, 32)
    some, other = torch.tensor([[2, 7, 11], [0, 15, 4]]), torch.tensor([[11, 2, 7], [4, 0, 15]])
    torch.testing.assert_close(autoencoder(images, some), autoencoder(images, other), atol=1e-5, rtol=0)


def test_predictions_differ_from_patch_to_patch(autoencoder):
    """Masked patches differ by their positions."""
    predicted = autoencoder(torch.rand(1, 3, 32, 32), torch.tensor([[0]]))
    assert (predicted[0, 1] - predicted[0, 2]).abs().max() > 1e-3


@pytest.mark.parametrize(("ratio", "kept"), [(0.75, 4), (0.5, 8), (0.95, 1), (0.99, 1), (0.0, 16)])
def test_drawn_patches_differ_and_cover_all(ratio, kept):
    visible = draw_visible(200, 16, ratio, generator_for(0, 1))
    assert visible.shape == (200, kept)
    assert all(len(set(row)) == kept for row in visible.tolist())
    assert set(visible.flatten().tolist()) == set(range(16))
    masked = masked_patches(visible, 16)
    assert torch.equal(masked.sum(1), torch.full((200,), 16.0 - kept))
    assert masked.gather(1, visible).max() == 0


def test_decoder_width_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="decoder width 30"):
        AutoencoderConfig(ViTConfig(), 30, 16)
