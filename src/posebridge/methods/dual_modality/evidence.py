"""Section of the report: depth maps, masks and attention in target images before and after fine-tuning (Fig. 7.6)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.contracts.section import Legend, Number, Picture, PictureRow, Section
from posebridge.losses.keypoints import weighted_mean
from posebridge.methods.base import Evidence
from posebridge.methods.dual_modality.fine_tuning import FineTuning
from posebridge.metrics.masks import mask_iou
from posebridge.networks.dual_modality import DualModalityNetwork, depth_image
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import distinct_frames
from posebridge.training.multi_task import SurfaceDepth, reduced, reduced_depth
from posebridge.training.pictures import as_bytes, as_picture, colour_ramp, in_colours, weights_over_image
from posebridge.training.stage import last_stage

TITLE = "Depth maps, masks and attention"
_TEXT = (
    "What the network predicts in target images besides joints, before and after fine-tuning (Fig. 7.6). The attention "
    "after conv1 comes from the predicted depth map; the fusion branch multiplies the features of the image by it."
)
_MEASURED_TEXT = " True masks and depth of the target were used for the numbers only."
_SHOWN = 6  # images
_MEASURED = 256  # images that numbers are of
_BATCH = 64


@dataclass(frozen=True)
class Predictions:
    """What one network predicts in N images."""

    depth_map: Float[Tensor, "N h w"]
    mask: Float[Tensor, "N h w"]  # probability
    attention: Float[Tensor, "N a a"]  # after conv1; its mean in each image is 1

    @classmethod
    @torch.no_grad()
    def of(cls, network: DualModalityNetwork, images: Float[Tensor, "N 3 S S"]) -> "Predictions":
        """The predictions of a network, computed on its device in evaluation mode."""
        device = next(network.parameters()).device
        parts = []
        for part in images.split(_BATCH):
            maps = network.eval()(part.to(device), branches=("rgb",))["rgb"].maps
            assert maps.mask is not None
            assert maps.depth_map is not None
            _, weights = network.attended_depth(depth_image(maps.depth_map, images.shape[-1]))
            parts.append((maps.depth_map.cpu(), maps.mask.sigmoid().cpu(), weights[0][:, 0].cpu()))
        return cls(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def numbers(self, name: str, labels: LabelledBatch, skeleton: Skeleton) -> tuple[Number, ...]:
        """Errors against labels of the same frames, in an image whose hand is visible."""
        assert labels.hand_mask is not None
        side = self.mask.shape[-1]
        true = reduced(labels.hand_mask, side) >= 0.5
        depth, known = reduced_depth(SurfaceDepth.of(labels, skeleton), side)
        error = weighted_mean((self.depth_map - depth).abs(), known * true) * 2 * PoseVolumes.depth_range
        hand = reduced(labels.hand_mask, self.attention.shape[-1])
        share = (self.attention * hand).sum((1, 2)) / self.attention.sum((1, 2)).clamp_min(1e-6)
        return (
            Number(f"mask IoU, {name}", float(mask_iou(self.mask > 0.5, true).mean()), digits=3),
            Number(f"error of depth on the hand, {name}", float(error), "reference bones", digits=3),
            Number(f"attention on the hand, {name}", 100 * float(share.mean()), "%"),
        )

    def pictures(self, name: str, index: int, image: Float[Tensor, "3 S S"]) -> tuple[Picture, ...]:
        """Depth map, mask and attention of one image."""
        maps = {"depth": self.depth_map, "mask": self.mask}
        drawn = {
            what: Picture(in_colours(as_bytes(values[index])), f"{what}, {name}", lossless=True)
            for what, values in maps.items()
        }
        attended = weights_over_image(as_picture(image), self.attention[index])
        return (*drawn.values(), Picture(attended, f"attention, {name}"))


def dual_modality_sections(evidence: Evidence, pretrained: DualModalityNetwork | None) -> tuple[Section, ...]:
    """The section; none without a pretrained network, and without a column after fine-tuning where there was none."""
    if pretrained is None:
        return ()
    networks = {"after pretraining": pretrained}
    tuning = last_stage(evidence.stages, FineTuning)
    if tuning is not None:
        networks["after fine-tuning"] = tuning.network
    labels = evidence.frame_labels
    measured = labels is not None and labels.hand_mask is not None and labels.depth_label_m is not None
    frames: Observation
    if labels is not None and measured:
        frames = labels[:_MEASURED]
    else:
        frames = distinct_frames(evidence.context.target_frames.batches(_MEASURED).batch(0))
    return (
        _section(
            frames,
            {name: Predictions.of(network, frames.rgb) for name, network in networks.items()},
            evidence.context.skeleton,
        ),
    )


def _section(frames: Observation, found: Mapping[str, Predictions], skeleton: Skeleton) -> Section:
    numbers: list[Number] = []
    if isinstance(frames, LabelledBatch):
        numbers += [n for name, predictions in found.items() for n in predictions.numbers(name, frames, skeleton)]
        area = reduced(frames.hand_mask, frames.rgb.shape[-1]).mean() if frames.hand_mask is not None else None
        if area is not None:
            numbers.append(Number("area of the hand", 100 * float(area), "%"))
    legend = Legend(
        "Colours",
        "Depth: the background and the far end of the range are dark, the near end is yellow. Mask: probability of the "
        "hand. Attention: from none to the image's largest weight, over the grey image.",
        colour_ramp(),
        ("far, background, none", "near, hand, largest"),
    )
    rows = tuple(
        PictureRow(
            frames.key[i],
            (
                Picture(as_picture(frames.rgb[i]), "Target image"),
                *(p for name, predictions in found.items() for p in predictions.pictures(name, i, frames.rgb[i])),
            ),
        )
        for i in range(min(_SHOWN, len(frames)))
    )
    return Section(
        TITLE,
        _TEXT + (_MEASURED_TEXT if numbers else ""),
        numbers=tuple(numbers),
        legends=(legend,),
        picture_rows=rows,
    )
