"""Spectra and colour statistics against NumPy's full transform and their definitions."""

import numpy as np
import pytest
import torch

from posebridge.representations.fourier_style import colour_style, fourier_style


@pytest.fixture(params=[(32, 32), (33, 40), (48, 31)])
def images(request) -> tuple[torch.Tensor, torch.Tensor]:
    """Content and style of low contrast, so that no value is clipped."""
    generator = torch.Generator().manual_seed(0)
    content = 0.5 + 0.05 * torch.randn(3, 3, *request.param, generator=generator).clamp(-2, 2)
    style = 0.45 + 0.08 * torch.randn(3, 3, *request.param, generator=generator).clamp(-2, 2)
    return content.double(), style.double()


def test_equals_the_full_transform_of_numpy(images):
    content, style = images
    beta, alpha = 0.13, 0.7
    height, width = content.shape[-2:]
    reach = int(beta * min(height, width))
    spectrum, other = np.fft.fft2(content.numpy()), np.fft.fft2(style.numpy())
    fy = np.rint(np.fft.fftfreq(height) * height)[:, None]
    fx = np.rint(np.fft.fftfreq(width) * width)
    low = (np.abs(fy) <= reach) & (np.abs(fx) <= reach)
    amplitude = np.where(low, (1 - alpha) * np.abs(spectrum) + alpha * np.abs(other), np.abs(spectrum))
    expected = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)))
    assert np.abs(expected.imag).max() < 1e-12
    ours = fourier_style(content, style, beta, torch.full((3,), alpha))
    assert np.abs(ours.numpy() - expected.real).max() < 1e-7


def test_low_amplitudes_come_from_the_style(images):
    content, style = images
    result = torch.fft.fft2(fourier_style(content, style, 0.1, torch.ones(3)))
    spectrum, other = torch.fft.fft2(content), torch.fft.fft2(style)
    reach = int(0.1 * min(content.shape[-2:]))
    for ky in range(-reach, reach + 1):
        for kx in range(-reach, reach + 1):
            assert torch.allclose(result[..., ky, kx].abs(), other[..., ky, kx].abs(), atol=1e-5)
    assert torch.allclose(result[..., reach + 1, :], spectrum[..., reach + 1, :], atol=1e-5)
    turned = (result / spectrum).angle()
    assert turned.abs().max() < 1e-4


@pytest.mark.parametrize("transfer", [lambda c, s, a: fourier_style(c, s, 0.1, a), colour_style])
def test_identities(images, transfer):
    content, style = images
    alpha = torch.tensor([0.2, 0.6, 1.0])
    assert torch.allclose(transfer(content, content, alpha), content, atol=1e-6)
    assert torch.allclose(transfer(content, style, torch.zeros(3)), content, atol=1e-6)
    half = transfer(content, style, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(half[:1], transfer(content[:1], style[:1], torch.zeros(1)))
    assert torch.allclose(half[2:], transfer(content[2:], style[2:], torch.ones(1)))


@pytest.mark.parametrize("transfer", [lambda c, s, a: fourier_style(c, s, 0.1, a), colour_style])
def test_results_are_images(transfer):
    content, style = torch.rand(2, 3, 32, 32).round(), torch.rand(2, 3, 32, 32)
    result = transfer(content, style, torch.ones(2))
    assert 0 <= result.min() <= result.max() <= 1


def test_colour_statistics_are_those_of_the_style(images):
    content, style = images
    result = colour_style(content, style, torch.ones(3))
    grey = torch.ones(3).double() / 3
    red_green = torch.tensor([1.0, -1.0, 0.0]).double()
    assert torch.allclose(result.mean((2, 3)), style.mean((2, 3)), atol=1e-6)
    for axis in (grey, red_green):
        ours, theirs = (torch.einsum("c,bchw->bhw", axis, x).std((1, 2)) for x in (result, style))
        assert torch.allclose(ours, theirs, rtol=1e-4)


def test_a_plain_content_is_not_stretched():
    plain = torch.full((1, 3, 16, 16), 0.5) + 1e-4 * torch.rand(1, 3, 16, 16)
    result = colour_style(plain, torch.rand(1, 3, 16, 16), torch.ones(1))
    assert result.std((2, 3)).max() < 1e-3


def test_a_window_beyond_the_spectrum_is_refused():
    with pytest.raises(ValueError, match="beta"):
        fourier_style(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), 0.5, torch.ones(1))
