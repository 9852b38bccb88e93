"""The network of single views and the one that fuses them, as one model (Ren et al., CVPR 2022, Fig. 1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.bodies.parametric_hand import HandParameters
from posebridge.cameras.multiview import transform
from posebridge.networks.depth_hand import DepthHandConfig, DepthHandNet, ParameterHead, ViewPrediction
from posebridge.networks.view_fusion import FusedJoints, ViewFusion, ViewFusionConfig, ViewJoints
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class FusedPrediction:
    """S hands of V views each, in the spaces of the views that are the candidates."""

    fusion: FusedJoints
    hand: HandParameters


class DepthHandModel(nn.Module):
    """Depth crops to a hand each, and to one hand for several views of it."""

    def __init__(self, single: DepthHandConfig, fusion: ViewFusionConfig, skeleton: Skeleton):
        super().__init__()
        self.single = DepthHandNet(single)
        self.fusion = ViewFusion(fusion, skeleton, single.decoder_channels)
        self.fused_parameter_head = ParameterHead(fusion.width, single)

    def fuse(self, seen: ViewPrediction, T_candidate_view: Float[Tensor, "B 4 4"], sets: int) -> FusedPrediction:
        """What the views of each set saw, set-major, to one hand a set."""
        told = (transform(T_candidate_view, seen.joints), seen.pooled_features(), seen.quality)
        joints, features, quality = (value.unflatten(0, (sets, -1)) for value in told)
        present = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
        fused = self.fusion(ViewJoints(joints, features, quality, present))
        return FusedPrediction(fused, self.fused_parameter_head(fused.global_features, fused.joints))
