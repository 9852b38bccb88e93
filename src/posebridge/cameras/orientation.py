"""Orientation of stored pixels: quarter turns and mirroring, as EXIF and the metadata of videos give them.

A picture is brought upright in two steps: it is mirrored left-right where ``mirror`` is set, then turned clockwise by
``turn`` quarter turns.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.crop import flip_map
from posebridge.cameras.pinhole import apply_affine

# (turn, mirror) by the value of EXIF's tag 0x0112.
EXIF_ORIENTATIONS: dict[int, tuple[int, bool]] = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (1, False),
    7: (1, True),
    8: (3, False),
}


def upright_map(width_px: int, height_px: int, turn: int, mirror: bool) -> Float[Tensor, "1 3 3"]:
    """T_upright_file of a stored picture of that size, in double precision."""
    T = flip_map(width_px).double() if mirror else torch.eye(3, dtype=torch.float64)[None]
    for i in range(turn % 4):
        side = height_px if i % 2 == 0 else width_px
        quarter = torch.tensor([[[0.0, -1.0, side - 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
        T = quarter @ T
    return T


def mapped_box(box_xyxy: Float[Tensor, "B 4"], T_out_in: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 4"]:
    """Boxes x0 y0 x1 y1 after quarter turns and mirroring."""
    corners = apply_affine(T_out_in, box_xyxy.reshape(-1, 2, 2))
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


def upright_image(image: np.ndarray, turn: int, mirror: bool) -> np.ndarray:
    """The upright picture (h, w, ...) of stored pixels (H, W, ...)."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirror else image, -turn))


def stored_image(image: np.ndarray, turn: int, mirror: bool) -> np.ndarray:
    """The stored pixels (H, W, ...) of an upright picture (h, w, ...)."""
    turned_back = np.rot90(image, turn)
    return np.ascontiguousarray(turned_back[:, ::-1] if mirror else turned_back)
