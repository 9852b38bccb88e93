"""3DPW (von Marcard et al., ECCV 2018) in its release's layout: people outdoors, filmed by a moving phone.

``sequenceFiles/{train,validation,test}/<sequence>.pkl`` and ``imageFiles/<sequence>/image_00000.jpg``. A pickle holds
``cam_intrinsics`` (3, 3), ``cam_poses`` (T, 4, 4) world to camera, and lists with an entry a person:
``jointPositions`` (T, 72) metres in the world, ``campose_valid`` (T,), ``poses2d`` (T, 3, 18), zero where the release's
detector found fewer than six joints. It is read without running anything in it. Without the annotations, the images
are an ``ImageFolder(root / "imageFiles")``.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from posebridge.data.datasets.annotations import checked_intrinsics, is_rigid, numbers
from posebridge.data.datasets.options import Split
from posebridge.data.datasets.person_sequences import PersonSequence, PersonSequences, numbered_images
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError
from posebridge.pickles import load_arrays
from posebridge.skeletons.body import SMPL24
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit
from posebridge.skeletons.skeleton import Skeleton

_JOINTS = 24
_NEEDED = ("cam_intrinsics", "cam_poses", "jointPositions", "campose_valid")


class ThreeDPW(PersonSequences):
    """One frame a person and an image; sequence ``downtown_bar_00_1`` (of person 1), key ``downtown_bar_00_1_000123``.

    Frames without a valid camera pose are left out, as in every published protocol.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split | Literal["validation"] = "train",
        skeleton: Skeleton = SMPL24,
        every: int = 1,
        detected_only: bool = False,
    ):
        """``every`` n-th frame. ``detected_only``: leave out people whom the release's 2D detector didn't find.

        Raises ``InputError`` where no sequence is usable, intrinsics are impossible, or joints are not in metres.
        """
        root = Path(root)
        folder = root / "sequenceFiles" / split
        files = sorted(folder.glob("*.pkl"), key=natural_path_key)
        if not files:
            raise InputError(f"{folder}: no <sequence>.pkl is there; without labels, open imageFiles as a folder")
        skipped: dict[str, str] = {}
        sequences: list[PersonSequence] = []
        for file in files:
            try:
                content = _read_pickle(file)
            except InputError as error:
                skipped[str(file)] = str(error).removeprefix(f"{file}: ")
                continue
            images = numbered_images(root / "imageFiles" / file.stem, "image_")
            for person in range(len(content["jointPositions"])):
                sequence, usable = _read_person(file, content, person, images, detected_only)
                if left_out := int((~usable).sum()):
                    skipped[f"{file} person {person}"] = f"{left_out} of {len(usable)} frames have no valid camera pose"
                    if detected_only:
                        skipped[f"{file} person {person}"] += ", or no person was detected"
                sequences.append(sequence.rows(np.flatnonzero(usable & (sequence.numbers % every == 0))))
        super().__init__(sequences, ORDERS["smpl"], skeleton, skipped)


def _read_pickle(file: Path) -> dict[str, Any]:
    content = load_arrays(file)
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a dictionary of a sequence")
    for name in _NEEDED:
        if name not in content:
            raise InputError(f"{file}: it lacks {name!r}")
    people = len(content["jointPositions"])
    if len(content["campose_valid"]) != people:
        raise InputError(f"{file}: {people} jointPositions, but {len(content['campose_valid'])} campose_valid")
    count = len(numbers(content["cam_poses"], (None, 4, 4), f"{file}: cam_poses"))
    numbers(content["cam_intrinsics"], (3, 3), f"{file}: cam_intrinsics")
    for person in range(people):
        where = f"of person {person}"
        numbers(content["jointPositions"][person], (count, 3 * _JOINTS), f"{file}: jointPositions {where}")
        numbers(content["campose_valid"][person], (count,), f"{file}: campose_valid {where}")
        if "poses2d" in content:
            numbers(content["poses2d"][person], (count, 3, None), f"{file}: poses2d {where}")
    return content


def _read_person(
    file: Path, content: dict[str, Any], person: int, images: dict[int, Path], detected_only: bool
) -> tuple[PersonSequence, np.ndarray]:
    """All frames of one person, and which of them are usable (T,). Raises ``InputError`` for a wrong unit."""
    T_cam_world = np.asarray(content["cam_poses"], dtype=np.float64)
    joints_world = np.asarray(content["jointPositions"][person], dtype=np.float64).reshape(-1, _JOINTS, 3)
    check_unit(joints_world, "person", f"{file}: jointPositions of person {person}", "metres")
    usable = (np.asarray(content["campose_valid"][person]) > 0) & is_rigid(T_cam_world)
    if detected_only:
        if "poses2d" not in content:
            raise InputError(f"{file}: it lacks 'poses2d', which marks the detected people")
        usable &= np.asarray(content["poses2d"][person]).any(axis=(1, 2))
    R, t = T_cam_world[:, :3, :3], T_cam_world[:, :3, 3]
    T_world_cam = np.tile(np.eye(4), (len(R), 1, 1))
    T_world_cam[:, :3, :3] = R.transpose(0, 2, 1)
    T_world_cam[:, :3, 3] = -np.einsum("nji,nj->ni", R, t)
    name = f"{file.stem}_{person}"
    sequence = PersonSequence(
        name=name,
        key=name,
        images=images,
        numbers=np.arange(len(R)),
        joints_m=np.einsum("nij,nkj->nki", R, joints_world) + t[:, None],
        K=checked_intrinsics(np.asarray(content["cam_intrinsics"], dtype=np.float64), f"{file}: cam_intrinsics"),
        T_world_cam=T_world_cam,
    )
    return sequence, usable
