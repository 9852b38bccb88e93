"""Sections of the report: reconstructed frames, and the accuracy of joints that were pseudo-labels early on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.section import Section
from posebridge.data.pairs import split_pairs
from posebridge.geometry.displacement import identity_field
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning
from posebridge.methods.geometric_reconstruction.frame_reconstructor import ReconstructedFrames, resize_images
from posebridge.methods.geometric_reconstruction.reconstruction_section import ReconstructedPair, reconstructed_frames
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    reconstruct_pairs,
    soft_joints,
)
from posebridge.methods.geometric_reconstruction.trusted_joints_section import trusted_joints
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.heatmaps import map_from_image
from posebridge.training.callbacks import evaluating
from posebridge.training.context import Context
from posebridge.training.pictures import as_bytes, as_picture
from posebridge.training.pseudo_label_metrics import correct_joints, fraction, predict_joints
from posebridge.training.stage import Stage, last_stage

_PAIRS = 6  # shown
_ALL = "All"


def reconstruction_sections(
    stages: Sequence[Stage],
    context: Context,
    *,
    pair_labels: LabelledBatch | None = None,
    frame_labels: LabelledBatch | None = None,
) -> tuple[Section, ...]:
    """The sections of a run; empty for stages without reconstruction.

    Args:
        stages: the trained stages of the method, in order.
        context: the context that they were made from.
        pair_labels: labelled frames of the target, found by key and drawn over the pairs. None: no labels are drawn.
        frame_labels: labelled frames of the target in which pseudo-labels are measured. None: no such section.
    """
    sections = []
    pairs = _reconstructed_pairs(stages, context, pair_labels)
    if pairs:
        sections.append(reconstructed_frames(pairs, context.skeleton.joints, context.skeleton.bones))
    if frame_labels is not None:
        sections += _trusted_joints(stages, context, frame_labels)
    return tuple(sections)


def _reconstructed_pairs(
    stages: Sequence[Stage], context: Context, labels: LabelledBatch | None
) -> tuple[ReconstructedPair, ...]:
    """A few driving frames, reconstructed by the joints of the final network; empty without the stages."""
    reconstructor_stage, tuning = last_stage(stages, ReconstructorTraining), last_stage(stages, FineTuning)
    if reconstructor_stage is None or tuning is None:
        return ()
    reconstructor = tuning.reconstructor
    assert reconstructor is not None
    reconstructor.eval()
    before, after = reconstructor_stage.network, tuning.result()
    reconstruction = tuning.config.reconstruction
    assert reconstruction is not None
    pairs = context.target_frames.pairs(_PAIRS, reconstruction.pairs).batch(0)
    pairs = pairs.to(next(after.parameters()).device)
    reconstructor.to(pairs.rgb.device)
    with torch.no_grad():
        reconstructed = reconstruct_pairs(reconstructor, pairs, _soft(after, pairs, reconstruction.joint_temperature))
    uv_before, uv_after = (predict_joints(network, pairs) for network in (before, after))
    return _as_arrays(reconstructed, pairs.to("cpu"), uv_before, uv_after, labels)


def _trusted_joints(stages: Sequence[Stage], context: Context, labels: LabelledBatch) -> tuple[Section, ...]:
    """Table 3 (c): accuracy of the joints that were pseudo-labels before reconstruction, then and at the end.

    Empty without the stages.
    """
    warm, tuning = last_stage(stages[::-1], FineTuning), last_stage(stages, FineTuning)
    if last_stage(stages, ReconstructorTraining) is None or warm is None or tuning is None:
        return ()
    device = next(warm.teacher.parameters()).device
    frames = labels.unlabelled()
    assert labels.valid is not None
    with evaluating(warm), evaluating(tuning):
        trusted = warm.pseudo_labels(frames.to(device)).kept.cpu() & labels.valid
        correct = [correct_joints(predict_joints(stage.result(), frames), labels) for stage in (warm, tuning)]
    groups = {name: list(joints) for name, joints in context.skeleton.group_indices().items()}
    groups[_ALL] = list(range(trusted.shape[1]))
    counts = {name: int(trusted[:, joints].sum()) for name, joints in groups.items()}
    before, after = (
        {name: fraction(mask[:, joints], trusted[:, joints]) for name, joints in groups.items()} for mask in correct
    )
    return (trusted_joints(counts, before, after),)


def _soft(network: PoseResNet, frames: UnlabelledBatch, temperature: float) -> Float[Tensor, "B K 2"]:
    return soft_joints(network(frames.rgb)[0].float(), network.maps, frames.rgb.shape[-1], temperature)


def _as_arrays(
    reconstructed: ReconstructedFrames,
    pairs: UnlabelledBatch,
    uv_before: Tensor,
    uv_after: Tensor,
    labels: LabelledBatch | None,
) -> tuple[ReconstructedPair, ...]:
    if reconstructed.masks is None or reconstructed.field is None or reconstructed.inpainting is None:
        return ()  # heat maps as the guide give no displacement field
    base, driving = split_pairs(pairs)
    count, frame_size, image_size = len(base), base.rgb.shape[-2:], reconstructed.image.shape[-2:]
    base_rgb, driving_rgb = (resize_images(frames.rgb, image_size) for frames in (base, driving))
    uv_before, uv_after = (map_from_image(uv, frame_size, image_size) for uv in (uv_before, uv_after))
    height, width = reconstructed.field.shape[1:3]
    displacement = reconstructed.field - identity_field(height, width, reconstructed.field)
    displacement_px = displacement * (image_size[1] / width)
    truth = {} if labels is None else _labelled_joints(labels)
    truth = {key: map_from_image(uv, frame_size, image_size).numpy() for key, uv in truth.items()}
    return tuple(
        ReconstructedPair(
            base_key=base.key[i],
            driving_key=driving.key[i],
            base=as_picture(base_rgb[i]),
            driving=as_picture(driving_rgb[i]),
            reconstruction=as_picture(reconstructed.image[i]),
            regions=as_bytes(reconstructed.masks[i]),
            displacement_px=displacement_px[i].float().cpu().numpy(),
            inpainting=as_bytes(reconstructed.inpainting[i, 0]),
            uv_base=uv_after[i].numpy(),
            uv_before=uv_before[count + i].numpy(),
            uv_after=uv_after[count + i].numpy(),
            uv_truth=truth.get(driving.key[i]),
        )
        for i in range(count)
    )


def _labelled_joints(labels: LabelledBatch) -> dict[str, Float[Tensor, "J 2"]]:
    assert labels.uv_px is not None
    assert labels.valid is not None
    uv_px = torch.where(labels.valid[..., None], labels.uv_px, torch.nan)
    return dict(zip(labels.key, uv_px, strict=True))
