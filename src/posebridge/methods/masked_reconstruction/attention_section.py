"""Section of the report: where the class token attends in target images, and how much of it on the foreground."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.contracts.section import GroupChart, Legend, Number, Picture, PictureRow, Section
from posebridge.losses.masked_reconstruction import foreground_fraction
from posebridge.networks.vision_transformer import ViTEncoder
from posebridge.training.pictures import as_picture, colour_ramp, weights_over_image

TITLE = "Attention of the class token"
_TEXT = (
    "The attention of the class token to the patches of target images, as the mean over blocks and heads (Fig. 3 to "
    "5). The pretrained encoder is the reference of the attention regularisation."
)
_BATCH = 64


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of one encoder to the patches of N images, which sums to one over the patches."""

    by_patch: Float[Tensor, "N P"]  # mean over blocks and heads
    by_block: Float[Tensor, "L N P"]  # mean over heads

    @classmethod
    @torch.no_grad()
    def of(cls, encoder: ViTEncoder, images: Float[Tensor, "N 3 S S"]) -> "AttentionMaps":
        """The attention of an encoder, computed on its device."""
        device = next(encoder.parameters()).device
        parts = [encoder.class_attention(part.to(device)).mean(2).cpu() for part in images.split(_BATCH)]
        rows = torch.cat(parts, dim=1).float()
        by_block = rows / rows.sum(-1, keepdim=True)
        return cls(by_block.mean(0), by_block)

    def foreground_share(self, masks: Bool[Tensor, "N S S"], patch_px: int) -> float:
        """The share of the attention on the foreground, a mean over the images that have some."""
        return float(_share(self.by_patch, foreground_fraction(masks, patch_px)))

    def foreground_share_by_block(self, masks: Bool[Tensor, "N S S"], patch_px: int) -> tuple[float, ...]:
        """Likewise for each block."""
        fraction = foreground_fraction(masks, patch_px)
        return tuple(float(_share(block, fraction)) for block in self.by_block)


def _share(attention: Float[Tensor, "N P"], fraction: Float[Tensor, "N P"]) -> Float[Tensor, ""]:
    some = fraction.sum(1) > 0
    return (attention * fraction)[some].sum(1).mean()


def attention_section(
    images: Float[Tensor, "N 3 S S"],
    keys: Sequence[str],
    encoders: Mapping[str, ViTEncoder],
    masks: Bool[Tensor, "N S S"] | None,
    shown: int,
) -> Section:
    """The section of some target images.

    Args:
        images: RGB in [0, 1].
        keys: their names.
        encoders: by name, in the order in which they are shown.
        masks: their foreground; None where it is unknown, and no share is computed.
        shown: images that are drawn; numbers are of all.
    """
    maps = {name: AttentionMaps.of(encoder, images) for name, encoder in encoders.items()}
    patch_px = next(iter(encoders.values())).config.patch_px
    numbers, charts = (), ()
    if masks is not None and masks.any():
        numbers = (
            *(
                Number(f"attention on the foreground, {name}", 100 * found.foreground_share(masks, patch_px), "%")
                for name, found in maps.items()
            ),
            Number("area of the foreground", 100 * float(masks[masks.any((1, 2))].float().mean()), "%"),
        )
        charts = (_by_block(maps, masks, patch_px),)
    rows = tuple(_row(i, keys[i], images[i], maps, masks) for i in range(min(shown, len(images))))
    legend = Legend(
        "Attention",
        "Colours run from none (dark) to the image's largest attention (yellow), over the grey image.",
        colour_ramp(),
        ("none", "largest"),
    )
    return Section(TITLE, _TEXT, numbers=numbers, group_charts=charts, legends=(legend,), picture_rows=rows)


def _by_block(maps: Mapping[str, AttentionMaps], masks: Tensor, patch_px: int) -> GroupChart:
    series = {name: found.foreground_share_by_block(masks, patch_px) for name, found in maps.items()}
    blocks = tuple(f"block {i + 1}" for i in range(len(next(iter(series.values())))))
    return GroupChart("Attention on the foreground by block", "share", blocks, series, higher_is_better=True)


def _row(
    index: int, key: str, image: Tensor, maps: Mapping[str, AttentionMaps], masks: Bool[Tensor, "N S S"] | None
) -> PictureRow:
    pixels = as_picture(image)
    pictures = [Picture(pixels, "Target image")]
    pictures += [
        Picture(weights_over_image(pixels, _grid(found.by_patch[index])), name) for name, found in maps.items()
    ]
    if masks is not None:
        mask = (255 * masks[index].byte()).numpy()
        pictures.append(Picture(np.repeat(mask[..., None], 3, axis=-1), "Mask", lossless=True))
    return PictureRow(key, tuple(pictures))


def _grid(attention: Float[Tensor, "P"]) -> Float[Tensor, "h w"]:
    side = round(len(attention) ** 0.5)
    return attention.view(side, side)
