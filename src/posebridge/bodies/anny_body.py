"""Anny's body as a rig with the keypoints of any body skeleton (Anny: Apache-2.0; mesh data CC0).

Keypoints of limbs and trunk are heads of bones or fixed blends of them. Those of the head are means of mesh patches:
the frontmost, topmost or lateral vertices of head and eyes. Tables are keyed by canonical name (see
``skeletons.skeleton``), so one entry serves every skeleton.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.anny_loading import AnnyModel, load_anny, mean_adult, rig_in_frame
from posebridge.bodies.rig import Rig
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.skeleton import Skeleton

_FORWARD, _UP, _LEFT, _RIGHT = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)


def _both(weights: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The same blends of bones on both sides of the body."""
    return {
        f"{side}_{name}": {f"{bone}.{side[0].upper()}": weight for bone, weight in blend.items()}
        for side in ("left", "right")
        for name, blend in weights.items()
    }


_BONES_OF: dict[str, dict[str, float]] = {  # canonical name -> weight of each bone's head
    "pelvis": {"root": 1.0},
    "spine1": {"spine04": 0.5, "spine03": 0.5},
    "spine": {"spine02": 1.0},
    "spine3": {"spine02": 0.4, "spine01": 0.6},
    "thorax": {"neck01": 0.5, "clavicle.L": 0.25, "clavicle.R": 0.25},
    "upper_neck": {"neck02": 1.0},
    "head_centre": {"neck03": 1.0},
    **_both(
        {
            "collar": {"clavicle": 0.5, "shoulder01": 0.5},
            "shoulder": {"upperarm01": 1.0},
            "elbow": {"lowerarm01": 1.0},
            "wrist": {"wrist": 1.0},
            "hand": {"wrist": 0.25, "finger3-1": 0.75},
            "hip": {"upperleg01": 1.0},
            "knee": {"lowerleg01": 1.0},
            "ankle": {"foot": 1.0},
            "toe_base": {"toe2-1": 0.5, "toe3-1": 0.5},
        }
    ),
}
_PATCH_OF: dict[
    str, tuple[str, tuple[float, float, float], int]
] = {  # canonical name -> bone, direction, number of vertices
    "nose": ("head", _FORWARD, 8),
    "head_top": ("head", _UP, 8),
    "left_eye": ("eye.L", _FORWARD, 8),
    "right_eye": ("eye.R", _FORWARD, 8),
    "left_ear": ("head", _LEFT, 160),  # the auricle
    "right_ear": ("head", _RIGHT, 160),
}


@dataclass(frozen=True)
class BodyModel(AnnyModel):
    """A body in metres, with its origin at the pelvis, x to the subject's left, y up and z to the front.

    The rest pose has the arms half lowered and the fingers slightly bent. The first of 104 bones is ``root``, at the
    pelvis; names of paired bones end in ``.L`` and ``.R``.
    """

    def with_keypoints(self, skeleton: Skeleton) -> "BodyModel":
        """The body with the joints of another skeleton. Raises ``InputError`` for an unknown canonical name."""
        return replace(self, rig=_with_keypoints(self.rig, skeleton))


def anny_body(skeleton: Skeleton = H36M17) -> BodyModel:
    """The body model with the joints of a skeleton; the model is cached.

    Raises ``InputError`` if the skeleton has a joint with an unknown canonical name.
    """
    return _bare_body().with_keypoints(skeleton)


@lru_cache(maxsize=1)
def _bare_body() -> BodyModel:
    model = load_anny("body", "anny", "anny")
    R_body_world = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # Anny's z is up, it faces -y
    return BodyModel(rig_in_frame(model, R_body_world, "root"), model, mean_adult(model)[0].float())


def _with_keypoints(rig: Rig, skeleton: Skeleton) -> Rig:
    rows = [_regressor(rig, skeleton, name) for name in skeleton.canonical_names]
    width = max(len(index) for index, _ in rows)
    index = torch.zeros(len(rows), width, dtype=torch.long)
    weight = torch.zeros(len(rows), width)
    for j, (row_index, row_weight) in enumerate(rows):
        index[j, : len(row_index)] = row_index
        weight[j, : len(row_weight)] = row_weight
    index, weight = index.to(rig.faces.device), weight.to(rig.vertices_m)
    return replace(rig, joints=skeleton.joints, keypoint_index=index, keypoint_weight=weight)


def _regressor(rig: Rig, skeleton: Skeleton, name: str) -> tuple[Tensor, Float[Tensor, "k"]]:
    """Indices into heads and vertices, and their weights, for one canonical name."""
    if name in _BONES_OF:
        blend = _BONES_OF[name]
        return torch.tensor([rig.bones.index(bone) for bone in blend]), torch.tensor(list(blend.values()))
    if name not in _PATCH_OF:
        raise InputError(
            f"skeleton {skeleton.name} has a joint {name!r}, which isn't defined on the body; "
            f"defined are {', '.join([*_BONES_OF, *_PATCH_OF])}"
        )
    bone, direction, count = _PATCH_OF[name]
    height = rig.vertices_m @ rig.vertices_m.new_tensor(direction)
    of_bone = rig.weights[:, rig.bones.index(bone)] > 0.5
    patch = torch.where(of_bone, height, -torch.inf).topk(count).indices
    return patch.cpu() + len(rig.bones), torch.full((count,), 1 / count)


if __name__ == "__main__":
    anny_body()
