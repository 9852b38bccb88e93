"""Losses of detectors: maps of centres, and boxes. One value an element."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def centre_loss(logits: Float[Tensor, "*shape"], heat: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Penalty-reduced focal loss of a map of centres (Zhou et al. 2019, Eq. 1, alpha 2, beta 4).

    Cells where ``heat`` is 1 are centres. Others are penalised less, the closer they lie to one.
    """
    probability = torch.sigmoid(logits)
    at_centre = -((1 - probability) ** 2) * F.logsigmoid(logits)
    elsewhere = -((1 - heat) ** 4) * probability**2 * F.logsigmoid(-logits)
    return torch.where(heat == 1, at_centre, elsewhere)


def iou(boxes: Float[Tensor, "... 4"], others: Float[Tensor, "... 4"]) -> Float[Tensor, "..."]:
    """Intersection over union of boxes x0 y0 x1 y1, in [0, 1]; 0 for two empty ones."""
    inside, union = _inside_and_union(boxes, others)
    return inside / union.clamp(min=1e-6)


def giou_loss(boxes: Float[Tensor, "... 4"], others: Float[Tensor, "... 4"]) -> Float[Tensor, "..."]:
    """One minus the generalised intersection over union (Rezatofighi et al., CVPR 2019, Alg. 1), in [0, 2]."""
    inside, union = _inside_and_union(boxes, others)
    around = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    enclosing = around.prod(dim=-1).clamp(min=1e-6)
    return 1 - inside / union.clamp(min=1e-6) + (enclosing - union) / enclosing


def _inside_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    shared = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    inside = shared.clamp(min=0).prod(dim=-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1) for b in (boxes, others)]
    return inside, areas[0] + areas[1] - inside
