"""MANO's right hand (Romero, Tzionas and Black, SIGGRAPH Asia 2017), from the file that a user has under its licence.

The file stays where it is and is read without running what a pickle may ask for. The hand is posed as Anny's is, by
the angles of ``hand_articulation.HandAngles``: MANO's sixteen joints with its own shapes and pose correctives, and with
a forearm behind its open wrist.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_model import HandModel, with_forearm
from posebridge.bodies.rig import Rig
from posebridge.errors import InputError
from posebridge.pickles import OpaqueObject, load_arrays
from posebridge.skeletons.hand import FINGERS, HAND21

# MANO's joints: the wrist, then index, middle, pinky, ring and thumb, base to tip. Here the thumb is finger 1.
_BONES = ("wrist", *(f"finger{f}-{k}" for f in (2, 3, 5, 4, 1) for k in (1, 2, 3)))
_PARENTS = (-1, *(parent for first in range(1, 16, 3) for parent in (0, first, first + 1)))
_TIPS = {"thumb": 744, "index": 333, "middle": 444, "ring": 555, "pinky": 672}  # vertices at the ends of the fingers
_VERTICES, _JOINTS = 778, 16
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (_VERTICES, 3),
    "shapedirs": (_VERTICES, 3, None),
    "posedirs": (_VERTICES, 3, 9 * (_JOINTS - 1)),
    "J_regressor": (_JOINTS, _VERTICES),
    "weights": (_VERTICES, _JOINTS),
    "f": (None, 3),
}
_MOST_SHAPE = 3.0  # standard deviations


@dataclass(frozen=True)
class ManoHandModel(HandModel):
    """MANO's hand. Its rig's shapes are MANO's own, of which each counts standard deviations of real hands."""

    def shape_coefficients(self, phenotypes: Float[Tensor, "B 6"]) -> Float[Tensor, "B S"]:
        """The likeliest shapes whose bones are as long as those of Anny's hand with ``PHENOTYPES`` in [0, 1]."""
        anny = anny_hand("right")
        wanted = _bone_lengths(anny.rig, anny.shape_coefficients(phenotypes.cpu()))
        lengths, by_shape = self._lengths
        # Least squares with shapes that are normally distributed, and lengths that are meant to a millimetre.
        A = by_shape / 1e-3
        right = (wanted - lengths) / 1e-3 @ A
        normal = A.T @ A + torch.eye(A.shape[1])
        found = torch.linalg.solve(normal, right.T).T
        return found.clamp(-_MOST_SHAPE, _MOST_SHAPE).to(phenotypes)

    def with_population_shapes(self, count: int) -> Rig:
        """The first ``count`` of MANO's. Raises ``InputError`` where the file has fewer."""
        there = len(self.rig.vertex_basis_m)
        if count > there:
            raise InputError(f"MANO's file has {there} shapes, and {count} are asked for")
        return replace(
            self.rig, vertex_basis_m=self.rig.vertex_basis_m[:count], head_basis_m=self.rig.head_basis_m[:count]
        )

    @cached_property
    def _lengths(self) -> tuple[Float[Tensor, "20"], Float[Tensor, "20 S"]]:
        """Lengths of the mean hand's bones, and how they change with the shape."""
        mean = torch.zeros(1, len(self.rig.vertex_basis_m))
        by_shape = torch.autograd.functional.jacobian(lambda shape: _bone_lengths(self.rig, shape)[0], mean)
        assert isinstance(by_shape, Tensor)
        return _bone_lengths(self.rig, mean)[0], by_shape[:, 0]


@lru_cache(maxsize=1)
def mano_hand(path: Path) -> ManoHandModel:
    """The right hand of ``MANO_RIGHT.pkl``, or of an ``.npz`` with its arrays.

    Raises ``InputError`` for another file.
    """
    arrays = _read(path)
    rig = _in_hand_frame(_rig(arrays))
    flexion, spread, twist = _axes(rig)
    # The forearm's axes are those of the hand.
    axes = torch.stack([flexion, twist, -spread], dim=-1)
    rig, axes = with_forearm(_with_keypoints(rig), axes)
    return ManoHandModel(rig, "right", axes[:, :, 0], -axes[:, :, 2], axes[:, :, 1])


def load_hand_model(mano: Path | None) -> HandModel:
    """The right hand of MANO's file, or Anny's where there is none."""
    return anny_hand("right") if mano is None else mano_hand(mano)


def _read(path: Path) -> dict[str, Tensor]:
    advice = "give MANO_RIGHT.pkl, or an .npz with its arrays"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {advice}")
    if "left" in path.stem.lower():
        raise InputError(f"{path} is the left hand; left hands are seen as mirrored right ones: {advice}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                content: Any = dict(file)
        else:
            content = load_arrays(path, opaque_packages=("chumpy", "scipy"))
        found = {name: _array(content[name]) for name in _SHAPES}
    except (KeyError, TypeError, ValueError, OSError, IndexError) as error:
        raise InputError(f"{path} is no MANO hand ({error!r}): {advice}") from None
    for name, shape in _SHAPES.items():
        own = list(found[name].shape)
        if len(own) != len(shape) or any(wanted not in (None, n) for wanted, n in zip(shape, own, strict=True)):
            raise InputError(f"{path}: {name} has the shape {own}, and MANO's is {list(shape)}: {advice}")
    kinds = {name: np.int64 if name == "f" else np.float32 for name in found}
    return {name: torch.from_numpy(array.astype(kinds[name])) for name, array in found.items()}


def _array(value: Any) -> np.ndarray:
    """An array, also one that chumpy or scipy has wrapped."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, OpaqueObject):
        raise TypeError(f"{type(value).__name__} is no array")
    kind, content = value.kind, value.content
    if kind.startswith("scipy.sparse") and kind.endswith("csc_matrix"):
        return _dense(content)
    if kind == "chumpy.reordering.Select":
        return _array(content["a"]).ravel()[_array(content["idxs"])].reshape(content["preferred_shape"])
    if kind.startswith("chumpy") and "x" in content:
        return _array(content["x"])
    raise TypeError(f"{kind} can't be read without running it; save the arrays as an .npz")


def _dense(content: dict[str, Any]) -> np.ndarray:
    """A matrix that is compressed column by column."""
    data, rows, starts = (_array(content[name]) for name in ("data", "indices", "indptr"))
    height, width = content.get("_shape") or content["shape"]
    dense = np.zeros((height, width), dtype=data.dtype)
    dense[rows, np.repeat(np.arange(width), np.diff(starts))] = data
    return dense


def _rig(arrays: dict[str, Tensor]) -> Rig:
    """As the file has it. Keypoints follow."""
    regressor, shapes = arrays["J_regressor"], arrays["shapedirs"].permute(2, 0, 1)
    return Rig(
        bones=_BONES,
        parents=_PARENTS,
        faces=arrays["f"],
        vertices_m=arrays["v_template"],
        vertex_basis_m=shapes.contiguous(),
        heads_m=regressor @ arrays["v_template"],
        head_basis_m=regressor @ shapes,
        weights=arrays["weights"],
        joints=(),
        keypoint_index=torch.zeros(0, 1, dtype=torch.long),
        keypoint_weight=torch.zeros(0, 1),
        pose_basis_m=arrays["posedirs"].permute(2, 0, 1).contiguous(),
    )


def _in_hand_frame(rig: Rig) -> Rig:
    """Origin at the wrist whatever the shape, y to the middle knuckle, z out of the palm."""
    assert rig.pose_basis_m is not None
    at = {bone: rig.heads_m[i] - rig.heads_m[0] for i, bone in enumerate(rig.bones)}
    y = F.normalize(at["finger3-1"], dim=-1)
    x = F.normalize(torch.linalg.cross(y, torch.linalg.cross(at["finger2-1"], at["finger5-1"])), dim=-1)
    R = torch.stack([x, y, torch.linalg.cross(x, y)])  # hand frame <- MANO's
    # A rotation R' of the hand frame is Rt R' R in MANO's, and so are the elements of R' - 1 by which the mesh moves.
    by_element = rig.pose_basis_m.unflatten(0, (-1, 3, 3))
    by_element = torch.einsum("ki,nijvc,lj->nklvc", R, by_element, R)
    return replace(
        rig,
        vertices_m=(rig.vertices_m - rig.heads_m[0]) @ R.T,
        vertex_basis_m=(rig.vertex_basis_m - rig.head_basis_m[:, :1]) @ R.T,
        heads_m=(rig.heads_m - rig.heads_m[0]) @ R.T,
        head_basis_m=(rig.head_basis_m - rig.head_basis_m[:, :1]) @ R.T,
        pose_basis_m=by_element.flatten(0, 2) @ R.T,
    )


def _with_keypoints(rig: Rig) -> Rig:
    index = torch.zeros(len(HAND21), 1, dtype=torch.long)
    index[HAND21.index("wrist")] = rig.bones.index("wrist")
    for f, finger in enumerate(FINGERS, 1):
        for k in (1, 2, 3):
            index[HAND21.index(f"{finger}_{k}")] = rig.bones.index(f"finger{f}-{k}")
        index[HAND21.index(f"{finger}_4")] = len(rig.bones) + _TIPS[finger]
    return replace(rig, joints=HAND21.joints, keypoint_index=index, keypoint_weight=torch.ones(len(HAND21), 1))


def _axes(rig: Rig) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Flexion, spread and twist of each bone. Fingers bend towards the palm; the thumb's axes lie as Anny's do."""
    flexion, spread, twist = (torch.zeros(len(rig.bones), 3) for _ in range(3))
    flexion[0], twist[0], spread[0] = torch.eye(3)[0], torch.eye(3)[1], -torch.eye(3)[2]
    palm = torch.tensor([0.0, 0.0, 1.0])
    anny = anny_hand("right")
    for f, finger in enumerate(FINGERS, 1):
        for k in (1, 2, 3):
            bone = rig.bones.index(f"finger{f}-{k}")
            twist[bone] = along = _along(rig, f, k, _TIPS[finger])
            flexion[bone] = F.normalize(torch.linalg.cross(along, palm), dim=-1)
            spread[bone] = -palm if k == 1 else F.normalize(torch.linalg.cross(flexion[bone], along), dim=-1)
            if finger == "thumb":
                own = anny.rig.bones.index(f"finger1-{k}")
                T = _frame(along) @ _frame(anny.twist_axes[own]).T
                flexion[bone], spread[bone] = T @ anny.flexion_axes[own], T @ anny.spread_axes[own]
    return flexion, spread, twist


def _along(rig: Rig, finger: int, k: int, tip: int) -> Float[Tensor, "3"]:
    head = rig.heads_m[rig.bones.index(f"finger{finger}-{k}")]
    end = rig.vertices_m[tip] if k == 3 else rig.heads_m[rig.bones.index(f"finger{finger}-{k + 1}")]
    return F.normalize(end - head, dim=-1)


def _frame(along: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Columns: along a bone, across it in the plane of the palm, and the third."""
    across = F.normalize(torch.linalg.cross(along, torch.tensor([0.0, 0.0, 1.0])), dim=-1)
    return torch.stack([along, across, torch.linalg.cross(along, across)], dim=-1)


def _bone_lengths(rig: Rig, coefficients: Float[Tensor, "B S"]) -> Float[Tensor, "B 20"]:
    """Between the joints of ``HAND21``, in the rest pose."""
    joints = rig.shaped(coefficients).keypoints_m()
    parents, children = torch.tensor(HAND21.bones).T
    return (joints[:, children] - joints[:, parents]).norm(dim=-1)
