"""Joint orders of public datasets, and conversion to skeletons by name."""

from typing import Any, TypeVar

import numpy as np

from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, H36M17, MPII16, SMPL24
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.skeleton import Skeleton

ArrayT = TypeVar("ArrayT")  # np.ndarray or torch.Tensor

_TIP_FIRST = tuple(f"{finger}_{i}" for finger in FINGERS for i in (4, 3, 2, 1))

# Canonical names (see ``Skeleton``): a name is the same anatomical point in all orders, whatever its dataset's name.
ORDERS: dict[str, tuple[str, ...]] = {
    "rhd2d": ("wrist", *_TIP_FIRST),
    "freihand": HAND21.joints,
    "onehand10k": HAND21.joints,
    "panoptic_hand2d": HAND21.joints,
    "coco_wholebody_hand": HAND21.joints,
    "interhand3d": tuple(f"{side}_{joint}" for side in ("right", "left") for joint in (*_TIP_FIRST, "wrist")),
    "msra": ("wrist", *(f"{finger}_{i}" for finger in (*FINGERS[1:], FINGERS[0]) for i in (1, 2, 3, 4))),
    "bighand": (
        *("wrist", *(f"{finger}_1" for finger in FINGERS)),
        *(f"{finger}_{i}" for finger in FINGERS for i in (2, 3, 4)),
    ),
    "coco": COCO17.canonical_names,
    "h36m": H36M17.canonical_names,
    "smpl": SMPL24.canonical_names,
    "mpii": MPII16.canonical_names,
    "crowdpose": (
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
        *("head_top", "thorax"),
    ),
    "jhmdb": (
        *("thorax", "spine", "head_centre", "right_shoulder", "left_shoulder", "right_hip", "left_hip"),
        *("right_elbow", "left_elbow", "right_knee", "left_knee"),
        *("right_wrist", "left_wrist", "right_ankle", "left_ankle"),
    ),
    "mpi_inf_3dhp": (
        *("head_top", "thorax", "right_shoulder", "right_elbow", "right_wrist"),
        *("left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "spine", "head_centre"),
    ),
    # SMPL's, mirrored: see ``data.datasets.surreal``.
    "surreal": tuple(SMPL24.canonical_names[joint] for joint in SMPL24.mirror),
    "mpi_inf_3dhp_28": (
        *("chest", "upper_chest", "lower_chest", "spine", "pelvis", "thorax", "head_centre", "head_top"),
        *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist", "left_finger_tips"),
        *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist", "right_finger_tips"),
        *("left_hip", "left_knee", "left_ankle", "left_toe_base", "left_toe_tips"),
        *("right_hip", "right_knee", "right_ankle", "right_toe_base", "right_toe_tips"),
    ),
    "lsp": (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("upper_neck", "head_top"),
    ),
    "stb": ("wrist", *(f"{finger}_{i}" for finger in reversed(FINGERS) for i in (1, 2, 3, 4))),
    "mvhand": ("wrist", *(f"{finger}_{i}" for finger in (*FINGERS[1:], "thumb") for i in (1, 2, 3, 4))),
    "hand3d_studio": HAND21.joints,
    "ganerated": HAND21.joints,
    "dexter_object": tuple(f"{finger}_4" for finger in FINGERS),
    # MANO's 16 joints, then the finger tips of its mesh.
    "mano": (
        "wrist",
        *(f"{finger}_{i}" for finger in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3)),
        *(f"{finger}_4" for finger in ("index", "middle", "pinky", "ring", "thumb")),
    ),
}


def convert(
    values: ArrayT, valid: ArrayT | None, from_names: tuple[str, ...], skeleton: Skeleton
) -> tuple[ArrayT, ArrayT]:
    """Reorder joints to a skeleton: ``(..., J_from, D)`` to ``(..., J, D)``, and a mask ``(..., J)`` of valid joints.

    Works on numpy arrays and torch tensors. ``from_names`` are an entry of ``ORDERS``, the ``canonical_names`` of
    another skeleton, or names or aliases of the skeleton. Joints that ``from_names`` lacks are zero and not valid. If
    ``valid`` is None, joints with finite values are valid. Raises ``InputError`` if the number of names differs from
    that of the joints, or the names don't fit the skeleton.
    """
    return _take(values, valid, len(from_names), skeleton.order_of(from_names))


def _take(values: Any, valid: Any, expected: int, indices: np.ndarray) -> Any:
    """Gather joints by index, for numpy and torch; -1 gives zero and not valid."""
    if values.shape[-2] != expected:
        raise InputError(f"{values.shape[-2]} joints came with {expected} joint names: give one name per joint")
    if valid is None:
        valid = (values * 0 == 0).all(-1)
    if tuple(valid.shape) != tuple(values.shape[:-1]):
        raise InputError(f"valid has shape {tuple(valid.shape)}, the joints need {tuple(values.shape[:-1])}")
    missing = np.flatnonzero(indices < 0)
    taken, taken_valid = values[..., indices, :], valid[..., indices]
    taken[..., missing, :] = 0
    taken_valid[..., missing] = False
    return taken, taken_valid
