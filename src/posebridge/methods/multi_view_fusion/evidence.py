"""The section of multi-view fusion, measured on the frames of a target."""

import math
from collections.abc import Mapping

import torch

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.roles import Role
from posebridge.contracts.section import Picture, PictureRow, Section
from posebridge.data.subset import even_positions
from posebridge.deployment.depth_overlay import hand_panels
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.methods.multi_view_fusion.explained_depth_section import DepthFit, explained_depth
from posebridge.skeletons.hand import HAND21

_PICTURES = 6  # frames that the report shows


def fusion_section(frames: UnlabelledBatch, predictions: Mapping[Role, FramePredictions]) -> Section:
    """The section of hands in ``frames``, predicted by the models ``source_only`` and ``adapted``."""
    hands: dict[Role, DepthHands] = {role: _hands(predicted) for role, predicted in predictions.items()}
    fits: dict[Role, DepthFit] = {role: depth_fit(predicted) for role, predicted in hands.items()}
    predictor = predictions["adapted"].predictor
    assert isinstance(predictor, DepthHandPredictor)
    return explained_depth(fits, len(frames), _picture_rows(predictor, frames, hands["source_only"], hands["adapted"]))


def _hands(predictions: FramePredictions) -> DepthHands:
    if predictions.hands is None:
        raise ValueError("the section of explained depth needs hand meshes, and these predictions have none")
    return predictions.hands


def depth_fit(hands: DepthHands) -> DepthFit:
    """How well hands explain the depth that they were predicted from. Errors are NaN without any overlap."""
    depth_error_mm = 1000 * hands.depth_error_m[hands.depth_error_m.isfinite()]
    no_overlap = depth_error_mm.numel() == 0
    pixel_mesh_gap_mm = 1000 * (hands.pixel_joints_m - hands.joints_m).norm(dim=-1).mean(1).median()
    return DepthFit(
        explained_frac=hands.explained_frac.mean().item(),
        depth_error_mm=math.nan if no_overlap else depth_error_mm.median().item(),
        depth_error_p90_mm=math.nan if no_overlap else depth_error_mm.quantile(0.9).item(),
        pixel_mesh_gap_mm=pixel_mesh_gap_mm.item(),
    )


def _picture_rows(
    predictor: DepthHandPredictor, frames: UnlabelledBatch, before: DepthHands, after: DepthHands
) -> tuple[PictureRow, ...]:
    """Evenly chosen frames."""
    faces = predictor.hand.faces(torch.device("cpu"))
    chosen = even_positions(len(frames), _PICTURES).tolist()

    def picture(hands: DepthHands, i: int, when: str) -> Picture:
        depth_error_mm = 1000 * hands.depth_error_m[i].item()
        distance = f"{depth_error_mm:.1f} mm" if math.isfinite(depth_error_mm) else "no overlap"
        image = hand_panels(frames, hands, i, faces, HAND21, predictor.spec.cube_m)
        return Picture(image, f"{when} adaptation, {distance}")

    return tuple(PictureRow(frames.key[i], (picture(before, i, "before"), picture(after, i, "after"))) for i in chosen)
