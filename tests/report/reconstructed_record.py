"""Reconstructed pairs with a known displacement field, and a record with the sections of reconstruction."""

import dataclasses

import numpy as np

from posebridge.contracts.record import Record
from posebridge.methods.geometric_reconstruction.reconstruction_section import ReconstructedPair, reconstructed_frames
from posebridge.methods.geometric_reconstruction.trusted_joints_section import trusted_joints
from posebridge.skeletons.hand import HAND21
from posebridge.training.pseudo_label_section import pseudo_label_sections
from report.synthetic_record import candidates, frame, synthetic_record


def turned(uv: np.ndarray, side: int, angle: float, shift: tuple[float, float]) -> np.ndarray:
    """Pixels (..., 2) rotated about the middle of an image by ``angle`` from right to down, then shifted."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (side - 1) / 2
    return (uv - middle) @ turn.T + middle + shift


def hand_regions(uv: np.ndarray, side: int, grid: int) -> np.ndarray:
    """Masks (21, grid, grid) that sum to 255 up to rounding: bones by their distance, then background."""
    places = (np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), -1) + 0.5) * side / grid - 0.5
    parents, children = (uv[[bone[i] for bone in HAND21.bones]][:, None, None] for i in (0, 1))
    way = children - parents
    along = np.clip(((places - parents) * way).sum(-1) / (way**2).sum(-1), 0, 1)
    distance = np.linalg.norm(places - parents - along[..., None] * way, axis=-1) / side
    logits = np.concatenate([np.zeros((1, grid, grid)), 4 - 120 * distance])
    masks = np.exp(logits - logits.max(0))
    return np.round(255 * masks / masks.sum(0)).astype(np.uint8)


def reconstructed_pair(
    index: int, side: int = 128, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0), with_truth: bool = True
) -> ReconstructedPair:
    """A base frame, and a driving frame rotated and shifted as a whole, with the exact displacement field."""
    rng = np.random.default_rng(index)
    base = frame("median", 2 * index, 3.0, rng, side)
    grid = side // 4
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)
    cells = (np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), -1) + 0.5) * 4 - 0.5
    back = turned(pixels - np.array(shift), side, -angle, (0, 0))
    fetched = np.clip(back.round().astype(int), 0, side - 1)
    driving = base.image[fetched[..., 1], fetched[..., 0]]
    inside = ((back >= 0) & (back <= side - 1)).all(-1)[2::4, 2::4]
    uv_truth = turned(base.uv_truth, side, angle, shift)
    uv_before = uv_truth + rng.normal(0, 0.2, (21, 2))
    uv_before[4::4] += rng.normal(0, 0.06 * side, (5, 2))
    reconstruction = driving.copy()
    reconstruction[side // 4 : side // 2, side // 3 : side // 2] = 90
    return ReconstructedPair(
        base_key=base.key,
        driving_key=f"video_07_{2 * index + 9:05d}",
        base=base.image,
        driving=driving,
        reconstruction=reconstruction,
        regions=hand_regions(uv_truth, side, grid),
        displacement_px=(turned(cells - np.array(shift), side, -angle, (0, 0)) - cells).astype(np.float32),
        inpainting=np.where(inside, 240, 30).astype(np.uint8),
        uv_base=base.uv_pred,
        uv_before=uv_before,
        uv_after=uv_truth + rng.normal(0, 0.3, (21, 2)),
        uv_truth=uv_truth if with_truth else None,
    )


def reconstructed_record(with_truth: bool = True) -> Record:
    """A run of geometric reconstruction, with all of its sections."""
    record = synthetic_record(with_truth)
    history = [
        {
            **point,
            "overlap": 0.4 + 0.4 * point["step"] / 2000,
            **({"ever_correct": 0.72 - 0.5 * float(np.exp(-point["step"] / 500))} if with_truth else {}),
            **({"repeated_errors": 0.27} if with_truth and point["step"] else {}),
        }
        for point in candidates(with_truth)
    ]
    pairs = (
        reconstructed_pair(0, shift=(-9.0, 0.0), with_truth=with_truth),
        reconstructed_pair(1, angle=0.3, with_truth=with_truth),
    )
    sections = [reconstructed_frames(pairs, HAND21.joints, HAND21.bones)]
    if with_truth:
        sections.append(
            trusted_joints(
                {"MCP": 812, "PIP": 640, "DIP": 411, "Fin": 0},
                {"MCP": 0.91, "PIP": 0.78, "DIP": 0.65, "Fin": float("nan")},
                {"MCP": 0.89, "PIP": 0.80, "DIP": 0.81, "Fin": float("nan")},
            )
        )
    return dataclasses.replace(record, sections=(*sections, *pseudo_label_sections(history)))
