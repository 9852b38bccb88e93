"""Boxes x0 y0 x1 y1 in pixels: around joints, and compared with one another. Imports no torch."""

import numpy as np
from jaxtyping import Float

JOINT_BOX_PADDING = 1.5  # of the extent of the joints: the margin by which the public benchmarks of adaptation cut


def joint_box(uv_px: Float[np.ndarray, "... J 2"], padding: float) -> Float[np.ndarray, "... 4"]:
    """Boxes (..., 4) x0 y0 x1 y1 around joints (..., J, 2): ``padding`` times their extent, at least one pixel."""
    low, high = uv_px.min(axis=-2), uv_px.max(axis=-2)
    half = np.maximum(high - low, 1.0) / 2 * padding
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], axis=-1)


def box_iou(boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """Intersection over union of all pairs of boxes x0 y0 x1 y1; 0 for empty boxes."""
    inside, first, second = _intersections(boxes, others)
    union = first + second - inside
    return np.divide(inside, union, out=np.zeros_like(inside, dtype=np.float64), where=union > 0)


def box_cover(boxes: Float[np.ndarray, "N 4"], others: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """Intersection over the smaller area of all pairs of boxes x0 y0 x1 y1; 0 for empty boxes."""
    inside, first, second = _intersections(boxes, others)
    smaller = np.minimum(first, second)
    return np.divide(inside, smaller, out=np.zeros_like(inside, dtype=np.float64), where=smaller > 0)


def _intersections(boxes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas of all pairs' intersections (N, M), and of the boxes (N, 1) and (1, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    first, second = ((b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=-1) for b in (boxes, others))
    return (high - low).clip(min=0).prod(axis=-1), first[:, None], second[None]


def greedy_matches(iou: Float[np.ndarray, "N M"], least_iou: float) -> list[tuple[int, int]]:
    """Pairs (row, column) in the order of falling overlap, each row and column once, as long as they overlap enough."""
    left = np.array(iou, dtype=np.float64)
    pairs: list[tuple[int, int]] = []
    while left.size and left.max() >= max(least_iou, 1e-9):
        row, column = np.unravel_index(left.argmax(), left.shape)
        pairs.append((int(row), int(column)))
        left[row], left[:, column] = -1.0, -1.0
    return pairs
