"""The two readings of a network's K heat maps and K depth maps: as a softmax, and as unit peaks."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.representations.heatmaps import decode_argmax, encode_gaussian, spatial_softmax


@dataclass(frozen=True)
class DecodedPose:
    """A pose read from maps."""

    uv_map: Float[Tensor, "B J 2"]  # pixels of the map
    confidence: Float[Tensor, "B J"]  # in [0, 1]
    relative_depth: Float[Tensor, "B J"]  # as ``PoseMaps.cube_m`` says


@dataclass(frozen=True)
class PoseMaps:
    """How heat maps are read.

    ``softmax``: each map is a distribution over its pixels, trained by cross-entropy against a Gaussian that sums to
    one; a joint's confidence is the probability within two sigmas of the peak. ``peak``: each map is a Gaussian of
    unit height, trained by squared error as in the papers; a joint's confidence is the height of its peak.
    """

    heatmap_type: Literal["softmax", "peak"] = "softmax"
    sigma: float = 2.0  # of the Gaussian, in pixels of the map
    peak_temperature: float = 0.05  # for "peak": softens the map before the depth map is read under it
    # Depth of a joint is (z - z_root) / reference bone, since a colour image tells no scale. A depth sensor does: with
    # the side of a metric cube it is (z - z_centre) / (side / 2), from the middle of the cube that the crop shows.
    cube_m: float | None = None

    def encode(
        self, uv_map: Float[Tensor, "B J 2"], height: int, width: int
    ) -> tuple[Float[Tensor, "B J H W"], Bool[Tensor, "B J"]]:
        """What the heat maps should be, and which joints lie on the map."""
        return encode_gaussian(uv_map, height, width, self.sigma, "sum" if self.heatmap_type == "softmax" else "peak")

    def probability(self, heat: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J H W"]:
        """The distribution over pixels under which depth is read."""
        return spatial_softmax(heat, 1.0 if self.heatmap_type == "softmax" else self.peak_temperature)

    def relative_depth(self, heat: Float[Tensor, "B J H W"], depth: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J"]:
        """Depth maps read under the heat maps (Iqbal et al. 2018, Eq. 10)."""
        return (self.probability(heat) * depth).sum(dim=(-2, -1))

    def decode(self, heat: Float[Tensor, "B J H W"], depth: Float[Tensor, "B J H W"]) -> DecodedPose:
        """Positions at the peaks, below the pixel."""
        probability = self.probability(heat)
        read_depth = (probability * depth).sum(dim=(-2, -1))
        if self.heatmap_type == "peak":
            uv_map, height = decode_argmax(heat)
            return DecodedPose(uv_map, height.clamp(0, 1), read_depth)
        uv_map, _ = decode_argmax(probability)
        return DecodedPose(uv_map, self._mass_near(probability, uv_map), read_depth)

    def _mass_near(self, probability: Tensor, uv_map: Tensor) -> Float[Tensor, "B J"]:
        """Probability in the square of two sigmas around a point."""
        reach = max(1, round(2 * self.sigma))
        mass = F.avg_pool2d(F.pad(probability, (reach,) * 4), 2 * reach + 1, stride=1, divisor_override=1)
        height, width = probability.shape[-2:]
        column = uv_map[..., 0].round().long().clamp(0, width - 1)
        row = uv_map[..., 1].round().long().clamp(0, height - 1)
        return mass.flatten(2).gather(2, (row * width + column)[..., None]).squeeze(-1).clamp(0, 1)
