"""GANerated Hands (Mueller et al., CVPR 2018) in its release's layout: left hands, rendered and made realistic.

``data/noObject/0001/0001_color_composed.png`` (256 x 256) and ``data/withObject/...``, with beside each image
``_joint_pos_global.txt`` (63 numbers, millimetres in the frame of the camera that took the whole picture),
``_joint2D.txt`` (42 numbers, pixels of the image) and ``_crop_params.txt`` (the cut's u, v in the whole picture and its
scale). ``_joint_pos.txt``, joints relative to the middle finger's base and without a unit, is not read. Joints are
wrist, then thumb to pinky, base to tip. Without the annotations, the images are an ``ImageFolder``.
"""

from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM
from posebridge.data.datasets.hand_annotations import JOINTS
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord, spatial_labels
from posebridge.data.datasets.options import GANeratedPart, Split
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.plausible_lengths import check_unit
from posebridge.text_files import read_text

_IMAGE_END = "_color_composed.png"
_K_WHOLE = camera_matrix(617.173, 617.173, 315.453, 242.259)
_TOLERANCE_PX = 2.0  # between the joints' projection and the pixels beside it


class GANerated(HandFrames):
    """One frame an image; key ``noObject_0001_0001``, sequence ``noObject_0001``.

    Annotations, three small files an image for 330,000 images, are read with their frame. ``K`` is the whole picture's,
    with the cut folded in.
    """

    def __init__(self, root: str | Path, split: Split = "train", part: GANeratedPart = "all"):
        """``root``: the folder that holds ``data/``. ``split``: all images are for training, the release has no test.

        Raises ``InputError`` for another split, where there is no image, or the first one's annotation is unusable.
        """
        if split != "train" or part not in ("noObject", "withObject", "all"):
            raise InputError(f"{root}: split {split!r}, part {part!r}; give train, and noObject, withObject or all")
        self.data = Path(root) / "data"
        self.part = part
        self.skipped: dict[str, str] = {}
        parts = ("noObject", "withObject") if part == "all" else (part,)
        found = (sorted((self.data / name).glob(f"*/*{_IMAGE_END}"), key=natural_path_key) for name in parts)
        self._files = [file for files in found for file in files]
        if not self._files:
            raise InputError(f"{self.data}: no image {parts[0]}/0001/0001{_IMAGE_END} and so on is there")
        # Another unit or layout shows at once; a file that is broken later on is skipped.
        _read_hand(self._files[0])

    def __len__(self) -> int:
        return len(self._files)

    def record(self, index: int) -> HandRecord:
        """The left hand of an image. Raises ``UnreadableFrameError`` where one of its files is broken."""
        file = self._files[index]
        try:
            joints_m, uv_px, K = _read_hand(file)
        except InputError as error:
            raise UnreadableFrameError(file, str(error)) from None
        joints_m, _, valid, box = spatial_labels(joints_m, K, None, ORDERS["ganerated"], file)
        uv_px, _ = convert(uv_px, None, ORDERS["ganerated"], HAND21)
        sequence = f"{file.parents[1].name}_{file.parent.name}"
        number = file.name.removesuffix(_IMAGE_END)
        return HandRecord(
            file=file,
            key=f"{sequence}_{number}",
            hand="left",
            uv_px=uv_px,
            valid=valid,
            box_xyxy=box,
            sequence=sequence,
            frame=int(number) if number.isdecimal() else index,
            K=K,
            joints_m=joints_m,
        )


def _read_hand(image: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (21, 3) m, their pixels (21, 2) and K (3, 3). Raises ``InputError``."""
    stem = image.name.removesuffix(_IMAGE_END)
    joints_file = image.with_name(f"{stem}_joint_pos_global.txt")
    joints_m = _read_numbers(joints_file, (JOINTS, 3)) * MM
    uv_px = _read_numbers(image.with_name(f"{stem}_joint2D.txt"), (JOINTS, 2))
    u, v, scale = _read_numbers(image.with_name(f"{stem}_crop_params.txt"), (3,)).tolist()
    check_unit(joints_m[None], "hand", f"{joints_file}: joints", "millimetres")
    if not scale > 0:
        raise InputError(f"{stem}_crop_params.txt: the scale {scale} is not above zero")
    K = camera_matrix(scale, scale, -scale * u, -scale * v) @ _K_WHOLE
    _, projected, _, _ = spatial_labels(joints_m, K, None, HAND21.joints, image)
    distance = float(np.median(np.linalg.norm(projected - uv_px, axis=-1)))
    if distance > _TOLERANCE_PX:
        raise InputError(
            f"{joints_file}: its joints project {distance:.3g} px away from {stem}_joint2D.txt: "
            f"expected less than {_TOLERANCE_PX:g} px, with {stem}_crop_params.txt being u, v, scale"
        )
    return joints_m, uv_px, K


def _read_numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.array([float(number) for number in read_text(path).replace("\n", ",").split(",") if number.strip()])
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; without labels, open the folder of images instead") from None
    except ValueError:
        raise InputError(f"{path}: not numbers between commas") from None
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise InputError(f"{path}: expected {int(np.prod(shape))} finite numbers, it has {values.size}")
    return values.reshape(shape)
