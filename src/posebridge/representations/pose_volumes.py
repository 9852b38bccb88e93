"""Encoding and decoding of 3D heat maps: a volume for each joint, over the image and over depth relative to the root.

Axes of a volume are (D, h, w). The image covers h x w as it covers a heat map. Bin i of D is centred at a depth of
range ((2 i + 1) / D - 1), so that the bins cover [-range, range].
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.representations.heatmaps import decode_argmax, expectation, gaussian_along, is_inside
from posebridge.representations.pose_maps import LEAST_PEAK, DecodedPose, mass_near

VolumeType = Literal["softmax", "peak"]

_IMAGES = 4  # decoded at once on a CPU
_FLOOR = 0.01  # of heights, as a fraction of the peak's: a volume without a peak has its mean in the middle


@dataclass(frozen=True)
class VolumeTargets:
    """Gaussians of K joints in volumes (D, h, w), as their factors along the axes: a target is their outer product."""

    along_u: Float[Tensor, "B K w"]
    along_v: Float[Tensor, "B K h"]
    along_z: Float[Tensor, "B K D"]  # zeros for a joint without depth
    inside: Bool[Tensor, "B K"]  # whether a joint lies on the map; without, its factors are zeros
    has_depth: Bool[Tensor, "B K"]  # whether its depth is labelled and within the range


@dataclass(frozen=True)
class PoseVolumes:
    """Codec of volumes.

    ``softmax``: logits of a distribution over voxels, trained by cross-entropy against a Gaussian that sums to one. A
    joint without depth is trained by the distribution's marginal over the image. A joint's confidence is the
    probability within two sigmas in the image, as for ``PoseMaps``. ``peak``: a Gaussian of unit height, trained by the
    squared error; a joint without depth is not trained. A joint's confidence is the height of its peak.

    ``depth_range`` covers the joints of all renders (``benchmarks/joint_depths.py``). Joints beyond it have no depth
    for training.
    """

    volume_type: VolumeType = "peak"
    sigma: float = 2.0  # of the Gaussian in voxels
    depth_bins: int = 64  # D
    depth_range: float = 2.25  # in reference bones; people need 3.5
    # "maximum": the highest voxel, refined by a parabola along each axis. "mean": the mean position (soft arg-max).
    decoding: Literal["maximum", "mean"] = "maximum"
    peak_power: float = 6.0  # for the mean of type "peak": its weights are this power of the heights

    def targets(
        self,
        uv_map: Float[Tensor, "B K 2"],
        relative_depth: Float[Tensor, "B K"],
        has_depth: Bool[Tensor, "B K"],
        size: Sequence[int],
    ) -> VolumeTargets:
        """Target volumes of joints.

        Args:
            uv_map: pixels of the map.
            relative_depth: (z - z_root) / length of the reference bone.
            has_depth: whether it is known.
            size: (D, h, w).
        """
        normalise = "sum" if self.volume_type == "softmax" else "peak"
        depth, height, width = size
        w_map = self.bin_of_depth(relative_depth)
        inside = is_inside(uv_map, (height, width))
        has_depth = has_depth & inside & is_inside(w_map[..., None], (depth,))
        u, v = uv_map.masked_fill(~inside[..., None], 0).unbind(-1)
        along_u, along_v, along_z = (
            gaussian_along(centre, length, self.sigma, normalise) * known[..., None]
            for centre, length, known in (
                (u, width, inside),
                (v, height, inside),
                (w_map.masked_fill(~has_depth, 0), depth, has_depth),
            )
        )
        return VolumeTargets(along_u, along_v, along_z, inside, has_depth)

    def bin_of_depth(self, relative_depth: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Positions along the axis of depth; the centre of the first bin is 0."""
        return (relative_depth / self.depth_range + 1) * (self.depth_bins / 2) - 0.5

    def depth_of_bin(self, position: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The inverse of ``bin_of_depth``."""
        return ((position + 0.5) / (self.depth_bins / 2) - 1) * self.depth_range

    @torch.no_grad()
    def decode(self, volumes: Float[Tensor, "B K D h w"]) -> DecodedPose:
        """Positions in the image and in depth, with confidence. Without gradients: networks are trained by volumes."""
        if volumes.device.type != "cpu" or torch.compiler.is_exporting():
            return self._decode(volumes)
        # On a CPU, fresh memory for a volume takes longer than the arithmetic on it, and a few images fit the cache.
        buffer = torch.empty_like(volumes[:_IMAGES], memory_format=torch.contiguous_format)
        parts = [self._decode(part.contiguous(), buffer[: len(part)]) for part in volumes.split(_IMAGES)]
        return DecodedPose(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(DecodedPose)))

    def _decode(self, volumes: Float[Tensor, "B K D h w"], buffer: Tensor | None = None) -> DecodedPose:
        """``buffer``: memory of the volumes' shape, which is overwritten."""
        front = volumes.amax(dim=2)  # the highest voxel behind each pixel
        height = front.amax(dim=(-2, -1), keepdim=True)
        in_image = in_depth = None
        if self.volume_type == "softmax" or self.decoding == "mean":
            in_image, in_depth = self._marginals(volumes, height, buffer)
        if self.decoding == "mean":
            assert in_image is not None
            assert in_depth is not None
            uv_map, w_map = expectation(in_image), expectation(in_depth[..., None])[..., 1]
        else:
            uv_map, w_map = self._maximum(volumes, front, height)
        if self.volume_type == "softmax":
            assert in_image is not None
            confidence = mass_near(in_image, uv_map, self.sigma)
        else:
            confidence = height[..., 0, 0].clamp(0, 1)
        return DecodedPose(uv_map, confidence, self.depth_of_bin(w_map))

    def _marginals(
        self, volumes: Float[Tensor, "B K D h w"], height: Float[Tensor, "B K 1 1"], buffer: Tensor | None
    ) -> tuple[Float[Tensor, "B K h w"], Float[Tensor, "B K D"]]:
        """Marginals, over the image and over depth, of the distribution whose mean is a joint's soft position.

        Of type ``peak``, it is a power of the volume: of a Gaussian that is a narrower one, and small values vanish. A
        softmax needs a temperature at which it has either one voxel's width or the weight of the whole background.
        """
        if self.volume_type == "softmax":
            mass = torch.sub(volumes, height[..., None], out=buffer).exp_()
        else:
            mass = torch.div(volumes, height.clamp_min(LEAST_PEAK)[..., None], out=buffer)
            mass.clamp_(min=_FLOOR).pow_(self.peak_power)
        in_image, in_depth = mass.sum(dim=2), mass.flatten(3).sum(dim=3)
        total = in_depth.sum(dim=-1, keepdim=True)
        return in_image / total[..., None], in_depth / total

    def _maximum(
        self, volumes: Float[Tensor, "B K D h w"], front: Float[Tensor, "B K h w"], height: Float[Tensor, "B K 1 1"]
    ) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        """Positions of the highest voxel in the image and in depth, each refined (``decode_argmax``)."""
        pixel = front.flatten(2).argmax(dim=-1)
        behind = volumes.flatten(3).gather(3, pixel[:, :, None, None].expand(-1, -1, volumes.shape[2], 1))
        if self.volume_type == "softmax":  # a parabola is fitted to logarithms, as which the logits are given
            front, behind = (front - height).exp(), (behind - height).exp()
        return decode_argmax(front)[0], decode_argmax(behind)[0][..., 1]
