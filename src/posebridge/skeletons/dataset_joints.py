"""Where the joints of NYU, ICVL and MSRA lie in a hand: rules from definitions and anatomy, without their labels.

**NYU.** The authors' public code (github.com/jonathantompson/ModelFit) defines the annotated points. They are centres
of spheres that are fixed to the bones of LibHand's mesh, which was fitted to the depth. ``PALM_3`` lies at 0.749 of the
way from the wrist to the middle knuckle. ``PALM_1`` and ``PALM_2`` lie to either side of the wrist, by a quarter of the
distance of the outer knuckles, and 5% of the way to the middle knuckle. The sphere of ``KNU3_A`` is taken to fill the
end of the finger, so the tip lies a radius beneath the skin. Radii are those before the authors shrank them against
self-collision. ``KNU2_B`` and the thumb's joints lie 2 to 7 mm from the bones' heads. How far LibHand's heads lie from
those of other hand models is unknown, so these joints are those of ``HAND21``.

**ICVL.** Each joint is the middle of a finger's segment, see ``depth_hands``; the last segment ends at the skin. The
palm's place is not published. Here it is the middle between the wrist and the mean of the four knuckles.

**MSRA.** Its release defines wrist, knuckles, finger joints and tips no further: all are those of ``HAND21``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from posebridge.errors import InputError
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.skeleton import Skeleton

JointWeights = Mapping[str, float]  # of ``HAND21``'s joints; they sum to one


@dataclass(frozen=True)
class DatasetJoints:
    """The joints of a skeleton in a hand with ``HAND21``'s joints."""

    weights: Mapping[str, JointWeights]  # by joint; a joint that is missing here is ``HAND21``'s
    # By finger: how far its tip lies from the end of the finger, on the finger's axis, in hand lengths (wrist to middle
    # knuckle). Other tips are those of ``HAND21``.
    tip_depths: Mapping[str, float] = field(default_factory=dict)


_LIBHAND_LENGTH = 1.959  # wrist to middle knuckle in the units of the mesh
_LIBHAND_TIP_RADII = {"thumb": 0.17, "index": 0.105, "middle": 0.115, "ring": 0.115, "pinky": 0.095}  # in these units

_NYU = DatasetJoints(
    weights={
        "palm": {"wrist": 0.25, "middle_1": 0.75},
        "wrist_radial": {"wrist": 0.95, "middle_1": 0.05, "index_1": 0.25, "pinky_1": -0.25},
        "wrist_ulnar": {"wrist": 0.95, "middle_1": 0.05, "index_1": -0.25, "pinky_1": 0.25},
    },
    tip_depths={finger: radius / _LIBHAND_LENGTH for finger, radius in _LIBHAND_TIP_RADII.items()},
)
_ICVL = DatasetJoints(
    weights={
        "palm": {"wrist": 0.5, **{f"{finger}_1": 0.125 for finger in FINGERS[1:]}},
        **{
            f"{finger}_{part}": {f"{finger}_{i}": 0.5, f"{finger}_{i + 1}": 0.5}
            for finger in FINGERS
            for i, part in enumerate(("root", "mid", "tip"), 1)
        },
    }
)
DATASET_JOINTS: Mapping[str, DatasetJoints] = {  # by skeleton
    HAND21.name: DatasetJoints({}),
    NYU14.name: _NYU,
    ICVL16.name: _ICVL,
}


def dataset_joints(skeleton: Skeleton) -> DatasetJoints:
    """The joints of a hand's skeleton. Raises ``InputError`` for one without an entry in ``DATASET_JOINTS``."""
    if skeleton.name not in DATASET_JOINTS:
        raise InputError(f"no joints of {skeleton.name} in a hand: choose one of {', '.join(DATASET_JOINTS)}")
    return DATASET_JOINTS[skeleton.name]


def joint_weights(skeleton: Skeleton) -> Float[np.ndarray, "K 21"]:
    """Weights of ``HAND21``'s joints for each joint of a skeleton. Rows sum to one.

    Without a mesh, tips are those of ``HAND21`` for every skeleton. Raises ``InputError`` as ``dataset_joints``.
    """
    own = dataset_joints(skeleton).weights
    matrix = np.zeros((len(skeleton), len(HAND21)))
    for row, joint in enumerate(skeleton.joints):
        for name, weight in own.get(joint, {joint: 1.0}).items():
            matrix[row, HAND21.index(name)] = weight
    return matrix
