"""What geometric reconstruction leaves for the report: redrawn frames, and joints before and after."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import ConfidentJoints, Redrawing
from posebridge.data.pairs import split_pairs
from posebridge.geometry.displacement import identity_field
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning
from posebridge.methods.geometric_reconstruction.frame_reconstructor import ReconstructedFrames
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    reconstruct_pairs,
    soft_joints,
)
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.context import Context
from posebridge.training.pseudo_label_metrics import positions, share, within
from posebridge.training.stage import Stage

StageT = TypeVar("StageT", bound=Stage)

_PAIRS = 6
_ALL = "All"


def redrawings(stages: Sequence[Stage], context: Context, truth: LabelledBatch | None = None) -> tuple[Redrawing, ...]:
    """A few driving frames, redrawn through the joints that the network sees in the end; none without the stages.

    ``truth`` holds frames of the target with labels, found by their keys.
    """
    drawing, tuning = _last(stages, ReconstructorTraining), _last(stages, FineTuning)
    if drawing is None or tuning is None or context.pairs is None:
        return ()
    reconstructor, before, after = drawing.reconstructor.eval(), drawing.network, tuning.result()
    reconstruction = tuning.config.reconstruction
    assert reconstruction is not None
    pairs = context.pairs(_PAIRS, reconstruction.pairs).batch(0)
    pairs = pairs.to(next(after.parameters()).device)
    reconstructor.to(pairs.rgb.device)
    with torch.no_grad():
        redrawn = reconstruct_pairs(reconstructor, pairs, _soft(after, pairs, reconstruction.joint_temperature))
    uv_before, uv_after = (positions(network, pairs) for network in (before, after))
    return _records(redrawn, pairs.to("cpu"), uv_before, uv_after, truth)


def confident_joints(
    stages: Sequence[Stage], frames: UnlabelledBatch, truth: LabelledBatch, groups: Mapping[str, Sequence[int]]
) -> ConfidentJoints | None:
    """Table 3(c): joints whose pseudo-labels were trusted before reconstruction took part, then and in the end.

    ``truth`` holds the same frames with labels. None without the stages.
    """
    drawing, warm, tuning = (
        _last(stages, ReconstructorTraining),
        _last(stages[::-1], FineTuning),
        _last(stages, FineTuning),
    )
    if drawing is None or warm is None or tuning is None:
        return None
    device = next(warm.teacher.parameters()).device
    trusted = warm.pseudo_labels(frames.to(device)).kept.cpu()
    assert truth.valid is not None
    known = trusted & truth.valid
    found = [within(positions(stage.result(), frames), truth) for stage in (warm, tuning)]
    named = {**{name: list(joints) for name, joints in groups.items()}, _ALL: list(range(known.shape[1]))}
    before, after = (
        {name: share(right[:, joints], known[:, joints]) for name, joints in named.items()} for right in found
    )
    return ConfidentJoints({name: int(known[:, joints].sum()) for name, joints in named.items()}, before, after)


def _soft(network: PoseResNet, frames: UnlabelledBatch, temperature: float) -> Float[Tensor, "B K 2"]:
    return soft_joints(network(frames.rgb)[0].float(), network.maps, frames.rgb.shape[-1], temperature)


def _records(
    redrawn: ReconstructedFrames,
    pairs: UnlabelledBatch,
    uv_before: Tensor,
    uv_after: Tensor,
    truth: LabelledBatch | None,
) -> tuple[Redrawing, ...]:
    if redrawn.masks is None or redrawn.field is None or redrawn.inpainting is None:
        return ()  # guided by heat maps: there is no warp to show
    base, driving = split_pairs(pairs)
    count, size = len(base), base.rgb.shape[-1]
    height, width = redrawn.field.shape[1:3]
    moved = (redrawn.field - identity_field(height, width, redrawn.field)) * (size / width)
    true = {} if truth is None else _true_places(truth)
    return tuple(
        Redrawing(
            base_key=base.key[i],
            driving_key=driving.key[i],
            base=_picture(base.rgb[i]),
            driving=_picture(driving.rgb[i]),
            redrawn=_picture(redrawn.image[i]),
            regions=_bytes(redrawn.masks[i]),
            displacement_px=moved[i].float().cpu().numpy(),
            inpainting=_bytes(redrawn.inpainting[i, 0]),
            uv_base=uv_after[i].numpy(),
            uv_before=uv_before[count + i].numpy(),
            uv_after=uv_after[count + i].numpy(),
            uv_truth=true.get(driving.key[i]),
        )
        for i in range(count)
    )


def _true_places(truth: LabelledBatch) -> dict[str, np.ndarray]:
    assert truth.uv_px is not None
    assert truth.valid is not None
    uv_px = torch.where(truth.valid[..., None], truth.uv_px, torch.nan)
    return dict(zip(truth.key, uv_px.numpy(), strict=True))


def _picture(image: Float[Tensor, "3 H W"]) -> np.ndarray:
    return _bytes(image.permute(1, 2, 0))


def _bytes(values: Tensor) -> np.ndarray:
    return (values.float().clamp(0, 1) * 255).round().byte().cpu().numpy()


def _last(stages: Sequence[Stage], kind: type[StageT]) -> StageT | None:
    return next((stage for stage in reversed(stages) if isinstance(stage, kind)), None)
