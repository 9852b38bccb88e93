"""EXIF orientations in the datasets of the table: whether labels are of the stored pixels is never guessed."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from data.small_sets import SMALL_SETS
from posebridge.data.datasets.registry import DATASETS
from posebridge.data.frames import UnreadableFrameError

_DEPTH = ("I;16", "I")
_WITHOUT_COLOUR_IMAGES = {"surreal", "rendered", "rendered-depth", "icvl", "msra", "bighand2.2m"}
_COLOUR = [small for small in SMALL_SETS if small.name not in _WITHOUT_COLOUR_IMAGES]
_STORED_PIXELS = {"labels-npz"}  # as its format states


def turn_by_tag(folder: Path) -> None:
    """Give every colour image the tag of half a turn, which changes no size."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as image:
                if image.mode not in _DEPTH:
                    image.copy().save(path, exif=exif)


def state(frames, index: int) -> str:
    try:
        frame = frames[index]
    except UnreadableFrameError as error:
        return "refused" if "carries an EXIF orientation" in error.reason else error.reason
    return f"turned by {frame.turn}"


@pytest.mark.parametrize("small", _COLOUR, ids=[small.name for small in _COLOUR])
def test_an_orientation_is_refused_or_applied(small, tmp_path):
    small.write(tmp_path)
    turn_by_tag(tmp_path)
    frames = DATASETS[small.name].open(tmp_path, small.split, small.options, small.skeleton)
    expected = "turned by 2" if small.name in _STORED_PIXELS else "refused"
    assert {state(frames, index) for index in range(len(frames))} == {expected}
