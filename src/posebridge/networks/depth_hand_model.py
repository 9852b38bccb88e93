"""The single-view network and the fusion of views as one model (Ren et al., CVPR 2022, Fig. 1)."""

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
    """S hands fused from V views each, in the space of each set's candidate view."""

    fusion: FusedJoints
    hand: HandParameters


class DepthHandModel(nn.Module):
    """Predicts a hand for each depth crop, and one hand for several views of it."""

    def __init__(self, single: DepthHandConfig, fusion: ViewFusionConfig, skeleton: Skeleton):
        super().__init__()
        self.single = DepthHandNet(single)
        self.fusion = ViewFusion(fusion, skeleton, single.decoder_channels)
        self.fused_parameter_head = ParameterHead(fusion.width, single)

    def fuse(self, seen: ViewPrediction, T_candidate_view: Float[Tensor, "B 4 4"], sets: int) -> FusedPrediction:
        """One hand for each set of views.

        ``seen`` holds B = sets * V predictions, set-major. ``T_candidate_view`` takes the points of each view to the
        view whose space the result is in.
        """
        inputs = (transform(T_candidate_view, seen.joints), seen.pooled_features(), seen.quality)
        joints, features, quality = (value.unflatten(0, (sets, -1)) for value in inputs)
        present = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
        fused = self.fusion(ViewJoints(joints, features, quality, present))
        return FusedPrediction(fused, self.fused_parameter_head(fused.global_features, fused.joints))
