"""Sections of the report, made from the trained stages."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.section import (
    LineChart,
    Number,
    Picture,
    PictureRow,
    PoseOverlay,
    Section,
)
from posebridge.methods.base import Evidence
from posebridge.methods.semihand.adaptation import AT_ONCE, Adaptation
from posebridge.methods.semihand.circle_training import CircleTraining, labelled_circles
from posebridge.methods.semihand.label_store import LabelStore
from posebridge.methods.semihand.pretraining import Pretraining
from posebridge.metrics.masks import mask_iou
from posebridge.networks.circle_hand import HandCircles
from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.training.context import Context
from posebridge.training.multi_task import MAP_PX, SoftPose, reduced
from posebridge.training.pictures import as_picture
from posebridge.training.stage import last_stage

CONVERGENCE, CIRCLES = "Convergence of pseudo-labels", "Circles and masks"
_CONVERGENCE_TEXT = (
    "Before each iteration, the pseudo-label of a frame becomes the mean of the network's prediction and of the "
    "label's last correction (Eq. 6.7). Frames are accepted whose label is stable under a perturbation and feasible "
    "(Eq. 6.8). Arrows lead from the labels of one iteration to those of the next (Fig. 6.9)."
)
_CIRCLES_TEXT = (
    "Cross-modal consistency compares 55 circles, whose centres follow the 2D pose, with the predicted mask. The "
    "circles below follow true joints, so that they differ from true masks only by their shape and by occluders."
)
_MEASURED = 256  # frames on which masks are compared
_SHOWN = 6
_CIRCLE_RGB = (255, 210, 0)
_ENLARGED = 4  # size of pictures with circles, in pixels for each pixel of the crop


def semihand_sections(evidence: Evidence) -> tuple[Section, ...]:
    """Convergence of pseudo-labels where the run has them; circles where it has them, and masks."""
    sections = []
    adaptation = last_stage(evidence.stages, Adaptation)
    if adaptation is not None and adaptation.config.pseudo_labels:
        sections.append(_convergence(adaptation, evidence))
    sections.append(_circles_and_masks(evidence, adaptation))
    return tuple(sections)


def _convergence(stage: Adaptation, evidence: Evidence) -> Section:
    labels = stage.labels
    share, moved = labels.accepted_share.tolist(), labels.movement.tolist()
    numbers = (
        Number("accepted frames, first iteration", 100 * share[0], "%"),
        Number("accepted frames, last iteration", 100 * share[-1], "%"),
        Number("median of Eq. 6.8, last iteration", float(labels.inconsistency[labels.known].median()), digits=2),
    )
    points = tuple((float(i + 1), value) for i, value in enumerate(share))
    charts = [LineChart("accepted frames", "iteration", "share", {"accepted": points}, (0, 1))]
    if len(moved) > 1:
        steps = tuple((float(i + 1), value) for i, value in enumerate(moved) if i > 0)
        unit = f"px of {MAP_PX}"
        charts.append(LineChart("mean movement of pseudo-labels", "iteration", unit, {"movement": steps}))
    rows = _label_rows(labels, evidence)
    return Section(CONVERGENCE, _CONVERGENCE_TEXT, numbers=numbers, line_charts=tuple(charts), picture_rows=rows)


def _label_rows(labels: LabelStore, evidence: Evidence) -> tuple[PictureRow, ...]:
    """Pseudo-labels of a few frames at the first, the second, a middle and the last iteration."""
    indices, frames = next(iter(evidence.context.target_frames.in_order(AT_ONCE)))
    last = len(labels.shown) - 1
    chosen = sorted({0, min(1, last), last // 2, last})
    rows = []
    for column, row in enumerate(labels.shown_rows.tolist()):
        if row in indices:
            frame = frames[indices.index(row) : indices.index(row) + 1]
            truth = _truth(frame.key[0], evidence.frame_labels)
            pictures = (_label_picture(labels, column, iteration, frame, truth) for iteration in chosen)
            rows.append(PictureRow(frame.key[0], tuple(pictures)))
    return tuple(rows)


def _label_picture(
    labels: LabelStore, column: int, iteration: int, frame: UnlabelledBatch, truth: PoseOverlay | None
) -> Picture:
    image_px = frame.rgb.shape[-1]

    def uv_px(number: int) -> np.ndarray:
        stored = labels.shown[number, column].cpu()
        return SoftPose(stored[None, :, :2], stored[None, :, 2]).uv_px(image_px)[0].numpy()

    poses = [PoseOverlay("predicted", uv_px(iteration))]
    if iteration > 0:
        poses = [PoseOverlay("before", uv_px(iteration - 1)), PoseOverlay("after", uv_px(iteration))]
    if truth is not None:
        poses.append(truth)
    return Picture(as_picture(frame.rgb[0]), f"iteration {iteration + 1}", tuple(poses))


def _truth(key: str, labels: LabelledBatch | None) -> PoseOverlay | None:
    if labels is None or labels.uv_px is None or key not in labels.key:
        return None
    return PoseOverlay("truth", labels.uv_px[labels.key.index(key)].numpy())


def _circles_and_masks(evidence: Evidence, adaptation: Adaptation | None) -> Section:
    """Overlap of circles with true masks, and of predicted masks with true ones."""
    numbers: list[Number] = []
    rows: tuple[PictureRow, ...] = ()
    labels = evidence.frame_labels
    has_masks = labels is not None and labels.hand_mask is not None
    circles = last_stage(evidence.stages, CircleTraining)
    if circles is not None:
        held_out = unseen_batch(circles, evidence.context)
        numbers.append(_circle_number(circles, held_out, "source"))
        if has_masks:
            assert labels is not None
            numbers.append(_circle_number(circles, labels[:_MEASURED], "target"))
        rows = _circle_rows(circles, held_out)
    if has_masks:
        assert labels is not None
        pretraining = last_stage(evidence.stages, Pretraining)
        for stage, name in ((pretraining, "after pretraining"), (adaptation, "after adaptation")):
            if stage is not None:
                iou = predicted_mask_iou(stage.network, labels[:_MEASURED])
                numbers.append(Number(f"mask IoU, target, {name}", float(iou.mean()), digits=3))
    return Section(CIRCLES, _CIRCLES_TEXT, numbers=tuple(numbers), picture_rows=rows)


def unseen_batch(stage: CircleTraining, context: Context) -> LabelledBatch:
    """The source batch that follows those of the training: unseen frames, unless training has used all of them."""
    batch = context.source.batches(stage.config.batch_size).batch(stage.schedule.steps)
    assert isinstance(batch, LabelledBatch)
    return batch


def _circle_number(stage: CircleTraining, batch: LabelledBatch, domain: str) -> Number:
    iou = circle_iou(stage, batch)
    return Number(f"IoU of circles and true masks, {domain}", float(iou.mean()), digits=3)


@torch.no_grad()
def circle_iou(stage: CircleTraining, batch: LabelledBatch) -> Float[Tensor, "n"]:
    """Overlap of the circles of true joints with true hand masks, of hands whose joints are all labelled."""
    assert batch.valid is not None
    whole = batch.take(batch.valid.all(1).nonzero()[:, 0])
    circles, mask = labelled_circles(stage.circles.cpu(), whole, stage.config.mask_px)
    return mask_iou(circles.distance(mask.shape[-1]) < 0, mask > 0.5)


@torch.no_grad()
def predicted_mask_iou(network: MultiTaskNetwork, labels: LabelledBatch) -> Float[Tensor, "n"]:
    """Overlap of predicted masks with true hand masks, at the size of the maps."""
    device, training = next(network.parameters()).device, network.training
    network.eval()
    found = []
    for start in range(0, len(labels), AT_ONCE):
        part = labels[start : start + AT_ONCE]
        logits = network(part.rgb.to(device))[-1].mask
        assert logits is not None
        assert part.hand_mask is not None
        found.append(mask_iou(logits.cpu() > 0, reduced(part.hand_mask, logits.shape[-1]) > 0.5))
    network.train(training)
    return torch.cat(found)


@torch.no_grad()
def _circle_rows(stage: CircleTraining, batch: LabelledBatch) -> tuple[PictureRow, ...]:
    shown = batch[:_SHOWN]
    circles, _ = labelled_circles(stage.circles.cpu(), shown, stage.config.mask_px)
    covered = circles.distance(circles.image_px) < 0
    assert shown.hand_mask is not None
    return tuple(
        PictureRow(
            key,
            (
                Picture(circle_picture(as_picture(shown.rgb[i]), circles, i), "Circles"),
                Picture(_mask_picture(covered[i]), "Union of circles", lossless=True),
                Picture(_mask_picture(shown.hand_mask[i]), "True mask", lossless=True),
            ),
        )
        for i, key in enumerate(shown.key)
    )


def circle_picture(image: UInt8[np.ndarray, "H W 3"], circles: HandCircles, index: int) -> UInt8[np.ndarray, "h w 3"]:
    """An enlarged image with the outlines of one hand's circles."""
    side = _ENLARGED * circles.image_px
    picture = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    centres = ((circles.centres[index] + 0.5) * _ENLARGED - 0.5).round().int().tolist()
    radii = (circles.radii[index] * _ENLARGED).round().int().tolist()
    for centre, radius in zip(centres, radii, strict=True):
        cv2.circle(picture, centre, radius, _CIRCLE_RGB, 1, cv2.LINE_AA)
    return picture


def _mask_picture(mask: Bool[Tensor, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat((255 * mask.byte()).cpu().numpy()[..., None], 3, axis=-1)
