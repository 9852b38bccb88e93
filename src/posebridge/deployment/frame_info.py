"""What other formats need of a predicted frame besides its pose; small, so that it is kept for every frame."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from posebridge.cameras.pixel_maps import apply_map, mapped_box, upright_map
from posebridge.data.datasets.video_file import VIDEO_SUFFIXES
from posebridge.data.frames import RawFrame


@dataclass(frozen=True)
class FrameInfo:
    """Place, size and orientation of one frame."""

    key: str
    sequence: str
    frame: int  # number within the sequence
    view: int  # number of the camera
    size_px: tuple[int, int]  # width and height as stored
    turn: int = 0  # quarter turns clockwise that bring the stored pixels upright
    mirror: bool = False  # the stored pixels are mirrored left-right before they are turned
    box_xyxy: np.ndarray | None = None  # (4,) stored pixels; None: the whole image was the crop
    file: Path | None = None  # the image or the video; None for a frame of an archive

    @classmethod
    def of(cls, frame: RawFrame) -> "FrameInfo":
        """The info of a frame."""
        height, width = frame.shape
        return cls(
            frame.key,
            frame.sequence,
            frame.frame,
            frame.view,
            (width, height),
            frame.turn,
            frame.mirror,
            frame.box_xyxy,
            frame.file,
        )

    @property
    def is_image_file(self) -> bool:
        """Whether the frame is a file of its own, rather than part of a video or an archive."""
        return self.file is not None and not self.is_video

    @property
    def is_video(self) -> bool:
        """Whether the frame is of a video."""
        return self.file is not None and self.file.suffix.lower() in VIDEO_SUFFIXES

    @property
    def upright_size_px(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.size_px
        return (height, width) if self.turn % 2 else (width, height)

    def upright_map(self) -> np.ndarray:
        """T_upright_file (3, 3), from stored pixels to those of the upright picture."""
        return upright_map(*self.size_px, self.turn, self.mirror)

    def upright_px(self, uv_px: np.ndarray) -> np.ndarray:
        """Stored pixels (..., 2) as pixels of the upright picture."""
        return apply_map(self.upright_map(), uv_px)

    def upright_axes(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) with the axes of the stored picture, as points with those of the upright one."""
        return points @ self._axes_map().T

    def upright_intrinsics(self, K: np.ndarray) -> np.ndarray:
        """Intrinsics (3, 3) of stored pixels, as those that project ``upright_axes`` to upright pixels."""
        return self.upright_map() @ K @ self._axes_map().T

    def _axes_map(self) -> np.ndarray:
        """(3, 3), orthogonal: quarter turns about the optical axis and the mirror image."""
        R = np.eye(3)
        R[:2, :2] = self.upright_map()[:2, :2]
        return R

    @property
    def upright_box_xyxy(self) -> np.ndarray | None:
        """The box (4,) in pixels of the upright picture."""
        return None if self.box_xyxy is None else mapped_box(self.box_xyxy, self.upright_map())

    def file_name(self, root: Path) -> str:
        """The path of the image below ``root``, with "/"; of frames without a file of their own, one by their key.

        FFmpeg writes frames of a video under such names: ``ffmpeg -i kitchen.mp4 -start_number 0 kitchen_%06d.jpg``.
        """
        if self.file is not None and self.is_image_file:
            return PurePosixPath(self.file.relative_to(root)).as_posix()
        return f"{self.key}.jpg" if self.is_video else f"{self.key}.png"
