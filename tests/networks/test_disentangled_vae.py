"""The core for any number of factors, and the networks of both models."""

import pytest
import torch
from torch import nn

from posebridge.errors import InputError
from posebridge.networks.disentangled_vae import EXTRA, DisentangledVAE, FactorCoder
from posebridge.networks.image_synthesis import ImageSynthesisConfig, ImageSynthesisNetwork
from posebridge.networks.latent_coders import ImageEncoderConfig, VectorDecoder, VectorEncoder
from posebridge.networks.latent_pose import pose_output
from posebridge.representations.gaussian import Gaussian

SIZES = {"a": 2, "b": 3, "c": 1}
ENCODER = ImageEncoderConfig("test_resnet", hidden=16)


def vae(extra: int = 0) -> DisentangledVAE:
    """Three factors with four observed values each."""
    torch.manual_seed(0)
    total = sum(SIZES.values()) + extra
    factors = {
        name: FactorCoder(VectorEncoder(4, size, (8,)), VectorDecoder(total if extra else size, 4, (8,)), size)
        for name, size in SIZES.items()
    }
    return DisentangledVAE(
        factors, VectorDecoder(total, 5, (8,)), VectorEncoder(5, extra, (8,)) if extra else None, extra
    )


def observed(count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(count, 4, generator=generator) for name in SIZES}


def test_any_number_of_factors():
    model, y = vae(), observed()
    joint = model.joint(model.encode(y))
    assert joint.mean.shape == (6, model.latent) == (6, 6)
    parts = model.split(joint.mean)
    for name in SIZES:
        torch.testing.assert_close(parts[name], model.factor(name).encoder(y[name]).mean)
        torch.testing.assert_close(model.split_posterior(joint)[name].mean, parts[name])
    assert {name: tuple(values.shape) for name, values in model.decode_factors(joint.mean).items()} == dict.fromkeys(
        SIZES, (6, 4)
    )


def test_factors_are_decoded_from_their_own_part():
    """Without an extra latent, another part of z changes nothing; with it, decoders take all of z."""
    for extra, changes in ((0, False), (2, True)):
        model = vae(extra)
        z = torch.randn(6, model.latent, generator=torch.Generator().manual_seed(2))
        other = torch.cat([z[:, :2], z[:, 2:] + 1], dim=1)
        differs = bool((model.decode_factor("a", z) - model.decode_factor("a", other)).abs().max() > 1e-6)
        assert differs == changes


def test_noise_comes_from_the_posteriors_of_other_samples():
    """Far apart, each sample's z_u can be traced to the sample whose posterior it was drawn from."""
    model, y = vae(extra=2), observed()
    extra = model.encode(y, torch.randn(6, 5))[EXTRA]
    mean = (100 * torch.arange(6.0)[:, None].expand(6, 2)).requires_grad_()
    extra = Gaussian(mean, extra.log_variance)
    z = model.with_noise(y, extra, torch.Generator().manual_seed(3))
    drawn_from = (z[:, -2:] / 100).round()
    assert sorted(drawn_from[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    assert drawn_from[:, 0].tolist() != [0, 1, 2, 3, 4, 5]
    z.sum().backward()
    assert mean.grad is None
    assert model.factor("a").encoder.parameters_of.weight.grad.abs().max() > 0


def test_an_extra_latent_needs_its_encoder_and_x():
    with pytest.raises(ValueError, match="an extra latent needs an encoder"):
        DisentangledVAE({}, nn.Identity(), None, 2)
    with pytest.raises(ValueError, match="the extra latent is encoded from x"):
        vae(extra=2).encode(observed())


@pytest.mark.parametrize("content", ["tags", "extra"])
def test_images_follow_both_latents(content):
    torch.manual_seed(0)
    config = ImageSynthesisConfig(
        size_px=32, content=content, pose_latent=3, content_latent=2, hidden=(8,), decoder_width=4, encoder=ENCODER
    )
    network = ImageSynthesisNetwork(config, 0, 0.1).eval()
    images = torch.rand(2, 3, 32, 32)
    pose, other = network.pose_latents(images), network.content_latents(images)
    assert (pose.shape, other.shape) == ((2, 3), (2, 2))
    made, joints = network.synthesise(pose, other)
    assert made.shape == (2, 3, 32, 32)
    assert 0 <= made.min() <= made.max() <= 1
    assert joints.shape == (2, 21, 3)
    assert network.predict(images).joints_m.shape == (2, 21, 3)
    for call in (network.pose_latents, network.content_latents, network.predict):
        with pytest.raises(InputError, match="images are 24 x 24 px, and this model's 32 px"):
            call(torch.rand(1, 3, 24, 24))


def test_pixels_fill_the_box_that_crops_are_cut_around():
    """Of a pose twice as high as wide: its box is centred, and two thirds of the crop high."""
    pose = torch.zeros(1, 21, 3)
    pose[0, 1], pose[0, 2], pose[0, 3] = torch.tensor([[1.0, 0, 0], [0, 2.0, 0.5], [0, 0, -1.0]])
    found = pose_output(pose + 7, 0, 0.1, 60)
    u, v = found.uv_px[0].unbind(-1)
    assert (v.max() - v.min()).item() == pytest.approx(40)
    assert (u.max() - u.min()).item() == pytest.approx(20)
    assert [(c.max() + c.min()).item() / 2 for c in (u, v)] == pytest.approx([29.5, 29.5])
    torch.testing.assert_close(found.joints_m, 0.1 * pose, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.relative_depth, pose[..., 2], atol=1e-6, rtol=0)
    assert pose_output(torch.zeros(1, 21, 3), 0, None, 60).uv_px.isfinite().all()
