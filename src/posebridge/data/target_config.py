"""Where a user's frames lie, in colour or depth. Imports neither numpy nor torch: commands make their flags of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from posebridge.data.datasets.options import BoxOrientation, Encoding, SequenceBy

DetectorChoice = Literal["auto", "none"] | Path
"""The model's own search where it can, none, or the folder of a detector."""


@dataclass(frozen=True)
class TargetConfig:
    """Where the target's images lie, their boxes, hands and intrinsics."""

    path: Annotated[Positional[Path], arg(metavar="TARGET")]
    """An image, a folder of images, a video, or a folder of videos."""

    boxes: Path | None = None
    """Boxes of the subject: .json {key: [x0, y0, x1, y1]}, or .csv with key,x0,y0,x1,y1 and optionally hand. They take
    the place of the detector."""

    detector: DetectorChoice = "auto"
    """What finds the subject without boxes. auto: a model that states the least confidence of a subject, as hand-rgb
    does, searches the frame itself. none: the whole frame is the crop, as it also is for other models. Or the folder of
    a detector (posebridge train-detector)."""

    box_orientation: BoxOrientation = "upright"
    """Pixels in which boxes are given, where a file carries an orientation (EXIF, or a rotation of a video): upright,
    as viewers and OpenCV show the picture, or stored, as predictions are."""

    hand: Literal["left", "right", "annotated"] | None = None
    """Which hand the frames show; annotated takes it from the file of boxes or the detector. Without it: as detected,
    or from the boxes' column hand, else right. Not for people."""

    padding: float = 1.0
    """Side of the square crop over the larger side of the box."""

    every: int = 1
    """Of videos, use every n-th frame only. Frames keep their numbers."""

    sequence_by: SequenceBy = "folder"
    """Which images are one sequence, for pairs of frames: those of a folder, or those with the same name before their
    number, as in walk_0012."""

    intrinsics_px: Annotated[tuple[float, float, float, float] | None, arg(name="intrinsics")] = None
    """fx fy cx cy in pixels of the files as they are stored, whatever orientation they carry. With it, joints are in
    the camera's frame; without it, relative to the root."""


@dataclass(frozen=True)
class DepthTargetConfig:
    """Where the depth frames lie, and the properties of their sensor."""

    path: Annotated[Positional[Path], arg(metavar="TARGET")]
    """A folder of 16-bit depth images, an .npz with depth_m and K, or a folder with cameras.json and a folder of images
    for each camera."""

    intrinsics_px: Annotated[tuple[float, float, float, float] | None, arg(name="intrinsics")] = None
    """fx fy cx cy in pixels of the files. A folder of depth images needs it; the other inputs hold their own."""

    unit_mm: Annotated[float, arg(name="depth-unit-mm")] = 1.0
    """Millimetres of one step of the depth images."""

    encoding: Annotated[Encoding, arg(name="depth-encoding")] = "16-bit"
    """Pixels of the depth images: one channel of 16 bits, or two-bytes, with the high byte in green and the low one in
    blue, as in NYU."""

    centres: Path | None = None
    """A text file with the centre of each hand: one line x y z a frame, in mm of the camera's frame. Without it: the
    nearest thing to the camera that is as large as a hand."""

    reach_m: tuple[float, float] = (0.1, 1.5)
    """Smallest and largest distance from the camera, in metres, at which hands are searched for."""

    hand: Literal["left", "right"] = "right"
    """Which hand the frames show."""
