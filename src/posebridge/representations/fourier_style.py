"""Style transfer without training: the look of one image in the frequencies and colours of another's.

For machines without weights of a style network; one call for 64 x 3 x 64 x 64 takes milliseconds on a CPU core.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Brightness and two opponent colours, orthonormal: the axes that Reinhard et al. (2001, Eq. 4) take from Ruderman,
# applied to RGB as it is, without the logarithm.
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
    """Fourier domain adaptation (Yang and Soatto, CVPR 2020, Eq. 3): amplitudes of the lowest frequencies.

    Within floor(``beta`` min(H, W)) cycles per image in both directions, each channel's amplitude goes from the
    content's (``alpha`` 0) to the style's (1); the phase, and with it the layout, stays the content's. The paper uses
    ``beta`` 0.01 to 0.09. Images and result in [0, 1]. Raises ``ValueError`` unless 0 <= beta < 0.5.
    """
    if not 0 <= beta < 0.5:
        raise ValueError(f"beta must lie in [0, 0.5), not {beta}")
    height, width = content.shape[-2:]
    reach = int(beta * min(height, width))
    low = (
        ...,
        torch.arange(-reach, reach + 1, device=content.device)[:, None],
        torch.arange(reach + 1, device=content.device),
    )
    spectrum, style_spectrum = torch.fft.rfft2(content), torch.fft.rfft2(style)
    ours, theirs = spectrum[low], style_spectrum[low]
    amplitude = torch.lerp(ours.abs(), theirs.abs(), alpha.to(content).view(-1, 1, 1, 1))
    spectrum[low] = torch.polar(amplitude, ours.angle())
    return torch.fft.irfft2(spectrum, s=(height, width)).clamp(0, 1)


def colour_style(
    content: Float[Tensor, "B 3 H W"],
    style: Float[Tensor, "B 3 H2 W2"],
    alpha: Float[Tensor, "B"],
    largest_gain: float = 3.0,
) -> Float[Tensor, "B 3 H W"]:
    """Means and standard deviations of the style in an opponent colour space (Reinhard et al., 2001, Eq. 10 to 12).

    ``alpha`` goes from the content (0) to the style's statistics (1). A plain content is not stretched beyond
    ``largest_gain``, which would only magnify its noise. Images and result in [0, 1].
    """
    opponent = content.new_tensor(_OPPONENT)
    our_mean, our_std = _statistics(content, opponent)
    their_mean, their_std = _statistics(style, opponent)
    gain = (their_std / our_std.clamp(min=1e-6)).clamp(max=largest_gain)
    # The way there, the gain and the way back are one matrix.
    matrix = torch.lerp(
        torch.eye(3).to(content), opponent.T @ (gain[:, :, None] * opponent), alpha.to(content).view(-1, 1, 1)
    )
    wanted_mean = torch.lerp(our_mean, their_mean, alpha.to(content).view(-1, 1, 1))
    flat = torch.baddbmm(wanted_mean - matrix @ our_mean, matrix, content.flatten(2))
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
