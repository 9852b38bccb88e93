"""One colour for each finger and each side of the body, for pictures, pages and recordings."""

from collections.abc import Mapping

FAMILY_COLOURS: Mapping[str, str] = {  # family of joints -> RGB in hexadecimal
    "thumb": "#ff5a4d",
    "index": "#ffb020",
    "middle": "#35c46a",
    "ring": "#33a6ff",
    "pinky": "#c56bff",
    "left": "#33a6ff",
    "right": "#ff5a4d",
    "centre": "#ffd84d",  # wrist, neck, spine and joints of no other family
}


def joint_family(joint: str) -> str:
    """The family of a joint by its name: its finger, its side of the body, or centre."""
    first = joint.split("_")[0]
    return first if first in FAMILY_COLOURS else "centre"


def joint_rgb(joint: str) -> tuple[int, int, int]:
    """The colour of a joint's family, RGB in [0, 255]."""
    red, green, blue = bytes.fromhex(FAMILY_COLOURS[joint_family(joint)].removeprefix("#"))
    return red, green, blue
