"""AdaIN's definition, the frozen encoder, and training of the decoder."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from networks.tiny_style import TINY
from posebridge.errors import InputError
from posebridge.networks.adain import StyleTransfer, StyleTransferConfig, adain
from posebridge.networks.vgg import NormalisedEncoder, VggConfig, VggEncoder


@pytest.fixture
def encoder() -> VggEncoder:
    torch.manual_seed(0)
    return VggEncoder(VggConfig(widths=(4, 6, 8), depths=(1, 1, 1), pretrained="none"))


def _pictures(count: int, seed: int, side: int = 32) -> torch.Tensor:
    noise = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, size=(side, side), mode="bilinear")


def test_the_output_has_exactly_the_styles_statistics():
    generator = torch.Generator().manual_seed(0)
    content = 3 * torch.randn(2, 5, 8, 8, generator=generator, dtype=torch.float64) + 1
    style = torch.randn(2, 5, 6, 9, generator=generator, dtype=torch.float64) - 2
    result = adain(content, style, eps=0.0)
    assert torch.allclose(result.mean((2, 3)), style.mean((2, 3)), atol=1e-5)
    assert torch.allclose(result.std((2, 3), correction=0), style.std((2, 3), correction=0), rtol=1e-5)
    correlation = torch.corrcoef(torch.stack([result[0, 0].flatten(), content[0, 0].flatten()]))[0, 1]
    assert correlation == pytest.approx(1)  # the layout is the content's


def test_content_in_its_own_style_is_unchanged():
    content = torch.randn(2, 4, 7, 7)
    assert torch.allclose(adain(content, content), content, atol=1e-5)
    assert adain(torch.ones(1, 2, 4, 4), torch.randn(1, 2, 4, 4)).isfinite().all()


def test_adain_agrees_with_instance_norm():
    content, style = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    std = style.var((2, 3), correction=0, keepdim=True).add(1e-5).sqrt()
    expected = nn.functional.instance_norm(content) * std + style.mean((2, 3), keepdim=True)
    assert torch.allclose(adain(content, style), expected, atol=1e-5)


def test_alpha_goes_from_the_content_to_the_style(encoder):
    model = StyleTransfer(encoder, TINY)
    content, style = _pictures(3, 0), _pictures(3, 1)
    mixed = model.transfer(content, style, torch.tensor([0.0, 0.5, 1.0]))
    with torch.no_grad():
        f_c, f_s = model.encode(content)[-1], model.encode(style)[-1]
        assert torch.allclose(mixed[0], model.decoder(f_c[:1])[0].clamp(0, 1), atol=1e-6)
        half = 0.5 * f_c[1:2] + 0.5 * adain(f_c, f_s)[1:2]
        assert torch.allclose(mixed[1], model.decoder(half)[0].clamp(0, 1), atol=1e-5)
        assert torch.allclose(mixed[2], model.decoder(adain(f_c, f_s)[2:])[0].clamp(0, 1), atol=1e-6)
    assert not mixed.requires_grad
    other_size = model.transfer(content, _pictures(3, 2, 64), torch.ones(3))
    assert other_size.shape == content.shape


def test_training_lowers_the_loss_and_keeps_the_encoder(encoder):
    torch.manual_seed(1)
    model = StyleTransfer(encoder, TINY).train()
    before = [p.clone() for p in model.encoder.parameters()]
    content, style = _pictures(4, 0), _pictures(4, 1)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    history = []
    for _ in range(60):
        terms = model.losses(content, style)
        loss = torch.stack([model.config.weights[name] * value.mean() for name, value in terms.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.2 * history[0]
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoder.parameters(), strict=True))
    assert all(p.requires_grad for p in encoder.parameters())  # the caller's encoder is not changed


def test_losses_by_their_definitions(encoder):
    model = StyleTransfer(encoder, TINY).eval()
    content, style = _pictures(2, 0), _pictures(2, 1)
    terms = model.losses(content, style)
    with torch.no_grad():
        f_c, f_s = model.encode(content), model.encode(style)
        t = adain(f_c[-1], f_s[-1])
        redrawn = model.encode(model.decoder(t))
    expected = nn.functional.mse_loss(redrawn[-1][0], t[0])
    assert terms["content"][0].item() == pytest.approx(expected.item(), rel=1e-4)
    style_loss = 0.0
    for ours, theirs in zip(redrawn, f_s, strict=True):
        for statistic in (lambda x: x.mean((1, 2)), lambda x: (x.var((1, 2), correction=0) + 1e-5).sqrt()):
            style_loss += nn.functional.mse_loss(statistic(ours[0]), statistic(theirs[0])).item()
    assert terms["style"][0].item() == pytest.approx(style_loss, rel=1e-4)


def test_only_requested_terms_are_computed(encoder):
    calls = []
    model = StyleTransfer(encoder, replace(TINY, content_weight=0.0, style_weight=0.0))
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    assert model.losses(_pictures(1, 0), _pictures(1, 1)).keys() == model.config.weights.keys() == {"identity"}
    assert len(calls) == 2
    calls.clear()
    model.transfer(_pictures(1, 0), _pictures(1, 1), torch.ones(1))
    assert len(calls) == 2
    assert StyleTransferConfig().weights == {"content": 1.0, "style": 0.1}


def test_a_timm_encoder_with_batch_norm_stays_frozen():
    encoder = timm.create_model("resnet10t", pretrained=False, features_only=True, out_indices=(0, 1))
    model = StyleTransfer(NormalisedEncoder(encoder), TINY).train()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    model.losses(_pictures(2, 0), _pictures(2, 1))["style"].sum().backward()
    assert all(torch.equal(before[name], value) for name, value in model.encoder.state_dict().items())
    assert model.transfer(_pictures(2, 0), _pictures(2, 1), torch.ones(2)).shape == (2, 3, 32, 32)


def test_sizes_that_do_not_fit_are_refused(encoder):
    with pytest.raises(ValueError, match="stride is 4"):
        StyleTransfer(encoder, replace(TINY, widths=(8, 6, 4), depths=(0, 0, 0)))
    with pytest.raises(InputError, match="multiples of 4"):
        StyleTransfer(encoder, TINY).encode(torch.rand(1, 3, 30, 32))


def test_a_reduced_transfer_keeps_the_content_sharp(encoder):
    """The change of the small image is added to the whole one."""
    model = StyleTransfer(encoder, replace(TINY, reduction=2))
    content, style, alpha = torch.rand(3, 3, 32, 32), _pictures(3, 1), torch.tensor([0.0, 0.5, 1.0])
    found = model.transfer(0.4 + 0.2 * content, 0.4 + 0.2 * style, alpha)
    whole = StyleTransfer(encoder, TINY)
    whole.load_state_dict(model.state_dict())
    small, small_style = (nn.functional.avg_pool2d(0.4 + 0.2 * images, 2) for images in (content, style))
    with torch.no_grad():
        f_c, f_s = whole.encode(small)[-1], whole.encode(small_style)[-1]
        change = whole.decoder(torch.lerp(f_c, adain(f_c, f_s), alpha.view(-1, 1, 1, 1))) - small
    expected = 0.4 + 0.2 * content + nn.functional.interpolate(change, (32, 32), mode="bilinear")
    torch.testing.assert_close(found, expected.clamp(0, 1))
    for name, values in model.losses(content, style).items():
        pooled = (nn.functional.avg_pool2d(images, 2) for images in (content, style))
        torch.testing.assert_close(values, whole.losses(*pooled)[name])
    with pytest.raises(InputError, match="36 x 32 px: both must be multiples of 8"):
        model.transfer(torch.rand(1, 3, 32, 36), style[:1], alpha[:1])


def test_half_precision_changes_images_by_less_than_a_grey_level(encoder):
    model = StyleTransfer(encoder, TINY)
    content, style, alpha = _pictures(3, 0), _pictures(3, 1), torch.ones(3)
    exact = model.transfer(content, style, alpha)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.transfer(content, style, alpha)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    assert (found - exact).abs().mean() < 1 / 255
