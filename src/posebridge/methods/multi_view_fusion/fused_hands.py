"""Hands that are predicted from several views at once, in the spaces of these views."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.bodies.parametric_hand import HandMesh, ParametricHand, hand_meshes_in_views
from posebridge.cameras.multiview import transform_to_views
from posebridge.data.cube_views import CubeViews
from posebridge.fitting.depth_misfit import DepthEvidence
from posebridge.fitting.hand_fitting import HandFittingConfig, fit_hands
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.networks.depth_hand_model import DepthHandModel, FusedPrediction


@dataclass(frozen=True)
class FusedHands:
    """The hands of S sets of views, as B meshes in the spaces of all their views.

    Each set is fused in the space of one of its views, the candidate (Sec. 3.2).
    """

    prediction: FusedPrediction  # S hands in the spaces of the candidates
    joints: Float[Tensor, "B J 3"]  # of the fusion network
    mesh: HandMesh  # of the hand model
    half_m: Float[Tensor, "S"]  # half the side of the candidates' cubes
    T_view_candidate: Float[Tensor, "B 4 4"]
    is_candidate: Bool[Tensor, "B"]

    @classmethod
    def predict(
        cls,
        model: DepthHandModel,
        hand: ParametricHand,
        single: ViewPrediction,
        views: CubeViews,
        sets: int,
        generator: Generator,
    ) -> "FusedHands":
        """Fuse the predictions of single views, set-major; each set's candidate is drawn at random."""
        count = len(views) // sets
        candidate = torch.randint(count, (sets,), generator=generator).to(views.depth_m.device)
        T_candidate_view = views.to_candidates(sets, candidate)
        prediction = model.fuse(single, T_candidate_view, sets)
        half_m = views.half_m.view(sets, count).gather(1, candidate[:, None])[:, 0]
        T_view_candidate = torch.linalg.inv(T_candidate_view)
        mesh = hand_meshes_in_views(hand, prediction.hand, half_m, T_view_candidate)
        joints = transform_to_views(prediction.fusion.joints, T_view_candidate)
        is_candidate = torch.arange(count, device=candidate.device) == candidate[:, None]
        return cls(prediction, joints, mesh, half_m, T_view_candidate, is_candidate.flatten())

    def fitted(self, hand: ParametricHand, evidence: DepthEvidence, config: HandFittingConfig) -> HandMesh:
        """The meshes after the hands were fitted to the depth of all their views; without gradients."""
        parameters = fit_hands(hand, self.prediction.hand, self.half_m, self.T_view_candidate, evidence, config)
        return hand_meshes_in_views(hand, parameters, self.half_m, self.T_view_candidate)
