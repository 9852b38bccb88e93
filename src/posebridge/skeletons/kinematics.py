"""Kinematics of each skeleton, which define joint angles; see ``geometry.kinematics``.

The along axis of a hand points from the wrist to the four knuckles, its across axis from the little finger to the
thumb, so its front is the palm of a right hand. The along axis of a body points from hips to shoulders, its across axis
from right to left, so its front is the person's.
"""

from functools import lru_cache

from posebridge.errors import InputError
from posebridge.geometry.kinematics import Kinematics
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.skeleton import Skeleton

_Names = tuple[str, ...]
_Axis = tuple[_Names, _Names]  # (from, to)


def _sides(*names: str) -> _Names:
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


_TRUNK_ACROSS: _Axis = (("right_hip", "right_shoulder"), ("left_hip", "left_shoulder"))

_AXES: dict[str, tuple[_Axis, _Axis]] = {
    "hand21": (
        (("wrist",), tuple(f"{finger}_1" for finger in FINGERS[1:])),
        (("ring_1", "pinky_1"), ("index_1", "middle_1")),
    ),
    "h36m17": ((("pelvis", *_sides("hip")), ("thorax", *_sides("shoulder"))), _TRUNK_ACROSS),
    "body22": ((("pelvis", *_sides("hip")), ("thorax", *_sides("shoulder"))), _TRUNK_ACROSS),
    "smpl24": ((("pelvis", *_sides("hip")), ("neck", *_sides("shoulder"))), _TRUNK_ACROSS),
    "mpii16": ((("pelvis", *_sides("hip")), ("thorax", *_sides("shoulder"))), _TRUNK_ACROSS),
    "coco17": ((_sides("hip"), _sides("shoulder")), _TRUNK_ACROSS),
}
_LIMBS = _sides("knee", "ankle", "elbow", "wrist")  # ends of thighs, shanks, upper arms, forearms
_MOVING: dict[str, _Names] = {
    "hand21": tuple(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3)),
    **dict.fromkeys(BODIES, _LIMBS),
}
_HINGES = _sides("ankle", "wrist")
_STRAIGHT: dict[str, _Names] = {
    "hand21": tuple(f"{finger}_{i}" for finger in FINGERS for i in (2, 3, 4)),
    "h36m17": ("thorax", "neck_base", "head", *_HINGES),
    "body22": ("thorax", "neck_base", "head", *_HINGES),
    "smpl24": ("spine2", "spine3", "neck", "head", *_sides("hand"), *_HINGES),
    "mpii16": ("upper_neck", "head_top", *_HINGES),
    "coco17": _HINGES,
}


@lru_cache
def _kinematics(name: str) -> Kinematics:
    skeleton = HAND21 if name == HAND21.name else BODIES[name]

    def joints(names: _Names) -> tuple[int, ...]:
        return tuple(skeleton.index(joint) for joint in names)

    along, across = ((joints(away), joints(towards)) for away, towards in _AXES[name])
    return Kinematics(
        skeleton.parents, along, across, frozenset(joints(_MOVING[name])), frozenset(joints(_STRAIGHT[name]))
    )


def kinematics_of(skeleton: Skeleton) -> Kinematics:
    """Kinematics of a skeleton. Raises ``InputError`` if they aren't defined."""
    if skeleton.name not in _AXES:
        raise InputError(
            f"joint angles of skeleton {skeleton.name} are not defined: "
            f"choose one of {', '.join(_AXES)}, or switch angle limits off"
        )
    return _kinematics(skeleton.name)
