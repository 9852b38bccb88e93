"""Body skeletons: COCO with 17 joints, Human3.6M with 17, both together, SMPL with 24, MPII with 16.

Left and right are the person's. Canonical names identify joints whose names differ between datasets. Such joints agree
to a few centimetres: MPII's ``thorax`` is the middle of the shoulders, those of Human3.6M and SMPL are slightly above,
and SMPL's hips and shoulders lie deeper inside the body than annotated ones.

- ``thorax``: base of the neck, between the shoulders. SMPL's ``neck``.
- ``head_centre``: inside the head at the height of the jaw. Human3.6M's ``neck_base`` (number 9), SMPL's ``head``.
- ``head_top``: Human3.6M's ``head``.
- ``spine``: half-way from the pelvis to the thorax. SMPL's ``spine2``.
- ``left_toe_base``, ``right_toe_base``: SMPL's feet. Human3.6M's feet are ankles.
"""

from posebridge.skeletons.skeleton import Skeleton


def _sides(*names: str) -> tuple[str, ...]:
    """Each name on the left, then on the right."""
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


def _pairs(*names: str) -> dict[str, str]:
    return {f"left_{name}": f"right_{name}" for name in names}


def _both(parents: dict[str, str]) -> dict[str, str]:
    """The same tree on both sides; a parent with the prefix ``=`` lies in the middle of the body."""
    return {
        f"{side}_{child}": parent[1:] if parent.startswith("=") else f"{side}_{parent}"
        for side in ("left", "right")
        for child, parent in parents.items()
    }


_LIMB_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_LIMBS = {"elbow": "shoulder", "wrist": "elbow", "knee": "hip", "ankle": "knee"}
_LIMB_GROUPS = {  # columns of Table 2 of Lin et al., NeurIPS 2023
    "Sld": _sides("shoulder"),
    "Elb": _sides("elbow"),
    "Wrist": _sides("wrist"),
    "Hip": _sides("hip"),
    "Knee": _sides("knee"),
    "Ankle": _sides("ankle"),
}

COCO17 = Skeleton(
    name="coco17",
    joints=("nose", *_sides("eye", "ear", *_LIMB_JOINTS)),
    # COCO defines no tree. The root is the nose, the only joint without a mirror image. Shoulders are its children,
    # hips are children of the shoulder of their side, so that the tree is symmetric.
    parent_of=_both({"eye": "=nose", "ear": "eye", "shoulder": "=nose", "hip": "shoulder", **_LIMBS}),
    reference_bone=("left_shoulder", "left_hip"),  # long, and seldom parallel to the viewing ray
    mirror_of=_pairs("eye", "ear", *_LIMB_JOINTS),
    groups={"Head": ("nose", *_sides("eye", "ear")), **_LIMB_GROUPS},
)

H36M17 = Skeleton(
    name="h36m17",
    joints=(
        *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("spine", "thorax", "neck_base", "head"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    ),
    parent_of=_both({"hip": "=pelvis", "shoulder": "=thorax", **_LIMBS})
    | {"spine": "pelvis", "thorax": "spine", "neck_base": "thorax", "head": "neck_base"},
    reference_bone=("spine", "thorax"),  # rigid, and across the view even if the person sits
    mirror_of=_pairs(*_LIMB_JOINTS),
    groups={"Head": ("head",), **_LIMB_GROUPS},
    aliases={"root": "pelvis", "left_foot": "left_ankle", "right_foot": "right_ankle", "top_head": "head"},
    canonical_name_of={"neck_base": "head_centre", "head": "head_top"},
)

# Human3.6M's joints, which COCO's limbs are among, and COCO's face: models of it predict the joints of both.
BODY22 = Skeleton(
    name="body22",
    joints=(*H36M17.joints, "nose", *_sides("eye", "ear")),
    parent_of=H36M17.parent_of | {"nose": "neck_base"} | _both({"eye": "=nose", "ear": "eye"}),
    reference_bone=H36M17.reference_bone,
    mirror_of=H36M17.mirror_of | _pairs("eye", "ear"),
    groups={**H36M17.groups, "Head": ("head", "nose", *_sides("eye", "ear"))},
    aliases=H36M17.aliases,
    canonical_name_of=H36M17.canonical_name_of,
)

SMPL24 = Skeleton(
    name="smpl24",
    joints=(
        *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
        *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar"),
        *("head", *_sides("shoulder", "elbow", "wrist", "hand")),
    ),
    parent_of=_both(
        {"hip": "=pelvis", "foot": "ankle", "collar": "=spine3", "shoulder": "collar", "hand": "wrist", **_LIMBS}
    )
    | {"spine1": "pelvis", "spine2": "spine1", "spine3": "spine2", "neck": "spine3", "head": "neck"},
    reference_bone=("spine3", "neck"),  # as for Human3.6M
    mirror_of=_pairs("foot", "collar", "hand", *_LIMB_JOINTS),
    groups={"Head": ("head",), **_LIMB_GROUPS},
    aliases={"root": "pelvis"},
    canonical_name_of={
        "spine2": "spine",
        "neck": "thorax",
        "head": "head_centre",
        "left_foot": "left_toe_base",
        "right_foot": "right_toe_base",
    },
)

MPII16 = Skeleton(
    name="mpii16",
    joints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    parent_of=_both({"hip": "=pelvis", "shoulder": "=thorax", **_LIMBS})
    | {"thorax": "pelvis", "upper_neck": "thorax", "head_top": "upper_neck"},
    reference_bone=("pelvis", "thorax"),
    mirror_of=_pairs(*_LIMB_JOINTS),
    groups={"Head": ("head_top",), **_LIMB_GROUPS},
    aliases={"root": "pelvis", "top_head": "head_top"},
)

BODIES = {skeleton.name: skeleton for skeleton in (COCO17, H36M17, BODY22, SMPL24, MPII16)}
