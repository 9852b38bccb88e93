"""Reconstructed frames as a section of the report. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from posebridge.contracts.section import MOVED_PX, Legend, Number, Picture, PictureRow, PoseOverlay, PoseRole, Section
from posebridge.methods.geometric_reconstruction.flow_vis import (
    FULL_DIFFERENCE,
    as_rgb,
    difference_map,
    flow_to_rgb,
    flow_wheel,
    grey_ramp,
    max_flow_px,
    regions_to_rgb,
)

TITLE = "Reconstructed frames"
_DIFFERENCE_PX = 128
_TEXT = (
    "A generator reconstructs a driving frame of a video from a base frame of the same video. It moves pixels from the "
    "bones predicted in the base frame to the bones predicted in the driving frame. A wrong joint makes the "
    "reconstruction differ from the driving frame, and training reduces this difference.\n\n"
    "Poses before are those of the network when reconstruction joined the training; poses after are the final ones."
)


@dataclass(frozen=True)
class ReconstructedPair:
    """A driving frame of a video, reconstructed from a base frame. Raises ``ValueError`` for shapes that don't fit."""

    base_key: str
    driving_key: str
    base: np.ndarray  # (H, W, 3) uint8 RGB
    driving: np.ndarray  # (H, W, 3) uint8
    reconstruction: np.ndarray  # (H, W, 3) uint8
    regions: np.ndarray  # (R, h, w) uint8: masks of the background and of each bone, 255 for one
    displacement_px: np.ndarray  # (h, w, 2) float: from a pixel of the driving frame to its place in the base frame
    inpainting: np.ndarray  # (h, w) uint8: 255 copied from the base frame, 0 painted by the generator
    uv_base: np.ndarray  # (J, 2) final prediction in the base frame, pixels of the image; NaN where a joint is missing
    uv_before: np.ndarray  # (J, 2) in the driving frame, before reconstruction joined the training
    uv_after: np.ndarray  # (J, 2) in the driving frame, final
    uv_truth: np.ndarray | None = None  # (J, 2) in the driving frame

    def __post_init__(self):
        image, grid = self.base.shape, self.inpainting.shape
        if len(image) != 3 or len(grid) != 2:
            raise ValueError(f"reconstruction of {self.driving_key} has a base {image} and an inpainting map {grid}")
        expected = {
            **dict.fromkeys(("base", "driving", "reconstruction"), (np.uint8, (*image[:2], 3))),
            "regions": (np.uint8, (len(self.regions), *grid)),
            "displacement_px": (np.floating, (*grid, 2)),
            "inpainting": (np.uint8, grid),
        }
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or not np.issubdtype(array.dtype, kind):
                raise ValueError(
                    f"{name} of the reconstruction of {self.driving_key} is {array.dtype} {array.shape}, "
                    f"expected {kind.__name__} {shape}"
                )


def reconstructed_frames(
    pairs: Sequence[ReconstructedPair], joint_names: Sequence[str], bones: Sequence[tuple[int, int]]
) -> Section:
    """The section of some pairs; ``bones`` are (parent, child), in the order of the regions."""
    max_px = max_flow_px([pair.displacement_px for pair in pairs])
    return Section(
        TITLE,
        _TEXT,
        legends=_legends(max_px),
        picture_rows=tuple(
            PictureRow(
                f"{pair.driving_key} from {pair.base_key}",
                _pictures(pair, joint_names, bones, max_px),
                _numbers(pair),
            )
            for pair in pairs
        ),
    )


def _legends(max_px: int) -> tuple[Legend, ...]:
    return (
        Legend(
            "Difference",
            "The absolute difference between the reconstruction and the driving frame.",
            grey_ramp(),
            ("none", f"{FULL_DIFFERENCE} of 255 or more"),
        ),
        Legend(
            "Regions",
            "The bone that a pixel moves with, in the colours of the skeleton. Every other bone of a limb is lighter. "
            "Dark pixels belong to the background.",
        ),
        Legend(
            "Displacement",
            "The offset from a pixel of the driving frame to its place in the base frame. The hue is its direction on "
            "the wheel; fuller colours are longer offsets.",
            flow_wheel(),
            (f"rim: {max_px} px or more",),
        ),
        Legend(
            "Inpainting",
            "The share of a pixel that is copied from the base frame. The generator inpaints the rest.",
            grey_ramp(),
            ("painted", "copied"),
        ),
        Legend(
            "Numbers",
            "Differences are means over the image. If a reconstruction differs as much as its base frame, the "
            "reconstructor has learned nothing.",
        ),
    )


def _pictures(
    pair: ReconstructedPair, joint_names: Sequence[str], bones: Sequence[tuple[int, int]], max_px: int
) -> tuple[Picture, ...]:
    if len(pair.regions) != len(bones) + 1:
        raise ValueError(f"reconstruction of {pair.driving_key} has {len(pair.regions)} regions for {len(bones)} bones")
    driving: dict[PoseRole, np.ndarray | None] = {
        "before": pair.uv_before,
        "after": pair.uv_after,
        "truth": pair.uv_truth,
    }
    return (
        Picture(pair.base, "Base frame", (PoseOverlay("predicted", pair.uv_base),)),
        Picture(
            pair.driving,
            "Driving frame",
            tuple(PoseOverlay(role, uv_px) for role, uv_px in driving.items() if uv_px is not None),
        ),
        Picture(pair.reconstruction, "Reconstruction"),
        Picture(_shrunk(difference_map(pair.reconstruction, pair.driving)), "Difference"),
        Picture(regions_to_rgb(pair.regions, bones, joint_names), "Regions", lossless=True),
        Picture(flow_to_rgb(pair.displacement_px, max_px), "Displacement", lossless=True),
        Picture(as_rgb(pair.inpainting), "Inpainting", lossless=True),
    )


def _shrunk(image: np.ndarray) -> np.ndarray:
    """At most 128 px wide and high: differences are noisy, and noise makes a page heavy."""
    scale = min(1.0, _DIFFERENCE_PX / max(image.shape[:2]))
    return image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _numbers(pair: ReconstructedPair) -> tuple[Number, ...]:
    both = np.isfinite([pair.uv_before, pair.uv_after]).all((0, 2))
    moved = np.linalg.norm(pair.uv_after - pair.uv_before, axis=-1) > MOVED_PX
    numbers = [Number("moved joints", float(moved.sum()), f"of {both.sum()}", digits=0)]
    if pair.uv_truth is not None:
        known = both & np.isfinite(pair.uv_truth).all(-1)
        if known.any():
            for name, uv_px in (("before", pair.uv_before), ("after", pair.uv_after)):
                error_px = np.linalg.norm((uv_px - pair.uv_truth)[known], axis=-1).mean()
                numbers.append(Number(f"joint error {name}", float(error_px), "px"))
    for name, image in (("base frame", pair.base), ("reconstruction", pair.reconstruction)):
        numbers.append(
            Number(f"difference of {name}", float(np.abs(image.astype(float) - pair.driving).mean()), "of 255")
        )
    numbers.append(Number("painted", float(100 * (1 - pair.inpainting.mean() / 255)), "%", digits=0))
    return tuple(numbers)
