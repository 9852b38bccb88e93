"""Encoding and decoding of heat maps and depth maps, with two types of heat maps."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.representations.heatmaps import decode_argmax, encode_gaussian, expectation, spatial_softmax

LEAST_PEAK = 0.05  # lower maxima are noise, and their maps stay flat


@dataclass(frozen=True)
class DecodedPose:
    """A pose decoded from maps."""

    uv_map: Float[Tensor, "B J 2"]  # pixels of the map
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    relative_depth: Float[Tensor, "B J"]  # in the unit set by ``PoseMaps.cube_m``


@dataclass(frozen=True)
class PoseMaps:
    """Codec of heat maps and depth maps.

    ``softmax``: logits of a distribution over pixels, trained by cross-entropy against a Gaussian that sums to one. A
    joint's confidence is the probability within two sigmas of its position. ``peak``: a Gaussian of unit height,
    trained by the Euclidean norm of the error as in the papers. A joint's confidence is the height of its peak.
    """

    heatmap_type: Literal["softmax", "peak"] = "softmax"
    sigma: float = 2.0  # of the Gaussian, in pixels of the map
    peak_temperature: float = 0.05  # for "peak": softmax temperature of the weights for the depth map
    # None, for colour images, whose scale is unknown: depth is (z - z_root) / reference bone. The side of the crop's
    # metric cube, for depth sensors: depth is (z - z_centre) / (side / 2).
    cube_m: float | None = None
    # "peak": the highest pixel, refined by a parabola along each axis. "mean": the mean position (soft arg-max), by
    # which maps are read that were trained through it.
    decoding: Literal["peak", "mean"] = "peak"

    def encode(
        self, uv_map: Float[Tensor, "B J 2"], height: int, width: int
    ) -> tuple[Float[Tensor, "B J H W"], Bool[Tensor, "B J"]]:
        """Target heat maps, and whether each joint lies on the map."""
        return encode_gaussian(uv_map, height, width, self.sigma, "sum" if self.heatmap_type == "softmax" else "peak")

    def probability(self, heat: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J H W"]:
        """The distribution over pixels that weights the depth map, and whose mean is a joint's soft position.

        Of type ``peak``, each map is divided by the height of its peak, which gets no gradient. Without that, the many
        pixels without a joint outweigh a weak peak and move its position to the middle of the map.
        """
        if self.heatmap_type == "softmax":
            return spatial_softmax(heat)
        height = heat.detach().amax(dim=(-2, -1), keepdim=True).clamp_min(LEAST_PEAK)
        return spatial_softmax(heat / height, self.peak_temperature)

    def relative_depth(self, heat: Float[Tensor, "B J H W"], depth: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J"]:
        """Mean of the depth map, weighted by the heat map (Iqbal et al. 2018, Eq. 10)."""
        return (self.probability(heat) * depth).sum(dim=(-2, -1))

    def decode(self, heat: Float[Tensor, "B J H W"], depth: Float[Tensor, "B J H W"]) -> DecodedPose:
        """Sub-pixel positions, with confidence and depth."""
        probability = self.probability(heat)
        depth_value = (probability * depth).sum(dim=(-2, -1))
        uv_map, height = decode_argmax(heat if self.heatmap_type == "peak" else probability)
        if self.decoding == "mean":
            uv_map = expectation(probability)
        if self.heatmap_type == "peak":
            return DecodedPose(uv_map, height.clamp(0, 1), depth_value)
        return DecodedPose(uv_map, mass_near(probability, uv_map, self.sigma), depth_value)


def mass_near(
    probability: Float[Tensor, "B J H W"], uv_map: Float[Tensor, "B J 2"], sigma: float
) -> Float[Tensor, "B J"]:
    """Probability in the square of two sigmas around a point; maps are zero outside."""
    radius = max(1, round(2 * sigma))
    height, width = probability.shape[-2:]
    padded = F.pad(probability, (radius,) * 4)
    # Only the square is read: a mean over every square of the map takes 18 times as long on a CPU.
    along = torch.arange(2 * radius + 1, device=uv_map.device)
    column = uv_map[..., 0].round().long().clamp(0, width - 1)[..., None] + along
    row = uv_map[..., 1].round().long().clamp(0, height - 1)[..., None] + along
    pixels = row[..., :, None] * (width + 2 * radius) + column[..., None, :]
    return padded.flatten(2).gather(2, pixels.flatten(2)).sum(dim=-1).clamp(0, 1)
