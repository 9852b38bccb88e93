"""Foreground masks of a user's frames as image files, each found by its frame's key."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import warped_mask
from posebridge.data.datasets.image_folder import find_images, unique_keys
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.image_file import read_picture
from posebridge.data.mask_store import MaskStore
from posebridge.errors import InputError

_DARK, _BRIGHT = 63, 192  # of 255: soft edges and compression lie between them, or beside 0 and 255
_LEAST_CLEAR_FRAC = 0.9  # of a mask's pixels that must be dark or bright; of photographs far fewer are
_SHOWN = 3


class MaskFiles:
    """One image file a frame, named as the frame's key; ``store`` keeps the masks of the crops.

    A mask has the size of the frame's stored picture. Black is the background, every other value the subject. Files
    with more than two values, such as JPEG, are divided at half of 255, where nearly all pixels are dark or bright.
    """

    def __init__(self, folder: Path):
        """Raises ``InputError`` for a missing folder, one without an image, and masks that differ in their suffix."""
        if folder.is_file():
            raise InputError(f"--masks {folder} is a file: give a folder of masks, one for each frame")
        self.folder = folder
        files = find_images(folder).files
        self._files = dict(zip(unique_keys(folder, [file.relative_to(folder) for file in files]), files, strict=True))
        self.store = MaskStore()

    def beside(self, crops: Iterable[tuple[RawFrame, UnlabelledBatch]]) -> Iterator[tuple[RawFrame, UnlabelledBatch]]:
        """The frames and their crops as they are, while ``store`` gets the crops' masks.

        Raises ``InputError`` for a mask that can't be read, has another size than its frame, or is no mask; and at the
        end, for frames without a mask.
        """
        missing, count = [], 0
        for frame, crop in crops:
            (key,), count = crop.key, count + 1
            if (file := self._files.get(key)) is None:
                missing.append(key)
            else:
                assert crop.T_crop_file is not None
                mask = warped_mask(_read(file, frame), crop.T_crop_file, crop.rgb.shape[-1])
                assert mask is not None
                self.store.add(crop.key, mask)
            yield frame, crop
        if missing:
            raise InputError(
                f"--masks {self.folder} has no mask for {len(missing)} of {count} frames ({_first(missing)}): add "
                f"files of these names, such as {missing[0]}.png"
            )

    def notes(self) -> tuple[str, ...]:
        """A line about masks that belong to no frame; nothing where there are none."""
        unused = self.store.missing(self._files)
        if not unused:
            return ()
        return (f"{len(unused)} of {len(self._files)} masks in {self.folder} belong to no frame ({_first(unused)})",)


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _read(file: Path, frame: RawFrame) -> Bool[np.ndarray, "H W"]:
    """The mask of a frame in pixels of its file."""
    try:
        picture = read_picture(file)
    except UnreadableFrameError as error:
        raise InputError(f"the mask {file} can't be read: {error.reason}; save it as an 8-bit grey PNG") from None
    if picture.image.shape[:2] != frame.shape:
        found, expected = (f"{width}x{height} px" for height, width in (picture.image.shape[:2], frame.shape))
        raise InputError(
            f"the mask {file} has {found}, and its frame is stored with {expected}: give masks of the stored pictures"
        )
    if not picture.is_upright and (picture.turn, picture.mirror) != (frame.turn, frame.mirror):
        raise InputError(
            f"the mask {file} carries an orientation that its frame lacks: store its pixels as the frame's"
        )
    return _binary(picture.image.max(axis=2), file)


def _binary(values: np.ndarray, file: Path) -> Bool[np.ndarray, "H W"]:
    """True for the subject. Raises ``InputError`` for values that don't divide into two."""
    levels = np.unique(values)
    if len(levels) == 1 or (len(levels) == 2 and levels[0] == 0):
        return values > 0
    clear_frac = float(((values <= _DARK) | (values >= _BRIGHT)).mean())
    if levels[-1] < _BRIGHT or clear_frac < _LEAST_CLEAR_FRAC:  # class numbers, a photograph
        raise InputError(
            f"the mask {file} has {len(levels)} values from {levels[0]} to {levels[-1]}: give 0 for the background and "
            "255 for the subject"
        )
    return values >= 128
