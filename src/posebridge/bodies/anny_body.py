"""The full body of Anny (Apache-2.0; mesh data CC0), as a rig with the keypoints of any body skeleton.

Limbs and trunk are heads of bones or fixed blends of them; the head's joints are patches of the mesh: the most
forward, upward or sideways vertices of the head and of the eyes. The table below is by place (see
``skeletons.skeleton``), so one entry serves every skeleton that has it.
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


def _both(shares: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The same blends of bones on both sides of the body."""
    return {
        f"{side}_{place}": {f"{bone}.{side[0].upper()}": share for bone, share in blend.items()}
        for side in ("left", "right")
        for place, blend in shares.items()
    }


_BONES_OF: dict[str, dict[str, float]] = {  # place -> share of each bone's head
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
_PATCH_OF: dict[str, tuple[str, tuple[float, float, float], int]] = {  # place -> bone, direction, vertices
    "nose": ("head", _FORWARD, 8),
    "head_top": ("head", _UP, 8),
    "left_eye": ("eye.L", _FORWARD, 8),
    "right_eye": ("eye.R", _FORWARD, 8),
    "left_ear": ("head", _LEFT, 160),  # the whole auricle
    "right_ear": ("head", _RIGHT, 160),
}


@dataclass(frozen=True)
class BodyModel(AnnyModel):
    """A body in its own frame: origin at the pelvis, x to the subject's left, y up, z to the front, metres.

    It rests with its arms half lowered and its fingers slightly bent, facing along z. Of the 104 bones the first is
    ``root``, at the pelvis; paired ones end in ``.L`` and ``.R``.
    """

    def with_keypoints(self, skeleton: Skeleton) -> "BodyModel":
        """The same body with another skeleton's joints. Raises ``InputError`` for a joint that has no place here."""
        return replace(self, rig=_with_keypoints(self.rig, skeleton))


def anny_body(skeleton: Skeleton = H36M17) -> BodyModel:
    """The body model with the joints of a skeleton; loaded once, so asking again is cheap.

    Raises ``InputError`` where the skeleton has a joint that has no place on the body.
    """
    return _bare_body().with_keypoints(skeleton)


@lru_cache(maxsize=1)
def _bare_body() -> BodyModel:
    model = load_anny("body", "anny", "anny")
    R_body_world = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # Anny's z is up, it faces -y
    return BodyModel(rig_in_frame(model, R_body_world, "root"), model, mean_adult(model)[0].float())


def _with_keypoints(rig: Rig, skeleton: Skeleton) -> Rig:
    rows = [_regressor(rig, skeleton, place) for place in skeleton.canonical_names]
    width = max(len(index) for index, _ in rows)
    index = torch.zeros(len(rows), width, dtype=torch.long)
    weight = torch.zeros(len(rows), width)
    for j, (row_index, row_weight) in enumerate(rows):
        index[j, : len(row_index)] = row_index
        weight[j, : len(row_weight)] = row_weight
    index, weight = index.to(rig.faces.device), weight.to(rig.vertices_m)
    return replace(rig, joints=skeleton.joints, keypoint_index=index, keypoint_weight=weight)


def _regressor(rig: Rig, skeleton: Skeleton, place: str) -> tuple[Tensor, Float[Tensor, "k"]]:
    """Indices into heads and vertices, and their shares, of one place of the anatomy."""
    if place in _BONES_OF:
        blend = _BONES_OF[place]
        return torch.tensor([rig.bones.index(bone) for bone in blend]), torch.tensor(list(blend.values()))
    if place not in _PATCH_OF:
        raise InputError(
            f"skeleton {skeleton.name} has a joint at {place!r}, which has no place on the body; "
            f"known are {', '.join([*_BONES_OF, *_PATCH_OF])}"
        )
    bone, direction, count = _PATCH_OF[place]
    height = rig.vertices_m @ rig.vertices_m.new_tensor(direction)
    of_bone = rig.weights[:, rig.bones.index(bone)] > 0.5
    patch = torch.where(of_bone, height, -torch.inf).topk(count).indices
    return patch.cpu() + len(rig.bones), torch.full((count,), 1 / count)


if __name__ == "__main__":
    anny_body()
