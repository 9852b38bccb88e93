"""Dexter+Object (Sridhar et al., ECCV 2016) in its release's layout: finger tips of a left hand that holds a block.

``data/Grasp1/color/image_00000_color.png`` (640 x 480), ``data/Grasp1/annotations/my_Grasp13D.txt`` and so on for
``Grasp2``, ``Occlusion``, ``Rigid``, ``Pinch``, ``Rotate``. A line an image, ``x, y, z;`` for the thumb's to the little
finger's tip, in millimetres of the depth sensor with x to the left and y up; z = 32001 where a tip is not labelled.
Without the annotations, the images are an ``ImageFolder(root / "data" / "Grasp1" / "color")``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord, spatial_labels
from posebridge.data.datasets.options import Split
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit, size_problems
from posebridge.text_files import read_text

SEQUENCES = ("Grasp1", "Grasp2", "Occlusion", "Rigid", "Pinch", "Rotate")

_TIPS = ORDERS["dexter_object"]
_MISSING_Z = 32001
# The release's calibration/: X_color = R X_depth + t, with x right and y down.
_K = camera_matrix(587.45209, 600.67456, 325.0, 249.0)
_R_COLOR_DEPTH = np.array([[0.9999, 0.0034, 0.0161], [-0.0033, 1.0, -0.0079], [-0.0162, 0.0079, 0.9998]])
_T_COLOR_DEPTH_MM = np.array([19.0473, -1.8514, -4.7501])
_HAND_BOX_M = 0.3  # around the tips' middle: the palm isn't labelled


class _Image(NamedTuple):
    file: Path
    sequence: str
    number: int
    joints_m: np.ndarray  # (5, 3) camera frame, NaN where not labelled


class DexterObject(HandFrames):
    """One frame an image with a labelled tip; key ``Grasp1_00000``, sequence the folder's name.

    An evaluation set. The other 16 joints are not valid. The box is a square that is 0.3 m wide at the tips' depth.
    """

    def __init__(self, root: str | Path, split: Split = "test", sequences: Sequence[str] = SEQUENCES):
        """Raises ``InputError`` for the split "train", which the release lacks, and where annotations are missing,
        damaged or of another unit, or no image is there.
        """
        if split != "test":
            raise InputError(f"{root}: Dexter+Object has no split {split!r}; it is for testing")
        data = Path(root) / "data"
        self.skipped: dict[str, str] = {}
        self._images: list[_Image] = []
        for sequence in sequences:
            self._add(data / sequence, sequence)
        if not self._images:
            raise InputError(f"{data}: no image with a labelled finger tip of {', '.join(sequences)} is there")

    def __len__(self) -> int:
        return len(self._images)

    def record(self, index: int) -> HandRecord:
        """The tips of an image."""
        file, sequence, number, tips_m = self._images[index]
        joints_m, uv_px, valid, box = spatial_labels(tips_m, _K, None, _TIPS, file)
        centre = (box[:2] + box[2:]) / 2
        half = np.diag(_K)[:2] * _HAND_BOX_M / 2 / joints_m[valid, 2].mean()
        return HandRecord(
            file=file,
            key=f"{sequence}_{number:05d}",
            hand="left",
            uv_px=uv_px,
            valid=valid,
            box_xyxy=np.concatenate([centre - half, centre + half]),
            sequence=sequence,
            frame=number,
            K=_K,
            joints_m=joints_m,
        )

    def _add(self, folder: Path, sequence: str) -> None:
        path = folder / "annotations" / f"my_{sequence}3D.txt"
        tips_m = _read_tips(path)
        files = sorted((folder / "color").glob("image_*_color.png"), key=natural_path_key)
        if len(files) != len(tips_m):
            raise InputError(
                f"{path} has {len(tips_m)} lines, {folder / 'color'} {len(files)} images: expected as many"
            )
        check_unit(tips_m, "hand", f"{path}: finger tips", "millimetres")
        broken = size_problems(tips_m, "hand")
        for row, (file, tips) in enumerate(zip(files, tips_m, strict=True)):
            number = file.stem.split("_")[1]
            if not number.isdecimal():
                self.skipped[str(file)] = "its name has no number"
            elif row in broken:
                self.skipped[str(file)] = broken[row]
            elif np.isfinite(tips).any():
                self._images.append(_Image(file, sequence, int(number), tips))


def _read_tips(path: Path) -> np.ndarray:
    """(N, 5, 3) metres in the frame of the colour camera, NaN where a tip is not labelled."""
    try:
        lines = [line for line in read_text(path).splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; without labels, open the folder of images instead") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text") from None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        fields = [field for field in line.replace(";", ",").split(",") if field.strip()]
        try:
            row = [float(field) for field in fields]
        except ValueError:
            row = []
        if len(row) != 3 * len(_TIPS):
            raise InputError(f"{path}: line {number} is not 'x, y, z;' for each of {len(_TIPS)} finger tips")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: the file holds no line")
    tips_mm = np.array(rows).reshape(-1, len(_TIPS), 3)
    missing = tips_mm[..., 2] == _MISSING_Z
    tips_mm[missing] = np.nan
    return (tips_mm * [-1.0, -1.0, 1.0] @ _R_COLOR_DEPTH.T + _T_COLOR_DEPTH_MM) * MM
