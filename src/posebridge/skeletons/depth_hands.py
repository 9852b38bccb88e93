"""Hand skeletons of the depth benchmarks that differ from ``HAND21``: NYU with 14 joints, ICVL with 16.

Joints that other skeletons have too share their names: NYU's finger tips, PIP joints and thumb are named as in
``HAND21``, but its tips lie within the finger (``dataset_joints``). ICVL's joints are others. In its test labels, palm,
root, mid and tip of the index finger are 57, 29 and 19 mm apart. That is too short for joints and matches the middles
of the finger's three bones. ``tip`` is then the middle of the last bone, about a centimetre short of the finger tip.
"""

from posebridge.skeletons.hand import FINGERS
from posebridge.skeletons.skeleton import Skeleton

_NYU_FINGERS = tuple(reversed(FINGERS[1:]))  # the dataset numbers from the little finger
_NYU_MARKERS = (  # names of the 14 joints in ``joint_data.mat``
    *(f"F{i}_KNU{knuckle}" for i in (1, 2, 3, 4) for knuckle in ("3_A", "2_B")),
    *("TH_KNU3_A", "TH_KNU3_B", "TH_KNU2_B", "PALM_1", "PALM_2", "PALM_3"),
)
_NYU_JOINTS = (
    *(f"{finger}_{i}" for finger in _NYU_FINGERS for i in (4, 2)),
    *("thumb_4", "thumb_3", "thumb_2", "wrist_ulnar", "wrist_radial", "palm"),
)

NYU14 = Skeleton(
    name="nyu14",
    joints=_NYU_JOINTS,
    parent_of={
        **{f"{finger}_4": f"{finger}_2" for finger in _NYU_FINGERS},
        **{f"{finger}_2": "palm" for finger in _NYU_FINGERS},
        "thumb_4": "thumb_3",
        "thumb_3": "thumb_2",
        **dict.fromkeys(("thumb_2", "wrist_ulnar", "wrist_radial"), "palm"),
    },
    reference_bone=("wrist_radial", "palm"),  # both on the rigid part of the hand
    groups={
        "PIP": tuple(f"{finger}_2" for finger in _NYU_FINGERS),
        "Fin": (*(f"{finger}_4" for finger in _NYU_FINGERS), "thumb_4"),
        "Palm": ("wrist_ulnar", "wrist_radial", "palm"),
    },
    aliases=dict(zip(_NYU_MARKERS, _NYU_JOINTS, strict=True)),
)

ICVL16 = Skeleton(
    name="icvl16",
    joints=("palm", *(f"{finger}_{part}" for finger in FINGERS for part in ("root", "mid", "tip"))),
    parent_of={
        f"{finger}_{part}": parent
        for finger in FINGERS
        for part, parent in (("root", "palm"), ("mid", f"{finger}_root"), ("tip", f"{finger}_mid"))
    },
    # Of the long bones, the one that varies least over the labels of the test sequences: 2.6 mm of 57.
    reference_bone=("palm", "index_root"),
    groups={part: tuple(f"{finger}_{part}" for finger in FINGERS) for part in ("root", "mid", "tip")},
)
