"""Foreground masks of a user's frames as image files, each found by its frame's key."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from posebridge.data.datasets.image_folder import find_images, unique_keys
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.image_file import read_picture
from posebridge.errors import InputError

_DARK, _BRIGHT = 63, 192  # of 255: soft edges and compression lie between them, or beside 0 and 255
_LEAST_CLEAR_FRAC = 0.9  # of a mask's pixels that must be dark or bright; of photographs far fewer are
_SHOWN = 3


class MaskFiles:
    """One image file a frame, named as the frame's key: black is background, white or one colour is the subject.

    Masks have the size of the frame's stored picture. Two values, the darker of which is 0, are a mask; more values are
    divided at half of 255, where nearly all of them are close to 0 or 255.
    """

    def __init__(self, folder: Path):
        """Raises ``InputError`` for a missing folder, one without an image, and masks that differ in their suffix."""
        if folder.is_file():
            raise InputError(f"--masks {folder} is a file: give a folder of masks, one for each frame")
        self.folder = folder
        files = find_images(folder).files
        keys = unique_keys(folder, [file.relative_to(folder) for file in files])
        self._files = dict(zip(keys, files, strict=True))
        self._used: set[str] = set()
        self._missing: list[str] = []

    def mask(self, frame: RawFrame, key: str) -> Bool[np.ndarray, "H W"] | None:
        """The mask of a frame in pixels of its file; None without one, which ``check`` refuses.

        Raises ``InputError`` for a file that can't be read, has another size than the frame, or is no mask.
        """
        file = self._files.get(key)
        if file is None:
            self._missing.append(key)
            return None
        self._used.add(key)
        try:
            picture = read_picture(file)
        except UnreadableFrameError as error:
            raise InputError(f"the mask {file} can't be read: {error.reason}; save it as an 8-bit grey PNG") from None
        if picture.image.shape[:2] != frame.shape or not (
            picture.is_upright or (picture.turn, picture.mirror) == (frame.turn, frame.mirror)
        ):
            height, width = frame.shape
            there = f"{picture.image.shape[1]}x{picture.image.shape[0]}"
            oriented = "" if picture.is_upright else ", and carries another orientation"
            raise InputError(
                f"the mask {file} has {there} px{oriented}; its frame {key} is stored with {width}x{height} px: give "
                "masks of the stored pictures"
            )
        return _binary(picture.image.max(axis=2), file)

    def check(self) -> None:
        """Raise ``InputError`` where frames that were asked for have no mask; the message names the first of them."""
        if not self._missing:
            return
        count, total = len(self._missing), len(self._missing) + len(self._used)
        names = ", ".join(self._missing[:_SHOWN]) + (", ..." if count > _SHOWN else "")
        raise InputError(
            f"--masks {self.folder} has no mask for {count} of {total} frames ({names}): add files of these names, "
            f"such as {self._missing[0]}.png"
        )

    def notes(self) -> tuple[str, ...]:
        """A line about masks that belong to no frame; nothing where there are none."""
        unused = [key for key in self._files if key not in self._used]
        if not unused:
            return ()
        names = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
        return (f"{len(unused)} of {len(self._files)} masks in {self.folder} belong to no frame ({names})",)


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
