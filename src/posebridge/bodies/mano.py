"""MANO's right hand (Romero, Tzionas and Black, SIGGRAPH Asia 2017), read from the user's licensed file.

The file is read without executing its pickle. The hand is posed like Anny's, by ``hand_articulation.HandAngles``, with
MANO's sixteen joints, shapes and pose correctives, and with a forearm at its open wrist.
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
from posebridge.bodies.hand_model import POPULATION_SAMPLES, HandModel, PopulationShapes, with_forearm
from posebridge.bodies.rig import Rig
from posebridge.bodies.shape_distribution import HAND_POPULATION, sample_hand_shapes
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.npz_files import ArrayFileError, load_npz
from posebridge.pickles import OpaqueObject, load_arrays
from posebridge.regular_files import absence
from posebridge.skeletons.hand import FINGERS, HAND21
from posebridge.skeletons.plausible_lengths import check_plausible_lengths

# MANO's joints: wrist, then index, middle, pinky, ring and thumb, base to tip. The thumb is finger 1.
_BONES = ("wrist", *(f"finger{f}-{k}" for f in (2, 3, 5, 4, 1) for k in (1, 2, 3)))
_PARENTS = (-1, *(parent for first in range(1, 16, 3) for parent in (0, first, first + 1)))
_TIPS = {"thumb": 744, "index": 333, "middle": 444, "ring": 555, "pinky": 672}  # vertices of the finger tips
_VERTICES, _JOINTS = 778, 16
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (_VERTICES, 3),
    "shapedirs": (_VERTICES, 3, None),
    "posedirs": (_VERTICES, 3, 9 * (_JOINTS - 1)),
    "J_regressor": (_JOINTS, _VERTICES),
    "weights": (_VERTICES, _JOINTS),
    "f": (None, 3),
}
_MAX_SHAPE = 3.0  # standard deviations


@dataclass(frozen=True)
class ManoHandModel(HandModel):
    """MANO's hand. Its shape coefficients are MANO's, in standard deviations of the population."""

    def shape_coefficients(self, phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B S"]:
        """The most likely shapes with the proportions of Anny's hand; columns as in ``HAND_SHAPE_NAMES``.

        Bones differ from those of MANO's mean hand by the factors by which Anny's differ from the mean adult's. Lengths
        are not compared, since the joints of the two models lie at different places within the skin.
        """
        anny = anny_hand("right")
        coefficients = anny.shape_coefficients(phenotypes.cpu())
        factors = _bone_lengths(anny.rig, coefficients) / _bone_lengths(anny.rig, torch.zeros_like(coefficients[:1]))
        lengths, by_shape = self._lengths
        # Least squares with a normal prior on shapes and a standard deviation of 1 mm on lengths.
        A = by_shape / 1e-3
        right = (factors - 1) * lengths / 1e-3 @ A
        normal = A.T @ A + torch.eye(A.shape[1])
        solution = torch.linalg.solve(normal, right.T).T
        return solution.clamp(-_MAX_SHAPE, _MAX_SHAPE).to(phenotypes)

    def population_shapes(self, count: int) -> PopulationShapes:
        """MANO's first ``count`` shapes. Raises ``InputError`` if the file has fewer."""
        available = len(self.rig.vertex_basis_m)
        if count > available:
            raise InputError(f"MANO's file has {available} shapes, not {count}: give a model with at most that many")
        rig = replace(
            self.rig, vertex_basis_m=self.rig.vertex_basis_m[:count], head_basis_m=self.rig.head_basis_m[:count]
        )
        phenotypes = sample_hand_shapes(HAND_POPULATION, POPULATION_SAMPLES, generator_for(0, 0))
        return PopulationShapes.from_subjects(rig, self.shape_coefficients(phenotypes)[:, :count])

    @cached_property
    def _lengths(self) -> tuple[Float[Tensor, "20"], Float[Tensor, "20 S"]]:
        """Bone lengths of the mean hand, and their derivatives by shape."""
        mean = torch.zeros(1, len(self.rig.vertex_basis_m))
        by_shape = torch.autograd.functional.jacobian(lambda shape: _bone_lengths(self.rig, shape)[0], mean)
        assert isinstance(by_shape, Tensor)
        return _bone_lengths(self.rig, mean)[0], by_shape[:, 0]


@lru_cache(maxsize=1)
def mano_hand(path: Path) -> ManoHandModel:
    """The right hand of ``MANO_RIGHT.pkl``, or of an ``.npz`` with its arrays.

    Raises ``InputError`` if it isn't one.
    """
    arrays = _read(path)
    rig = _in_hand_frame(_rig(arrays))
    flexion, spread, twist = _axes(rig)
    # The forearm's axes are the hand's.
    axes = torch.stack([flexion, twist, -spread], dim=-1)
    rig, axes = with_forearm(_checked(_with_keypoints(rig), path), axes)
    return ManoHandModel(rig, "right", axes[:, :, 0], -axes[:, :, 2], axes[:, :, 1])


def load_hand_model(mano: Path | None) -> HandModel:
    """The right hand of MANO's file, or Anny's if ``mano`` is None."""
    return anny_hand("right") if mano is None else mano_hand(mano)


def _read(path: Path) -> dict[str, Tensor]:
    advice = "give MANO_RIGHT.pkl, or an .npz with its arrays"
    if not path.is_file():
        raise InputError(f"{path}: {absence(path)}; {advice}")
    if "left" in path.stem.lower():
        raise InputError(f"{path} is a left hand, but left hands are mirrored right ones: {advice}")
    try:
        if path.suffix == ".npz":
            content: Any = load_npz(path, _SHAPES)
        else:
            content = load_arrays(path, opaque_packages=("chumpy", "scipy"))
        arrays = {name: _array(content[name]) for name in _SHAPES}
    except ArrayFileError as error:
        raise InputError(f"{path} {error}: {advice}") from None
    except (KeyError, TypeError, ValueError, OSError, IndexError) as error:
        raise InputError(f"{path} is not a MANO hand ({error!r}): {advice}") from None
    for name, shape in _SHAPES.items():
        actual = list(arrays[name].shape)
        if len(actual) != len(shape) or any(n not in (None, m) for n, m in zip(shape, actual, strict=True)):
            raise InputError(f"{path}: {name} has the shape {actual}, but MANO's is {list(shape)}: {advice}")
    kinds = {name: np.int64 if name == "f" else np.float32 for name in arrays}
    return {name: torch.from_numpy(array.astype(kinds[name])) for name, array in arrays.items()}


def _array(value: Any) -> np.ndarray:
    """An array, also if wrapped by chumpy or scipy."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, OpaqueObject):
        raise TypeError(f"{type(value).__name__} is not an array")
    kind, content = value.kind, value.content
    if kind.startswith("scipy.sparse") and kind.endswith("csc_matrix"):
        return _dense(content)
    if kind == "chumpy.reordering.Select":
        return _array(content["a"]).ravel()[_array(content["idxs"])].reshape(content["preferred_shape"])
    if kind.startswith("chumpy") and "x" in content:
        return _array(content["x"])
    raise TypeError(f"{kind} can't be read without executing it; save the arrays as an .npz")


def _dense(content: dict[str, Any]) -> np.ndarray:
    """A dense array from a sparse matrix in CSC format."""
    data, rows, starts = (_array(content[name]) for name in ("data", "indices", "indptr"))
    height, width = content.get("_shape") or content["shape"]
    dense = np.zeros((height, width), dtype=data.dtype)
    dense[rows, np.repeat(np.arange(width), np.diff(starts))] = data
    return dense


def _rig(arrays: dict[str, Tensor]) -> Rig:
    """The rig in the file's frame, without keypoints."""
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
    """The rig with its origin at the wrist for every shape, y to the middle knuckle, z out of the palm."""
    assert rig.pose_basis_m is not None
    at = {bone: rig.heads_m[i] - rig.heads_m[0] for i, bone in enumerate(rig.bones)}
    y = F.normalize(at["finger3-1"], dim=-1)
    x = F.normalize(torch.linalg.cross(y, torch.linalg.cross(at["finger2-1"], at["finger5-1"])), dim=-1)
    R = torch.stack([x, y, torch.linalg.cross(x, y)])  # hand frame <- MANO's
    # A rotation R' in the hand frame is Rt R' R in MANO's. The elements of R' - 1, which drive the correctives,
    # transform likewise.
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
    """Flexion, spread and twist axes of each bone: fingers flex towards the palm; the thumb follows Anny's."""
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
                anny_bone = anny.rig.bones.index(f"finger1-{k}")
                T = _frame(along) @ _frame(anny.twist_axes[anny_bone]).T
                flexion[bone], spread[bone] = T @ anny.flexion_axes[anny_bone], T @ anny.spread_axes[anny_bone]
    return flexion, spread, twist


def _checked(rig: Rig, path: Path) -> Rig:
    """The rig. Raises ``InputError`` for a rest pose that is not a hand's, in metres."""
    joints_m = rig.shaped(torch.zeros(1, len(rig.vertex_basis_m))).keypoints_m()
    check_plausible_lengths(joints_m.numpy(), HAND21.joints, f"{path}: joints of v_template", unit="metres")
    return rig


def _along(rig: Rig, finger: int, k: int, tip: int) -> Float[Tensor, "3"]:
    head = rig.heads_m[rig.bones.index(f"finger{finger}-{k}")]
    end = rig.vertices_m[tip] if k == 3 else rig.heads_m[rig.bones.index(f"finger{finger}-{k + 1}")]
    return F.normalize(end - head, dim=-1)


def _frame(along: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Frame of a bone as columns: along it, across it in the plane of the palm, and their cross product."""
    across = F.normalize(torch.linalg.cross(along, torch.tensor([0.0, 0.0, 1.0])), dim=-1)
    return torch.stack([along, across, torch.linalg.cross(along, across)], dim=-1)


def _bone_lengths(rig: Rig, coefficients: Float[Tensor, "B S"]) -> Float[Tensor, "B 20"]:
    """Lengths of the bones of ``HAND21`` in the rest pose."""
    joints = rig.shaped(coefficients).keypoints_m()
    parents, children = torch.tensor(HAND21.bones).T
    return (joints[:, children] - joints[:, parents]).norm(dim=-1)
