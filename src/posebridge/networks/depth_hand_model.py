"""The network of single views and the one that fuses them, as one model (Ren et al., CVPR 2022, Fig. 1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.bodies.parametric_hand import HandParameters
from posebridge.cameras.multiview import transform
from posebridge.networks.depth_hand import DepthHandConfig, DepthHandNet, ModelHead, SeenHand
from posebridge.networks.view_fusion import FusedViews, ViewFusion, ViewFusionConfig, Views
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class FusedHand:
    """S hands of V views each, in the spaces of the views that are the candidates."""

    views: FusedViews
    model: HandParameters


class DepthHandModel(nn.Module):
    """Depth crops to a hand each, and to one hand for several views of it."""

    def __init__(self, single: DepthHandConfig, fusion: ViewFusionConfig, skeleton: Skeleton):
        super().__init__()
        self.single = DepthHandNet(single)
        self.fusion = ViewFusion(fusion, skeleton, single.decoder_channels)
        self.fused_hand = ModelHead(fusion.width, single)

    def fuse(self, seen: SeenHand, T_candidate_view: Float[Tensor, "B 4 4"], sets: int) -> FusedHand:
        """What the views of each set saw, set-major, to one hand a set."""
        told = (transform(T_candidate_view, seen.joints), seen.pooled_features(), seen.quality)
        joints, features, quality = (value.unflatten(0, (sets, -1)) for value in told)
        present = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
        fused = self.fusion(Views(joints, features, quality, present))
        return FusedHand(fused, self.fused_hand(fused.whole, fused.joints))
