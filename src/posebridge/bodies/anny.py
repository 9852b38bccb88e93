"""Anny's hand as a rig with 21 keypoints (Anny: Apache-2.0; mesh data CC0).

Anny's finger bones start at the web between the fingers. Anatomically the knuckle (MCP joint) lies about half a phalanx
closer to the wrist, where public annotations place it; ``_move_knuckles`` moves the pivots and their skinning there.
``python -m posebridge.bodies.anny`` builds the model before its first use.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from posebridge.bodies.anny_loading import PHENOTYPES, load_anny, mean_adult, phenotype_coefficients, rig_in_frame
from posebridge.bodies.finger_lengths import with_finger_lengths
from posebridge.bodies.hand_model import POPULATION_SAMPLES, HandModel, PopulationShapes, principal_shapes, with_forearm
from posebridge.bodies.rig import Rig
from posebridge.bodies.shape_distribution import (
    HAND_POPULATION,
    HAND_SHAPE_NAMES,
    MAX_FINGER_DEVIATION,
    sample_phenotypes,
)
from posebridge.draw import generator_for
from posebridge.skeletons.hand import FINGERS, HAND21

# Proximal phalanx over the rest of the finger, index to pinky; from the mean phalanx lengths of adult hands
# (Buryanov & Kotiuk 2010, Table 1, soft tissue of the tip included in the distal phalanx).
_PROXIMAL_RATIO = (0.946, 0.936, 0.882, 0.866)
_TIP_VERTICES = 6  # the finger tip is the mean of this many most distal vertices


@dataclass(frozen=True)
class AnnyHandModel(HandModel):
    """Anny's hand; its shape coefficients come from phenotypes and finger lengths."""

    phenotype_model: Any  # anny.Anny
    adult_coefficients: Float[Tensor, "A"]  # of the mean adult, the rig's rest shape

    def shape_coefficients(self, phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B S"]:
        """Coefficients of the rig's basis for the columns of ``HAND_SHAPE_NAMES``; without finger lengths, for P = 6.

        Raises ``ValueError`` for another number of columns.
        """
        if phenotypes.shape[1] not in (len(PHENOTYPES), len(HAND_SHAPE_NAMES)):
            raise ValueError(f"{phenotypes.shape[1]} columns of a hand's shape, not those of HAND_SHAPE_NAMES")
        own, fingers = phenotypes.tensor_split([len(PHENOTYPES)], dim=1)
        coefficients = phenotype_coefficients(self.phenotype_model, self.adult_coefficients, own)
        return torch.cat([coefficients, F.pad(fingers, (0, len(FINGERS) - fingers.shape[1]))], dim=1)

    def population_shapes(self, count: int) -> PopulationShapes:
        """``count`` - 5 principal components of phenotypes, then the finger lengths.

        Two components explain 99.9% of the variance of phenotypes, mostly size. Raises ``ValueError`` for less than
        one component.
        """
        own = count - len(FINGERS)
        if own < 1:
            raise ValueError(f"{count} shapes of a hand: {len(FINGERS)} are finger lengths, give more")
        phenotypes = sample_phenotypes(HAND_POPULATION, POPULATION_SAMPLES, generator_for(0, 0))
        shapes = principal_shapes(self.rig, self.shape_coefficients(phenotypes), own)
        most = shapes.high.new_full((len(FINGERS),), MAX_FINGER_DEVIATION)
        rig = replace(
            shapes.rig,
            vertex_basis_m=torch.cat([shapes.rig.vertex_basis_m, self.rig.vertex_basis_m[-len(FINGERS) :]]),
            head_basis_m=torch.cat([shapes.rig.head_basis_m, self.rig.head_basis_m[-len(FINGERS) :]]),
        )
        return PopulationShapes(rig, torch.cat([shapes.low, -most]), torch.cat([shapes.high, most]))


@lru_cache(maxsize=2)
def anny_hand(side: Literal["left", "right"] = "right") -> AnnyHandModel:
    """Anny's hand of one side, with the keypoints of ``skeletons.hand.HAND21`` and a forearm."""
    if side == "left":
        right = anny_hand("right")
        flip = torch.tensor([-1.0, 1.0, 1.0])
        return replace(
            right,
            side="left",
            rig=right.rig.mirrored(),
            flexion_axes=-right.flexion_axes * flip,
            spread_axes=-right.spread_axes * flip,
            twist_axes=-right.twist_axes * flip,
        )
    model = load_anny("hand", "anny-hand.R-blender", "hand.R")
    rig, axes = _canonical(model)
    rig = with_finger_lengths(_with_keypoints(_move_knuckles(rig)))
    rig, axes = with_forearm(rig, axes)
    flexion, along, spread = axes[:, :, 0], axes[:, :, 1], -axes[:, :, 2]
    for f in range(2, 6):  # fingers spread in the plane of the palm
        spread[rig.bones.index(f"finger{f}-1")] = torch.tensor([0.0, 0.0, -1.0])
    return AnnyHandModel(rig, "right", flexion, spread, along, model, mean_adult(model)[0].float())


def _canonical(model) -> tuple[Rig, Float[Tensor, "N 3 3"]]:
    """The mean adult's hand in the hand frame, and each bone's axes as columns (flexion, along, out of the palm)."""
    rest = model.get_rest_model(mean_adult(model))
    at = dict(zip(model.bone_labels, rest["rest_bone_heads"][0], strict=True))
    y = F.normalize(at["finger3-1.R"] - at["wrist.R"], dim=-1)
    palm = torch.linalg.cross(at["finger2-1.R"] - at["wrist.R"], at["finger5-1.R"] - at["wrist.R"])
    x = F.normalize(torch.linalg.cross(y, palm), dim=-1)
    R = torch.stack([x, y, torch.linalg.cross(x, y)])  # hand frame <- Anny's world
    rig = rig_in_frame(model, R, "wrist.R")
    rig = replace(rig, bones=tuple(bone.removesuffix(".R") for bone in rig.bones))
    return rig, (R @ rest["rest_bone_poses"][0, 1:, :3, :3]).float()


def _move_knuckles(rig: Rig) -> Rig:
    """Moves the pivots of the four fingers to the knuckles, and the skinning around them to the fingers.

    The new pivot is a fixed blend of Anny's pivot and the metacarpal's head, so it stays linear in the shape.
    """
    index = {name: i for i, name in enumerate(rig.bones)}
    tips = _tip_vertices(rig)
    heads, basis = rig.heads_m.clone(), rig.head_basis_m.clone()
    affinity = torch.zeros(len(rig.vertices_m), 4)
    for f in range(4):
        web, middle, carpal = index[f"finger{f + 2}-1"], index[f"finger{f + 2}-2"], index[f"metacarpal{f + 1}"]
        pip = rig.heads_m[middle]
        tip = rig.vertices_m[tips[f + 1]].mean(0)
        distal = torch.linalg.norm(rig.heads_m[index[f"finger{f + 2}-3"]] - pip)
        distal = distal + torch.linalg.norm(tip - rig.heads_m[index[f"finger{f + 2}-3"]])
        missing_m = _PROXIMAL_RATIO[f] * distal - torch.linalg.norm(rig.heads_m[web] - pip)
        fraction = missing_m / torch.linalg.norm(rig.heads_m[carpal] - rig.heads_m[web])
        heads[web] = torch.lerp(rig.heads_m[web], rig.heads_m[carpal], fraction)
        basis[:, web] = torch.lerp(rig.head_basis_m[:, web], rig.head_basis_m[:, carpal], fraction)
        affinity[:, f] = _finger_affinity(rig.vertices_m, heads[web], F.normalize(pip - heads[web], dim=-1))
    return replace(rig, heads_m=heads, head_basis_m=basis, weights=_reassign_weights(rig.weights, affinity, index))


def _finger_affinity(vertices_m: Float[Tensor, "V 3"], knuckle_m: Tensor, along: Tensor) -> Float[Tensor, "V"]:
    """Affinity of vertices to the finger at a knuckle, in [0, 1]: a smooth step along it, a Gaussian across it."""
    offset = vertices_m - knuckle_m
    t = offset @ along
    across = torch.linalg.norm(offset - t[:, None] * along, dim=-1)
    step = ((t + 0.008) / 0.024).clamp(0, 1)
    return step * step * (3 - 2 * step) * torch.exp(-0.5 * (across / 0.009) ** 2)


def _reassign_weights(weights: Tensor, affinity: Float[Tensor, "V 4"], index: dict[str, int]) -> Float[Tensor, "V N"]:
    """Moves the palm's skinning weights of each vertex to the fingers, in proportion to affinity."""
    palm = [index["wrist"], *(index[f"metacarpal{f + 1}"] for f in range(4))]
    fingers = [index[f"finger{f + 2}-1"] for f in range(4)]
    total = affinity.sum(1, keepdim=True)
    taken = total.clamp(max=1) * weights[:, palm].sum(1, keepdim=True)
    moved = weights.clone()
    moved[:, palm] *= 1 - total.clamp(max=1)
    moved[:, fingers] += taken * affinity / total.clamp(min=1e-9)
    return moved


def _tip_vertices(rig: Rig) -> Int[Tensor, "5 k"]:
    """The vertices at the end of each finger, thumb first."""
    rows = []
    for f in range(1, 6):
        last, before = rig.bones.index(f"finger{f}-3"), rig.bones.index(f"finger{f}-2")
        along = F.normalize(rig.heads_m[last] - rig.heads_m[before], dim=-1)
        reach = torch.where(rig.weights[:, last] > 0.5, (rig.vertices_m - rig.heads_m[last]) @ along, -torch.inf)
        rows.append(reach.topk(_TIP_VERTICES).indices)
    return torch.stack(rows)


def _with_keypoints(rig: Rig) -> Rig:
    """The rig with 21 keypoints: heads of the bones, and finger tips on the mesh."""
    tips = _tip_vertices(rig) + len(rig.bones)
    index = torch.zeros(len(HAND21), _TIP_VERTICES, dtype=torch.long)
    weight = torch.zeros(len(HAND21), _TIP_VERTICES)
    weight[:, 0] = 1.0
    for f, finger in enumerate(FINGERS):
        for k in (1, 2, 3):
            index[HAND21.index(f"{finger}_{k}"), 0] = rig.bones.index(f"finger{f + 1}-{k}")
        index[HAND21.index(f"{finger}_4")] = tips[f]
        weight[HAND21.index(f"{finger}_4")] = 1 / _TIP_VERTICES
    index[HAND21.index("wrist"), 0] = rig.bones.index("wrist")
    return replace(rig, joints=HAND21.joints, keypoint_index=index, keypoint_weight=weight)


if __name__ == "__main__":
    anny_hand("right")
