"""Measures the masks of target frames for the report."""

from dataclasses import replace

import torch

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.contracts.section import Section
from posebridge.data.mask_store import MaskStore
from posebridge.methods.base import Evidence
from posebridge.methods.masked_reconstruction.masks import FrameMasks, MaskOf, label_masks, predict_masks
from posebridge.methods.masked_reconstruction.masks_section import MaskedFrame, MaskNumbers, masks_section
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTraining
from posebridge.metrics.masks import mask_iou
from posebridge.networks.segmentation import SegmentationNetwork
from posebridge.training.pictures import as_bytes
from posebridge.training.stage import last_stage

_BATCH = 64
_BATCHES = 4  # of target frames, in which empty and full masks are counted
_SHOWN = 8


def mask_sections(evidence: Evidence) -> tuple[Section, ...]:
    """The section of the target's masks; empty where none were predicted and none given.

    IoU is measured on images of the source, and on labelled frames of the target that have masks.
    """
    context, labels = evidence.context, evidence.frame_labels
    stage = last_stage(evidence.stages, SegmentationTraining)
    if context.target_masks is not None:
        masks, network, device = FrameMasks(None, context.target_masks), None, torch.device("cpu")
    elif stage is not None:
        network, device = stage.result().eval(), stage.device
        masks = FrameMasks(network)
    else:
        return ()
    stream, seen = context.target_frames.batches(_BATCH), MaskStore()
    target = [stream.batch(number).to(device) for number in range(_BATCHES)]
    for batch in target:
        seen.add(batch.key, masks(batch))
    numbers = MaskNumbers(len(seen), seen.empty, seen.full)
    shown = _masked_frames(target[0][:_SHOWN], masks)
    if network is not None:
        source = context.source.batches(_BATCH).batch(0)
        numbers = replace(numbers, source_iou=_mean_iou(network, source, device))
        if labels is not None and labels.mask is not None:
            iou = _mean_iou(network, labels, device)
            numbers = replace(numbers, target_iou=iou, labelled_frames=len(labels))
            shown = _masked_frames(_evenly(labels).to(device), FrameMasks(network), label_masks)
    return (masks_section(shown, numbers, given=network is None),)


def _evenly(labels: LabelledBatch) -> LabelledBatch:
    return labels.take(torch.linspace(0, len(labels) - 1, min(_SHOWN, len(labels))).round().long())


def _mean_iou(network: SegmentationNetwork, frames: LabelledBatch, device: torch.device) -> float:
    """The mean over frames with masks."""
    parts = [frames[start : start + _BATCH].to(device) for start in range(0, len(frames), _BATCH)]
    iou = [mask_iou(predict_masks(network, part.rgb), label_masks(part)) for part in parts]
    return torch.cat(iou).mean().item()


def _masked_frames(frames: Observation, masks: MaskOf, truth: MaskOf | None = None) -> tuple[MaskedFrame, ...]:
    images = as_bytes(frames.rgb.permute(0, 2, 3, 1))
    found = masks(frames).cpu().numpy()
    true = [None] * len(frames) if truth is None else truth(frames).cpu().numpy()
    return tuple(MaskedFrame(*frame) for frame in zip(frames.key, images, found, true, strict=True))
