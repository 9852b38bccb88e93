"""The dual-modality network: colour, depth and their fusion as three branches with one decoder.

After chapter 7 of Yang's dissertation (2022). The branch of colour is a plain pose network; the others train it and are
not needed for prediction.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from posebridge.errors import InputError
from posebridge.networks.multi_task import MultiTaskMaps, MultiTaskNetwork
from posebridge.networks.pose_resnet import PoseResNet

Branch = Literal["rgb", "depth", "fusion"]
BRANCHES: tuple[Branch, ...] = ("rgb", "depth", "fusion")
LATENT = 128  # dimensions of the common space (Sec. 7.3.4.1)

_RESNET = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")  # timm's names, in order
_ATTENDED = ("act1", "layer1", "layer2", "layer3", "layer4")  # conv1 to conv5_x of the paper: all features


def attention(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 h w"]:
    """The weight of each position: its inner product with the mean feature, divided by the mean product (Eq. 7.2).

    The mean product is the squared norm of the mean feature. It is positive, and no weight is negative, where features
    are: after a ReLU, as the outputs of timm's ResNet stages are. The mean weight is then 1. Before a ReLU the mean
    feature can be near zero, and weights would have no bounds. A map of zeros has weights of 0.
    """
    values = features.float()
    mean = values.mean(dim=(-2, -1), keepdim=True)
    product = (mean * values).sum(dim=1, keepdim=True)
    scale = mean.square().sum(dim=1, keepdim=True)
    return product / scale.clamp_min(torch.finfo(scale.dtype).tiny)


@dataclass(frozen=True)
class BranchOutput:
    """What one branch computes from B samples."""

    maps: MultiTaskMaps
    latent: Float[Tensor, "B D"]  # in the common space, of norm 1


class DualModalityNetwork(nn.Module):
    """Colour images and depth maps to the maps and latent features of three branches.

    - ``rgb``: a pose network with heads for mask and depth map.
    - ``depth``: an encoder of the same architecture, which starts as a copy of the other one. A depth map enters as an
      image of three equal channels. Each of its features is multiplied by its own attention.
    - ``fusion``: the encoder of colour, whose features are multiplied by the attention of the depth branch. It shares
      all weights but those of the batch norms.

    Decoder, heads and projection are shared. Features of all branches pass the decoder at once, so that its batch
    statistics in training are those by which it predicts.
    """

    def __init__(self, pose: PoseResNet, stop_gradient: bool = True):
        """``stop_gradient``: the fusion branch doesn't train the attention.

        Raises ``InputError`` for an encoder that is no ResNet of timm.
        """
        super().__init__()
        stages = dict(pose.encoder.named_children())
        if tuple(stages) != _RESNET[: len(stages)]:
            raise InputError(
                f"the dual-modality network needs a ResNet, and the encoder is {pose.encoder_name}: "
                "choose resnet18, resnet50 or resnet101"
            )
        self.stop_gradient = stop_gradient
        self.rgb = MultiTaskNetwork(pose, ("mask", "depth_map"))
        self.depth_encoder = copy.deepcopy(pose.encoder)
        self.fusion_norms = nn.ModuleDict(
            {
                name: nn.ModuleList(copy.deepcopy(norm) for norm in _norms(stage).values())
                for name, stage in stages.items()
            }
        )
        width = pose.encoder_channels
        # The hidden width of the two layers is not given.
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, LATENT))

    @property
    def pose(self) -> PoseResNet:
        """The network that predicts poses from colour alone."""
        assert isinstance(self.rgb.pose, PoseResNet)
        return self.rgb.pose

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        depth_maps: Float[Tensor, "B H W"] | None = None,
        branches: Sequence[Branch] = BRANCHES,
    ) -> dict[Branch, BranchOutput]:
        """The output of some branches. Images are RGB in [0, 1]; depth maps are those of ``depth_image``.

        Raises ``ValueError`` for another branch than ``rgb`` without depth maps.
        """
        features: dict[Branch, list[Tensor]] = {}
        if "rgb" in branches:
            features["rgb"] = self.pose.features(images)
        if set(branches) - {"rgb"}:
            if depth_maps is None:
                raise ValueError(f"branches {', '.join(branches)} need depth maps")
            features["depth"], weights = self.attended_depth(depth_maps)
            if "fusion" in branches:
                features["fusion"] = self.fused(images, weights)
        return self._decoded({branch: features[branch] for branch in branches})

    def attended_depth(self, depth_maps: Float[Tensor, "B H W"]) -> tuple[list[Tensor], list[Tensor]]:
        """Features (B, C, h, w) of the depth branch, shallow to deep, each multiplied by its attention (B, 1, h, w).

        The second list has these attentions.
        """
        x = self.pose.normalisation(depth_maps[:, None].expand(-1, 3, -1, -1))
        features, weights = [], []
        for name, stage in self.depth_encoder.named_children():
            x = stage(x)
            if name in _ATTENDED:
                weights.append(attention(x))
                x = x * weights[-1].to(x.dtype)
                features.append(x)
        return features, weights

    def fused(self, images: Float[Tensor, "B 3 H W"], weights: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, C, h, w) of colour, each multiplied by an attention (B, 1, h, w) of the depth branch."""
        x = self.pose.normalisation(images)
        features: list[Tensor] = []
        for name, stage in self.pose.encoder.named_children():
            x = functional_call(stage, self._own_norms(name, stage), (x,))
            if name in _ATTENDED:
                weight = weights[len(features)]
                x = x * (weight.detach() if self.stop_gradient else weight).to(x.dtype)
                features.append(x)
        return features

    def _own_norms(self, name: str, stage: nn.Module) -> dict[str, Tensor]:
        """Parameters and buffers of the fusion branch's norms, by their names in a stage of the shared encoder."""
        own = self.fusion_norms[name]
        assert isinstance(own, nn.ModuleList)
        return {
            f"{path}.{key}".removeprefix("."): value
            for path, norm in zip(_norms(stage), own, strict=True)
            for key, value in norm.state_dict(keep_vars=True).items()
        }

    def _decoded(self, features: Mapping[Branch, list[Tensor]]) -> dict[Branch, BranchOutput]:
        levels = [torch.cat(level) for level in zip(*features.values(), strict=True)]
        (maps,) = self.rgb.maps_of((self.pose.upwards(levels),))
        latent = F.normalize(self.projection(levels[-1].mean(dim=(-2, -1))), dim=1)
        sizes = [len(part[-1]) for part in features.values()]
        return {
            branch: BranchOutput(own, part)
            for branch, own, part in zip(features, maps.split(sizes), latent.split(sizes), strict=True)
        }


def depth_image(depth_map: Float[Tensor, "B h w"], size_px: int) -> Float[Tensor, "B S S"]:
    """Predicted depth maps as the depth branch takes them: in [0, 1], at the size of the images, without gradient."""
    resized = F.interpolate(depth_map.detach()[:, None], (size_px, size_px), mode="bilinear", align_corners=False)
    return resized[:, 0].clamp(0, 1)


def _norms(stage: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norms of a stage by their paths in it; the path of the stage itself is empty."""
    return {path: module for path, module in stage.named_modules() if isinstance(module, nn.BatchNorm2d)}
