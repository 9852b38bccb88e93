"""Style transfer without training: frequencies and colours of one image replaced by those of another.

For machines without weights of a style network. Styling 64 x 3 x 64 x 64 takes milliseconds on a CPU core.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Orthonormal axes of brightness and two opponent colours (Reinhard et al. 2001, Eq. 4, after Ruderman), applied to RGB
# without the logarithm.
_OPPONENT = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)),
    (1 / math.sqrt(2), -1 / math.sqrt(2), 0.0),
)


def fourier_style(
    content: Float[Tensor, "B C H W"],
    style: Float[Tensor, "B C H W"],
    beta: float,
    alpha: Float[Tensor, "B"],
) -> Float[Tensor, "B C H W"]:
    """Fourier domain adaptation: the content with the style's low-frequency amplitudes (Yang and Soatto 2020, Eq. 3).

    Up to floor(``beta`` min(H, W)) cycles per image, amplitudes are interpolated from the content's (``alpha`` 0) to
    the style's (1). The phase, and thus the layout, is the content's. The paper uses ``beta`` from 0.01 to 0.09. Images
    and result are in [0, 1]. Raises ``ValueError`` unless 0 <= beta < 0.5.
    """
    if not 0 <= beta < 0.5:
        raise ValueError(f"beta must be in [0, 0.5), got {beta}")
    height, width = content.shape[-2:]
    max_frequency = int(beta * min(height, width))
    low = (
        ...,
        torch.arange(-max_frequency, max_frequency + 1, device=content.device)[:, None],
        torch.arange(max_frequency + 1, device=content.device),
    )
    spectrum, style_spectrum = torch.fft.rfft2(content), torch.fft.rfft2(style)
    content_low, style_low = spectrum[low], style_spectrum[low]
    amplitude = torch.lerp(content_low.abs(), style_low.abs(), alpha.to(content).view(-1, 1, 1, 1))
    spectrum[low] = torch.polar(amplitude, content_low.angle())
    return torch.fft.irfft2(spectrum, s=(height, width)).clamp(0, 1)


def colour_style(
    content: Float[Tensor, "B 3 H W"],
    style: Float[Tensor, "B 3 H2 W2"],
    alpha: Float[Tensor, "B"],
    largest_gain: float = 3.0,
) -> Float[Tensor, "B 3 H W"]:
    """The content with the style's colour statistics (Reinhard et al. 2001, Eq. 10 to 12).

    Means and standard deviations in an opponent colour space are interpolated from the content's (``alpha`` 0) to the
    style's (1). Gains are limited to ``largest_gain``, as larger ones amplify noise. Images and result are in [0, 1].
    """
    opponent = content.new_tensor(_OPPONENT)
    content_mean, content_std = _statistics(content, opponent)
    style_mean, style_std = _statistics(style, opponent)
    gain = (style_std / content_std.clamp(min=1e-6)).clamp(max=largest_gain)
    # Change of basis, gain and inverse change of basis as one matrix.
    matrix = torch.lerp(
        torch.eye(3).to(content), opponent.T @ (gain[:, :, None] * opponent), alpha.to(content).view(-1, 1, 1)
    )
    target_mean = torch.lerp(content_mean, style_mean, alpha.to(content).view(-1, 1, 1))
    flat = torch.baddbmm(target_mean - matrix @ content_mean, matrix, content.flatten(2))
    return flat.view_as(content).clamp(0, 1)


def _statistics(
    images: Float[Tensor, "B 3 H W"], axes: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "B 3 1"], Float[Tensor, "B 3"]]:
    """Mean colour in RGB, and standard deviations along the axes, from the covariance of the channels."""
    flat = images.flatten(2)
    mean = flat.mean(dim=2, keepdim=True)
    centred = flat - mean
    covariance = centred @ centred.transpose(1, 2) / flat.shape[2]
    return mean, torch.einsum("ai,bij,aj->ba", axes, covariance, axes).clamp(min=0).sqrt()
