import pytest
import torch

from posebridge.errors import InputError
from posebridge.networks.latent_coders import (
    ImageEncoder,
    ImageEncoderConfig,
    PictureDecoder,
    VectorDecoder,
    VectorEncoder,
)


def test_encoders_predict_gaussians_of_the_latent_size():
    images = torch.rand(2, 3, 64, 64)
    of_images = ImageEncoder(ImageEncoderConfig("test_resnet", hidden=16), latent=6)(images)
    of_vectors = VectorEncoder(63, 6, hidden=(16, 16))(torch.randn(2, 63))
    for found in (of_images, of_vectors):
        assert found.mean.shape == found.log_variance.shape == (2, 6)


def test_variances_stay_finite():
    encoder = VectorEncoder(1, 1, hidden=(4,))
    encoder.parameters_of.bias.data.fill_(1e6)
    assert encoder(torch.zeros(1, 1)).log_variance.exp().isfinite().all()


@pytest.mark.parametrize("size", [8, 16, 64])
def test_pictures_have_the_size_that_is_asked_for(size):
    decoder = PictureDecoder(5, size, channels=3, width=4)
    assert decoder(torch.randn(2, 5)).shape == (2, 3, size, size)


@pytest.mark.parametrize("size", [4, 12, 60, 96])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match=f"pictures of {size} px can't be decoded: choose 8, 16"):
        PictureDecoder(5, size, channels=3)


def test_a_decoder_of_vectors_can_overfit_one():
    torch.manual_seed(0)
    decoder, latent, target = VectorDecoder(4, 9, hidden=(32, 32)), torch.randn(2, 4), torch.randn(2, 9)
    adam = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(200):
        adam.zero_grad()
        (decoder(latent) - target).square().mean().backward()
        adam.step()
    assert torch.allclose(decoder(latent), target, atol=0.05)
