"""The config of a rendered set. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from posebridge.contracts.track import BodyJoints, Track
from posebridge.errors import InputError

RenderFormat = Literal["png", "jpg"]
# Steps of 16-bit depth that reach further than a track's subjects stand.
DEPTH_UNIT_MM: Mapping[Track, float] = {"hand-rgb": 0.1, "body-rgb": 0.2, "hand-depth": 0.1}


@dataclass(frozen=True)
class RenderConfig:
    """A rendered set. ``count`` may grow later; any other value makes another set."""

    domain: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """Domain of the set: studio, street or varied; of hand-depth also bare, street without clutter."""

    count: int
    """Number of images."""

    track: Track = "hand-rgb"
    """What is rendered, and for which sensor."""

    size_px: int = 128
    """Side of the square images."""

    seed: int = 0
    """Seed of all random numbers."""

    frames: int | None = None
    """Render videos of this many frames, each of one moving subject. Without it: single images."""

    contents: int = 0
    """Number of contents (background, light, skin or clothes) that recur in all images of a colour track, up to 64;
    images of one content are a sequence. Without it: a new content in each image."""

    shard_length: Annotated[int, arg(name="shard-size")] = 1024
    """Images of a shard, rounded up to whole chunks of 32 scenes."""

    format: RenderFormat = "png"
    """png keeps every bit of the 8-bit image; jpg takes a quarter of the space."""

    quality: int = 95
    """Quality of jpg, 1 to 100."""

    depth_unit_mm: float | None = None
    """Millimetres of one step of the 16-bit depth images, which have 65535 steps. Without it: 0.1 for hands, 0.2 for
    people."""

    joints: BodyJoints = "h36m17"
    """Of track body-rgb: the labelled joints. body22 are those of h36m17 and coco17 together."""

    mano: Path | None = None
    """Of track hand-depth: MANO_RIGHT.pkl, or an .npz of its arrays, to render MANO's hand instead of Anny's."""

    def __post_init__(self):
        if self.count < 1:
            raise InputError(f"{self.count} samples are impossible: give 1 or more")
        if self.size_px < 1:
            raise InputError(f"images of {self.size_px} px are impossible: give a side such as 128")
        if self.joints != "h36m17" and self.track != "body-rgb":
            raise InputError(f"{self.joints} are joints of people, and {self.track} shows hands: leave joints out")
        if self.shard_length < 1:
            raise InputError(f"shards of {self.shard_length} samples are impossible: give 1 or more")
