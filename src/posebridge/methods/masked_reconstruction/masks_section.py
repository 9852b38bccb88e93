"""Foreground masks as a section of the report. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posebridge.contracts.section import Legend, Number, Picture, PictureRow, Section

TITLE = "Foreground masks"
_PREDICTED = (
    "Foreground-centric reconstruction weights the patches of a target image by its mask, and exchanges the background "
    "behind it. A segmentation network, trained on the masks of the source alone, predicts these masks once."
)
_GIVEN = (
    "Foreground-centric reconstruction weights the patches of a target image by its mask, and exchanges the background "
    "behind it. The masks of the target were given, so no network predicts them."
)
_MEASURED = "The true masks were used for these numbers and pictures only."
_DIMMED = 0.25  # brightness that is left to the background
_SPURIOUS, _MISSED = (255, 140, 0), (0, 120, 255)  # orange and blue, which colour-blind readers tell apart


@dataclass(frozen=True)
class MaskedFrame:
    """A target frame with its mask. Raises ``ValueError`` for shapes that don't fit."""

    key: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) bool
    truth: np.ndarray | None = None  # (H, W) bool

    def __post_init__(self):
        for name, mask in (("mask", self.mask), ("true mask", self.truth)):
            if mask is not None and (mask.shape != self.image.shape[:2] or mask.dtype != np.bool_):
                raise ValueError(f"the {name} of {self.key} is {mask.dtype} {mask.shape}, expected bool (H, W)")

    @property
    def iou(self) -> float | None:
        """Intersection over union with the true mask; None without one, 1 where both are empty."""
        if self.truth is None:
            return None
        union = np.count_nonzero(self.mask | self.truth)
        return np.count_nonzero(self.mask & self.truth) / union if union else 1.0


@dataclass(frozen=True)
class MaskNumbers:
    """What is measured of masks. IoU are means over frames; None: not measured."""

    frames: int  # of the target, whose masks were looked at
    empty: int  # of them, without any foreground
    full: int  # of them, without any background
    target_iou: float | None = None
    labelled_frames: int = 0
    source_iou: float | None = None


def masks_section(frames: Sequence[MaskedFrame], numbers: MaskNumbers, *, given: bool) -> Section:
    """The section of some frames; ``given``: their masks come from files or labels."""
    measured = numbers.target_iou is not None
    return Section(
        TITLE,
        "\n\n".join((_GIVEN if given else _PREDICTED, *((_MEASURED,) if measured else ()))),
        numbers=_numbers(numbers),
        legends=_legends() if any(frame.truth is not None for frame in frames) else (),
        picture_rows=tuple(PictureRow(frame.key, _pictures(frame), _frame_numbers(frame)) for frame in frames),
    )


def _numbers(numbers: MaskNumbers) -> tuple[Number, ...]:
    found = []
    if numbers.target_iou is not None:
        note = f"mean over {numbers.labelled_frames} labelled frames of the target"
        found.append(Number("mask IoU, target", numbers.target_iou, digits=3, note=note))
    if numbers.source_iou is not None:
        found.append(Number("mask IoU, source", numbers.source_iou, digits=3, note="on images of the training"))
    for name, count in (("no foreground", numbers.empty), ("no background", numbers.full)):
        found.append(Number(f"frames with {name}", float(count), f"of {numbers.frames}", digits=0))
    return tuple(found)


def _legends() -> tuple[Legend, ...]:
    colours = np.repeat(np.array([[_SPURIOUS, _MISSED]], np.uint8), 24, axis=1).repeat(12, axis=0)
    text = "Pixels in which the mask and the true mask differ, over the dimmed frame."
    return (Legend("Errors", text, colours, ("background in the mask", "foreground outside it")),)


def _pictures(frame: MaskedFrame) -> tuple[Picture, ...]:
    cut = np.where(frame.mask[..., None], frame.image, _dimmed(frame.image))
    pictures = (Picture(frame.image, "Frame"), Picture(cut, "Mask"))
    if frame.truth is None:
        return pictures
    errors = _dimmed(frame.image)
    errors[frame.mask & ~frame.truth] = _SPURIOUS
    errors[frame.truth & ~frame.mask] = _MISSED
    return (*pictures, Picture(errors, "Errors", lossless=True))


def _dimmed(image: np.ndarray) -> np.ndarray:
    return (_DIMMED * image).round().astype(np.uint8)


def _frame_numbers(frame: MaskedFrame) -> tuple[Number, ...]:
    share = Number("foreground", 100 * float(frame.mask.mean()), "%", digits=0)
    return (share,) if frame.iou is None else (Number("IoU", frame.iou, digits=2), share)
