"""The 21-joint hand: wrist, then thumb to pinky, base to tip."""

from posebridge.skeletons.skeleton import Skeleton

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

_JOINTS = ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
_PARENTS = {f"{finger}_{i}": "wrist" if i == 1 else f"{finger}_{i - 1}" for finger in FINGERS for i in (1, 2, 3, 4)}
_OTHER_NAMES = {
    "index": "forefinger",
    "middle": "middle_finger",
    "ring": "ring_finger",
    "pinky": "pinky_finger",
}

HAND21 = Skeleton(
    name="hand21",
    joints=_JOINTS,
    parent_of=_PARENTS,
    # The longest nearly rigid bone, so that the quadratic of the 2.5D lift is well conditioned.
    reference_bone=("wrist", "middle_1"),
    groups={
        "MCP": tuple(f"{finger}_1" for finger in FINGERS),
        "PIP": tuple(f"{finger}_2" for finger in FINGERS),
        "DIP": tuple(f"{finger}_3" for finger in FINGERS),
        "Fin": tuple(f"{finger}_4" for finger in FINGERS),
    },
    aliases={
        **{f"{_OTHER_NAMES.get(f, f)}{i}": f"{f}_{i}" for f in FINGERS for i in (1, 2, 3, 4)},
        **{f"{f}{i}": f"{f}_{i}" for f in FINGERS for i in (1, 2, 3, 4)},
    },
)
