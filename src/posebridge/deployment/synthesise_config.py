"""The config of synthesised images. Imports no torch: the command makes its flags of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from posebridge.errors import InputError

SynthesisKind = Literal["walk", "transfer", "page"]
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "walk": (".png", ".gif", ".mp4"),
    "transfer": (".png",),
    "page": (".html",),
}


@dataclass(frozen=True)
class SynthesiseConfig:
    """Images by pose and content, from those of given images."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """The folder of a run or of a model of image synthesis, or its model.safetensors."""

    kind: Annotated[Positional[SynthesisKind], arg(metavar="walk|transfer|page")]
    """walk: from each input to the next one, along one factor. transfer: every pose in every content. page: sliders of
    pose and content, in a browser."""

    out: Path
    """The file to write. walk: .png, .gif or .mp4; transfer: .png; page: .html, which needs no network."""

    images: Path | None = None
    """Inputs: an image, a folder of images, or a video, whose frames are cut as by posebridge predict."""

    boxes: Path | None = None
    """Boxes of the subject in the images, as for posebridge predict. Without it: the whole image is the crop."""

    hand: Literal["left", "right"] | None = None
    """Which hand the images show. Left ones are mirrored."""

    every: int = 1
    """Of a video, use every n-th frame only."""

    seeds: tuple[int, ...] = ()
    """Inputs in place of images: seeds of renders, one image each."""

    domain: str = "studio"
    """Domain of the renders."""

    contents: int = 8
    """Number of recurring contents of the renders, as the model was trained on; 0: a new one for each seed."""

    factor: Literal["pose", "content"] = "pose"
    """Of a walk: what changes. The other one stays that of the first input."""

    steps: int = 8
    """Images from one input to the next one."""

    most: int = 8
    """Number of input images that are used at most, the first ones."""

    fps: int = 8
    """Images a second of a .gif or .mp4."""

    def __post_init__(self):
        """Raises ``InputError`` for flags that don't go together and for numbers out of range."""
        if (self.images is None) == (not self.seeds):
            raise InputError("give either --images or --seeds")
        if self.boxes is not None and self.images is None:
            raise InputError("renders need no boxes: leave --boxes out")
        suffixes = _SUFFIXES[self.kind]
        if self.out.suffix.lower() not in suffixes:
            raise InputError(f"{self.out}: a {self.kind} is written as {' or '.join(suffixes)}: give such a name")
        for name, least in (("steps", 2), ("most", 2), ("fps", 1), ("every", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} {getattr(self, name)} is impossible: give {least} or more")
