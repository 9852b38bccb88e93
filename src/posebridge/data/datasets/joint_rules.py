"""Joints of a dataset that replace those of another skeleton in published benchmarks, and joints that are scored."""

from collections.abc import Mapping

from posebridge.skeletons.depth_hands import NYU14
from posebridge.skeletons.hand import FINGERS, HAND21

# The joints of RegDA's and UniFrame's public code, which take the nearest joints of the dataset for MPII's: SMPL's
# collars are shoulders. Lin et al., NeurIPS 2023, supplement E, call this the annotation gap. The columns Head, Sld
# and Hip of their tables depend on it.
_SMPL_AS_MPII = {
    "thorax": "spine3",
    "upper_neck": "neck",
    "head_top": "head",
    "left_shoulder": "left_collar",
    "right_shoulder": "right_collar",
}
_HUMAN36M_AS_MPII = {"upper_neck": "neck_base", "head_top": "head"}

# By dataset and requested skeleton: joints of that skeleton -> joints of the dataset's own; others are matched by equal
# names. Without a rule, joints are matched by canonical name.
STAND_INS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("surreal", "mpii16"): _SMPL_AS_MPII,
    ("3dpw", "mpii16"): _SMPL_AS_MPII,
    ("human3.6m", "mpii16"): _HUMAN36M_AS_MPII,
}

# By dataset: scored joints -> the joints of HAND21 whose mean replaces each (Ren et al., CVPR 2022, Sec. 4.1).
# NYU is scored without its palm and two wrists, ICVL and MSRA without their palms. A dataset that isn't here is scored
# by all of its joints.
SCORED_JOINTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "nyu": {joint: (joint,) for joint in NYU14.joints if joint in HAND21.joints},
    "icvl": {
        f"{finger}_{part}": (f"{finger}_{i}", f"{finger}_{i + 1}")
        for finger in FINGERS
        for i, part in enumerate(("root", "mid", "tip"), 1)
    },
    "msra": {joint: (joint,) for joint in HAND21.joints if joint != "wrist"},
}
