"""Photometric augmentation of a batch: light, colour, blur, sensor noise, compression, erased boxes. No geometry.

Parameters are sampled per image. White balance, hue, saturation, grey, brightness and contrast are affine in RGB, so
they are one 3x4 matrix per image. Both blurs are one kernel. Effects with a probability run on the chosen images only.
For 64 x 3 x 64 x 64 on one CPU core, WEAK takes about 5 ms and STRONG 10; Kornia's hue alone takes 14 and its JPEG 21.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.draw import chance, log_uniform, uniform
from posebridge.errors import InputError
from posebridge.rendering.jpeg import jpeg_artefacts

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # NTSC


@dataclass(frozen=True)
class AppearanceConfig:
    """Strengths of the effects; 0 disables one. A factor of strength s is log-uniform in [1 / (1 + s), 1 + s].

    Raises ``InputError`` for values out of range.
    """

    brightness: float = 0.25  # factor on the image
    contrast: float = 0.25  # factor on the distance to the image's mean luma
    saturation: float = 0.25  # factor on the distance to each pixel's luma
    hue: float = 0.03  # rotation in turns, uniform in [-hue, hue]
    gain: float = 0.1  # factor on each channel: white balance
    gamma: float = 0.25  # factor in the exponent
    grey_probability: float = 0.0
    blur_probability: float = 0.2
    blur_sigma: float = 0.012  # largest sigma of the Gaussian blur, fraction of the image's height
    motion_probability: float = 0.1
    motion_length: float = 0.06  # longest linear motion, fraction of the image's height
    noise_probability: float = 0.3
    shot_noise: float = 0.0  # largest variance at full intensity
    read_noise: float = 0.02  # largest standard deviation at zero intensity
    jpeg_probability: float = 0.0
    jpeg_quality: tuple[float, float] = (20.0, 90.0)  # of the Independent JPEG Group's scale, 1 to 100
    erase_probability: float = 0.0
    erase_side: float = 0.3  # longest side of a box of one random colour, fraction of the image's side

    def __post_init__(self):
        for name in ("grey", "blur", "motion", "noise", "jpeg", "erase"):
            if not 0 <= (p := getattr(self, f"{name}_probability")) <= 1:
                raise InputError(f"{name}_probability={p}: give a probability in [0, 1]")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise InputError(f"jpeg_quality {self.jpeg_quality}: give a range within 1 to 100")


WEAK = AppearanceConfig()
OFF = AppearanceConfig(
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    gain=0.0,
    gamma=0.0,
    blur_probability=0.0,
    motion_probability=0.0,
    noise_probability=0.0,
)
STRONG = AppearanceConfig(
    brightness=0.5,
    contrast=0.5,
    saturation=0.6,
    hue=0.05,
    gain=0.2,
    gamma=0.5,
    grey_probability=0.1,
    blur_probability=0.3,
    blur_sigma=0.02,
    motion_probability=0.2,
    motion_length=0.08,
    noise_probability=0.5,
    shot_noise=0.004,
    read_noise=0.05,
    jpeg_probability=0.3,
    erase_probability=0.3,
)


@torch.no_grad()
def apply_appearance(
    images: Float[Tensor, "B 3 H W"], config: AppearanceConfig, generator: Generator
) -> Float[Tensor, "B 3 H W"]:
    """Apply random photometric effects; input and output are RGB in [0, 1].

    The order is that of a camera: colour, gamma, blur, noise, JPEG; last an erased box. ``generator`` is on the CPU.
    For images on another device, noise is sampled there by a generator seeded from it.
    """
    batch = len(images)
    images = shift_colours(
        images, _colour_matrices(config, batch, generator), _factors(generator, config.contrast, batch)
    )
    if config.gamma > 0:
        images.pow_(_factors(generator, config.gamma, batch).to(images).view(-1, 1, 1, 1))
    blurred = chance(generator, config.blur_probability, batch)
    moved = chance(generator, config.motion_probability, batch)
    sigma = uniform(generator, 0, config.blur_sigma * images.shape[2], batch) * blurred
    length = uniform(generator, 0, config.motion_length * images.shape[2], batch) * moved
    angle = uniform(generator, 0, math.pi, batch)
    _apply_to(images, blurred | moved, blur, sigma, length, angle)
    noisy = chance(generator, config.noise_probability, batch)
    shot, read = uniform(generator, 0, config.shot_noise, batch), uniform(generator, 0, config.read_noise, batch)
    local = generator_on(images.device, generator)
    _apply_to(images, noisy, lambda x, s, r: sensor_noise(x, s, r, local), shot, read)
    compressed = chance(generator, config.jpeg_probability, batch)
    _apply_to(images, compressed, jpeg_artefacts, uniform(generator, *config.jpeg_quality, batch))
    erased = chance(generator, config.erase_probability, batch)
    sides = uniform(generator, 0, config.erase_side, batch, 2)
    holes = (uniform(generator, 0, 1, batch, 2), sides, uniform(generator, 0, 1, batch, 3))
    _apply_to(images, erased, erase, *holes)
    return images


def shift_colours(
    images: Float[Tensor, "B 3 H W"], matrix: Float[Tensor, "B 3 3"], contrast: Float[Tensor, "B"]
) -> Float[Tensor, "B 3 H W"]:
    """Apply ``matrix`` to every pixel, then contrast about the mean luma; the result is clipped to [0, 1]."""
    matrix, contrast = matrix.to(images), contrast.to(images)
    mean_rgb = matrix @ images.mean(dim=(2, 3))[:, :, None]
    mean_luma = images.new_tensor(_LUMA) @ mean_rgb
    offset = (1 - contrast)[:, None, None] * mean_luma[:, None]
    flat = torch.baddbmm(offset.expand(-1, 3, 1), contrast[:, None, None] * matrix, images.flatten(2))
    return flat.clamp_(0, 1).view_as(images)


def saturation_matrix(factor: Float[Tensor, "B"]) -> Float[Tensor, "B 3 3"]:
    """Matrix that scales the distance to a pixel's luma by ``factor``: 0 is grey, 1 the identity."""
    luma = factor.new_tensor(_LUMA).expand(3, 3)
    return luma + factor[:, None, None] * (torch.eye(3).to(factor) - luma)


def hue_matrix(turns: Float[Tensor, "B"]) -> Float[Tensor, "B 3 3"]:
    """Matrix that rotates the chroma plane of YIQ by ``turns`` and keeps the luma; linear, unlike the hue of HSV."""
    cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    rotation = torch.zeros(len(turns), 3, 3).to(turns)
    rotation[:, 0, 0] = 1
    rotation[:, 1:, 1:] = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    yiq = turns.new_tensor(_YIQ)
    return torch.linalg.inv(yiq) @ rotation @ yiq


def blur(
    images: Float[Tensor, "B 3 H W"],
    sigma_px: Float[Tensor, "B"],
    motion_px: Float[Tensor, "B"],
    angle_rad: Float[Tensor, "B"],
) -> Float[Tensor, "B 3 H W"]:
    """Gaussian blur of ``sigma_px`` with linear motion of length ``motion_px``; 0 is none. Borders are reflected."""
    reach = float((3 * sigma_px + motion_px / 2).max()) + 1
    pad = min(math.ceil(reach), images.shape[2] - 1, images.shape[3] - 1)
    kernels = blur_kernels(sigma_px, motion_px, angle_rad, pad).to(images).repeat_interleave(3, dim=0)
    padded = F.pad(images.flatten(0, 1), (pad, pad, pad, pad), mode="reflect")
    return F.conv2d(padded[None], kernels[:, None], groups=len(kernels)).view_as(images)


def blur_kernels(
    sigma_px: Float[Tensor, "B"], motion_px: Float[Tensor, "B"], angle_rad: Float[Tensor, "B"], reach_px: int
) -> Float[Tensor, "B K K"]:
    """Blur kernels with sides of 2 ``reach_px`` + 1 pixels that sum to one.

    Along the motion, the kernel is the integral of the Gaussian over the path, a difference of two error functions;
    across it, the Gaussian. Sigma is at least 0.3 px, so that a thin line still covers the neighbouring pixels.
    """
    sigma = sigma_px.clamp(min=0.3).view(-1, 1, 1) * math.sqrt(2)
    motion, angle = motion_px.clamp(min=0.01).view(-1, 1, 1) / 2, angle_rad.view(-1, 1, 1)
    position = torch.arange(-reach_px, reach_px + 1, device=sigma_px.device)
    y, x = torch.meshgrid(position, position, indexing="ij")
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    kernels = torch.erf((along + motion) / sigma) - torch.erf((along - motion) / sigma)
    kernels = kernels * torch.exp(-(across / sigma).square())
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def sensor_noise(
    images: Float[Tensor, "B 3 H W"], shot: Float[Tensor, "B"], read: Float[Tensor, "B"], generator: Generator
) -> Float[Tensor, "B 3 H W"]:
    """Add normal noise of variance shot x intensity + read^2 and clip, the usual approximation of sensor noise."""
    shot, read = (p.to(images).view(-1, 1, 1, 1) for p in (shot, read))
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return torch.addcmul(images, noise, (shot * images + read.square()).sqrt_()).clamp_(0, 1)


def erase(
    images: Float[Tensor, "B C H W"],
    centre: Float[Tensor, "B 2"],
    sides: Float[Tensor, "B 2"],
    colour: Float[Tensor, "B C"],
) -> Float[Tensor, "B C H W"]:
    """Fill one box per image with a colour. ``centre`` and ``sides`` (x, y) are fractions of the image's sides."""
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device) + 0.5) / width
    y = (torch.arange(height, device=images.device) + 0.5) / height
    centre, sides, colour = centre.to(images), sides.to(images), colour.to(images)
    across = (x - centre[:, :1]).abs() < sides[:, :1] / 2
    down = (y - centre[:, 1:]).abs() < sides[:, 1:] / 2
    return torch.where((down[:, :, None] & across[:, None])[:, None], colour[:, :, None, None], images)


def salt_and_pepper(
    images: Float[Tensor, "B C H W"], fraction: Float[Tensor, "B"], generator: Generator
) -> Float[Tensor, "B C H W"]:
    """Set a fraction of each image's pixels to 0 or 1, with the same probability and in all channels alike.

    ``generator`` is on the device of the images.
    """
    noise = torch.rand((len(images), 1, *images.shape[2:]), generator=generator, device=images.device)
    half = fraction.to(images).view(-1, 1, 1, 1) / 2
    return torch.where(noise < half, 0.0, torch.where(noise >= 1 - half, 1.0, images))


def _colour_matrices(config: AppearanceConfig, batch: int, generator: Generator) -> Float[Tensor, "B 3 3"]:
    gain = _factors(generator, config.gain, batch, 3) * _factors(generator, config.brightness, batch, 1)
    saturation = _factors(generator, config.saturation, batch)
    saturation = torch.where(chance(generator, config.grey_probability, batch), 0.0, saturation)
    turns = uniform(generator, -config.hue, config.hue, batch)
    return saturation_matrix(saturation) @ hue_matrix(turns) @ torch.diag_embed(gain)


def _factors(generator: Generator, strength: float, *shape: int) -> Tensor:
    return log_uniform(generator, 1 / (1 + strength), 1 + strength, *shape)


def _apply_to(images: Tensor, chosen: Tensor, function: Callable[..., Tensor], *parameters: Tensor) -> None:
    """Apply ``function`` in place to the chosen images, with their rows of the parameters (B, ...)."""
    index = chosen.nonzero()[:, 0]
    if len(index) > 0:
        there = index.to(images.device)
        images.index_copy_(0, there, function(images[there], *(p[index] for p in parameters)))


def generator_on(device: torch.device, generator: Generator) -> Generator:
    """The generator itself where it lives on the device, or one there that is seeded by it."""
    if device == generator.device:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return Generator(device).manual_seed(seed)
