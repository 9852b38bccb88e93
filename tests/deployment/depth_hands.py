"""Depth hand models for tests: with random weights, and with perfect predictions."""

from pathlib import Path

import torch

from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, depth_fit
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.networks.view_fusion import ViewFusionConfig
from training.hands import CUBE_M, TINY, new_model

SPEC = DepthHandSpec(TINY, ViewFusionConfig(width=16), size_px=32, cube_m=CUBE_M)


def predictor() -> DepthHandPredictor:
    """Random weights, large enough that hands differ."""
    model = new_model()().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in (model.single.parameter_head, model.fused_parameter_head):
            head.layer.weight.add_(0.05 * torch.randn(head.layer.weight.shape, generator=generator))
        model.single.pixel_head.weight.add_(
            0.1 * torch.randn(model.single.pixel_head.weight.shape, generator=generator)
        )
    return DepthHandPredictor(SPEC, model)


def save_small(folder: Path) -> DepthHandPredictor:
    """Save a model with random weights; returns its predictor."""
    found = predictor()
    save_model(folder, found.spec, found.model)
    return found


def true_hands(batch: LabelledBatch) -> DepthHands:
    """The predictions of a perfect model for rendered hands."""
    views = CubeViews.of(batch, CUBE_M)
    faces = AnnyHand().faces(torch.device("cpu"))
    confidence = torch.ones(batch.joints_m.shape[:2])
    fit = depth_fit(views, batch.vertices_m, faces)
    return DepthHands(batch.joints_m, confidence, batch.joints_m, batch.vertices_m, *fit)
