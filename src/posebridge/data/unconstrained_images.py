"""Images without any relation to the task, which become backgrounds (masked reconstruction, Sec. 3.1)."""

from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from posebridge.data.compositing import composite
from posebridge.draw import chance
from posebridge.synthesis.backgrounds import painted_tiles, photographs, random_crops

_BANK_SEED = 8  # not that of the domains' bank, whose pictures lie behind the renders of the target


class UnconstrainedImages:
    """Photographs of a folder, at most 3,072, evenly chosen; or painted tiles that no domain shows.

    The central square of each image is kept with 192 x 192 pixels of 8 bits.
    """

    def __init__(self, folder: str | Path | None = None):
        """``folder``: photographs (.jpg, .png, .webp, .bmp), in sub-folders, too; None: painted tiles.

        Raises ``InputError`` for a folder without any readable image.
        """
        self.folder = None if folder is None else str(folder)
        self._tiles = _painted() if self.folder is None else photographs(self.folder)

    def __len__(self) -> int:
        return len(self._tiles)

    def crops(
        self, count: int, size_px: int, generator: Generator, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "B 3 S S"]:
        """``count`` random crops of random images, flipped and stretched; RGB in [0, 1].

        ``generator`` lives on the CPU, so that crops are the same on every device.
        """
        self._tiles = self._tiles.to(device)  # copied once
        return random_crops(self._tiles, count, size_px, generator)

    def behind(
        self, images: Float[Tensor, "B 3 S S"], masks: Bool[Tensor, "B S S"], probability: float, generator: Generator
    ) -> Float[Tensor, "B 3 S S"]:
        """The images, each with the given probability with a crop in place of its background.

        Images that keep theirs are returned bit for bit.
        """
        changed = chance(generator, probability, len(images)).to(images.device)
        backgrounds = self.crops(len(images), images.shape[-1], generator, images.device)
        return composite(images, masks | ~changed[:, None, None], backgrounds)


def _painted() -> UInt8[Tensor, "N 3 T T"]:
    return (painted_tiles(_BANK_SEED) * 255).round().to(torch.uint8)
