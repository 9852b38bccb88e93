"""Features of a video's frames for scene cuts and camera motion: a small grey image and a histogram of colours.

Cells of one grey image are searched for in another by normalised cross-correlation. That is insensitive to exposure,
to noise of single pixels and to a moving subject, since most cells show the background. Colours are chromaticities,
so brightness doesn't enter them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posebridge.cameras.pixel_maps import resize_map
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.frames import RawFrame

_SIDE_PX = 128  # the longer side of the grey image
_CELL_PX = 16
_SHOT_REACH_PX = 6  # search radius in the halved grey image: motion below a tenth of the image is followed
_CAMERA_REACH_PX = 32  # search radius in the grey image: motion of up to a quarter of the image is measured
_MIN_DEVIATION = 3.0  # grey levels; a cell with a lower standard deviation has no texture to match
_MIN_CORRELATION = 0.8  # of a cell with its match in another frame
_MIN_GAIN = 0.02  # in correlation; a cell has moved only where its new place fits better than its old one by this
_SUBJECT_FRAC = 0.6  # without a box, the subject is assumed within this fraction of the image, around its centre
_MIN_CELLS = 6  # background cells needed for a median
_BINS = 12
_DARK = 8.0  # grey levels added to each colour, so that noise in the dark has no colour
MAX_DIFFERENCE = 2.0


@dataclass(frozen=True)
class ShotFeatures:
    """Features of one frame; lengths in pixels of ``grey``."""

    key: str
    sequence: str
    view: int
    frame: int
    grey: UInt8[np.ndarray, "h w"]  # the longer side is 128
    colours: Float[np.ndarray, "12 12"]  # fractions of the pixels by red and green chromaticity
    crop_px: float  # side of the square that is cut from the frame
    box_xyxy: Float[np.ndarray, "4"] | None  # of the subject; None: the crop is the whole frame


def shot_features(frame: RawFrame, crop: UnlabelledBatch) -> ShotFeatures:
    """The features of a frame, about 16 kB; ``crop`` is the batch of one that is cut from it."""
    scale = _SIDE_PX / max(frame.shape)
    height, width = (max(2, round(scale * side)) for side in frame.shape)  # two, so that it can be halved
    small = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
    box = None
    if frame.box_xyxy is not None:
        T = resize_map(width / frame.shape[1], height / frame.shape[0])
        box = np.concatenate([T[:2, :2] @ corner + T[:2, 2] for corner in np.reshape(frame.box_xyxy, (2, 2))])
    assert crop.T_crop_file is not None
    crop_scale = abs(np.linalg.det(crop.T_crop_file[0, :2, :2].double().numpy())) ** 0.5
    crop_px = scale * crop.rgb.shape[-1] / float(crop_scale)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return ShotFeatures(frame.key, frame.sequence, frame.view, frame.frame, grey, _colours(small), crop_px, box)


def _colours(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "12 12"]:
    lit = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).reshape(-1, 3) + _DARK
    red, green = (lit / lit.sum(axis=1, keepdims=True))[:, :2].T
    counts, _, _ = np.histogram2d(red.clip(0.1, 0.7), green.clip(0.15, 0.55), _BINS, ((0.1, 0.7), (0.15, 0.55)))
    return (cv2.GaussianBlur(counts, (0, 0), 0.8, borderType=cv2.BORDER_REFLECT) / len(lit)).astype(np.float32)


def shot_difference(first: ShotFeatures, second: ShotFeatures) -> float:
    """The difference of two frames in [0, 2]: about 0.1 for neighbours of one shot, 0.8 for two places.

    It is the sum of two terms: one minus the mean correlation of the cells, searched for in both directions, and the
    fraction of pixels whose chromaticity the other frame lacks.
    """
    if first.grey.shape != second.grey.shape:
        return MAX_DIFFERENCE
    a, b = _soft(_halved(first.grey)), _soft(_halved(second.grey))
    best = [fit.max() for pair in ((a, b), (b, a)) for _, fit in _cells(*pair, _SHOT_REACH_PX) if fit is not None]
    structure = 1 - max(0.0, float(np.mean(best))) if best else 0.0
    return structure + 1 - float(np.minimum(first.colours, second.colours).sum())


def camera_motion(first: ShotFeatures, second: ShotFeatures) -> float:
    """The motion of the background between two frames of one shot, as a fraction of the crop's side.

    It is the median over cells outside the subject's boxes. Without boxes, or where they leave too few cells, the
    cells near the border count. A cell without a match counts as moved by the search radius, one without texture as
    not moved.
    """
    moved_px = [
        (x, y, 0.0 if fit is None else _moved(fit))
        for (x, y), fit in _cells(_soft(first.grey), _soft(second.grey), _CAMERA_REACH_PX)
    ]
    outside = [px for x, y, px in moved_px if not (_in_box(x, y, first) or _in_box(x, y, second))]
    if first.box_xyxy is None or len(outside) < _MIN_CELLS:
        outside = [px for x, y, px in moved_px if not _in_middle(x, y, first.grey)]
    return float(np.median(outside)) / first.crop_px if outside else 0.0


def _moved(fit: Float[np.ndarray, "r r"]) -> float:
    reach = len(fit) // 2
    if fit.max() < _MIN_CORRELATION:
        return float(reach)
    if fit.max() < fit[reach, reach] + _MIN_GAIN:
        return 0.0
    row, column = divmod(int(fit.argmax()), len(fit))
    return float(np.hypot(column - reach, row - reach))


def _in_box(x: int, y: int, frame: ShotFeatures) -> bool:
    """Whether the cell at (x, y) overlaps the subject's box."""
    if frame.box_xyxy is None:
        return False
    x0, y0, x1, y1 = frame.box_xyxy
    return x0 - _CELL_PX < x < x1 and y0 - _CELL_PX < y < y1


def _in_middle(x: int, y: int, grey: UInt8[np.ndarray, "h w"]) -> bool:
    """Whether the centre of the cell at (x, y) lies where the subject is assumed without a box."""
    height, width = grey.shape
    u, v = (x + _CELL_PX / 2) / width, (y + _CELL_PX / 2) / height
    return max(abs(2 * u - 1), abs(2 * v - 1)) < _SUBJECT_FRAC


def _cells(
    first: Float[np.ndarray, "h w"], second: Float[np.ndarray, "h w"], reach_px: int
) -> Iterator[tuple[tuple[int, int], Float[np.ndarray, "r r"] | None]]:
    """Each cell's corner, and its correlation with every place within reach in the second image; None: no texture."""
    height, width = first.shape
    wide = np.pad(second, reach_px, mode="edge")
    for y in range(0, height - _CELL_PX + 1, _CELL_PX):
        for x in range(0, width - _CELL_PX + 1, _CELL_PX):
            cell = first[y : y + _CELL_PX, x : x + _CELL_PX]
            around = wide[y : y + _CELL_PX + 2 * reach_px, x : x + _CELL_PX + 2 * reach_px]
            textured = cell.std() >= _MIN_DEVIATION
            yield (x, y), cv2.matchTemplate(around, cell, cv2.TM_CCOEFF_NORMED) if textured else None


def _soft(grey: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    return cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)


def _halved(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "half_h half_w"]:
    return cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
