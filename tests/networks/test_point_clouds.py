"""Encoders and decoders of point clouds."""

import pytest
import torch

from posebridge.errors import InputError
from posebridge.networks.point_clouds import CloudCoderConfig, CloudDecoder, CloudEncoder, EquivariantLayer

SMALL = CloudCoderConfig(points=16, encoder_widths=(8, 16), hidden=8, folding_width=12)


@pytest.fixture
def encoder() -> CloudEncoder:
    torch.manual_seed(0)
    encoder = CloudEncoder(SMALL, latent=5)
    encoder(2 * torch.randn(8, 16, 3))  # statistics of batch norm that are neither 0 nor 1
    return encoder.eval()


def test_encoders_do_not_depend_on_the_order_of_points(encoder):
    clouds, order = torch.randn(4, 16, 3), torch.randperm(16)
    one, other = encoder(clouds), encoder(clouds[:, order])
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.log_variance, other.log_variance)
    assert (one.mean - encoder(clouds + 0.1).mean).abs().max() > 1e-3


def test_repeated_points_change_nothing(encoder):
    """A cloud of fewer points, each of which is repeated, is the same set."""
    clouds = torch.randn(4, 8, 3)
    torch.testing.assert_close(encoder(clouds).mean, encoder(clouds.repeat(1, 2, 1)).mean)


@torch.no_grad()
def test_layers_add_pooled_features_point_by_point():
    torch.manual_seed(0)
    layer = EquivariantLayer(3, 4).eval()
    clouds = torch.randn(2, 6, 3)
    pooled = torch.stack([cloud.max(dim=0).values for cloud in clouds])
    for b in range(2):
        for n in range(6):
            expected = layer.of_point.weight @ clouds[b, n] + layer.of_maximum.weight @ pooled[b]
            torch.testing.assert_close(layer(clouds)[b, n], expected / (1 + layer.norm.eps) ** 0.5)


@torch.no_grad()
def test_foldings_concatenate_latent_vectors_with_points():
    """FoldingNet repeats the latent vector for each point of the grid and concatenates both."""
    torch.manual_seed(0)
    decoder, latent = CloudDecoder(SMALL, latent=5), torch.randn(2, 5)
    ticks = [-1.0, -1 / 3, 1 / 3, 1.0]
    grid = torch.tensor([[a, b] for a in ticks for b in ticks])
    points = grid.expand(2, 16, 2)
    for folding in (decoder.first, decoder.second):
        weight = torch.cat([folding.of_latent.weight, folding.of_point.weight], dim=1)
        joined = torch.cat([latent[:, None].expand(2, 16, 5), points], dim=2)
        points = folding.rest(joined @ weight.T + folding.of_latent.bias)
    torch.testing.assert_close(decoder(latent), points)
    assert points.flatten(0, 1).unique(dim=0).shape[0] == 32


@pytest.mark.parametrize("points", [0, 1, 200])
def test_grids_are_square(points):
    with pytest.raises(InputError, match=f"clouds of {points} points can't be folded from a square grid"):
        CloudCoderConfig(points=points)
