"""Rules of published benchmarks: joints that replace those of another skeleton, and joints that are not scored."""

from collections.abc import Mapping

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

# By dataset: joints that its published benchmark leaves out (Ren et al., CVPR 2022, Sec. 4.1: wrists and palm of NYU,
# palm of ICVL and MSRA, whose palm is the wrist here).
UNSCORED_JOINTS: Mapping[str, tuple[str, ...]] = {
    "nyu": ("wrist_ulnar", "wrist_radial", "palm"),
    "icvl": ("palm",),
    "msra": ("wrist",),
}
