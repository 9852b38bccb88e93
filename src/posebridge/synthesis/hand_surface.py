"""Per-vertex maps of the hand in the rest pose: palm, nails, creases, finger tips, forearm."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.hand_model import HandModel
from posebridge.rendering.attributes import interpolate, vertex_normals
from posebridge.rendering.raster import Raster


@dataclass(frozen=True)
class HandSurface:
    """Maps over the V vertices, in [0, 1] except ``rest_m``."""

    rest_m: Float[Tensor, "V 3"]  # rest position in metres, the texture coordinate
    palm: Float[Tensor, "V"]  # 1 on the palm side, 0 on the back
    nail: Float[Tensor, "V"]
    crease: Float[Tensor, "V"]  # around the finger joints
    tip: Float[Tensor, "V"]  # increases towards the finger tips
    arm: Float[Tensor, "V"]  # 0 at the wrist, 1 at the far end of the forearm

    def stacked(self) -> Float[Tensor, "V 8"]:
        """All maps as columns: rest (3), palm, nail, crease, tip, arm."""
        return torch.cat(
            [self.rest_m, torch.stack([self.palm, self.nail, self.crease, self.tip, self.arm], dim=-1)], dim=-1
        )


@lru_cache(maxsize=1)
def hand_surface() -> HandSurface:
    """Maps of the right hand. The left hand's vertices are in the same order."""
    model = anny_hand("right")
    straight = HandAngles(torch.zeros(1, 4, 4), torch.zeros(1, 4), torch.zeros(1, 2))
    posed = pose_hand(model, straight, torch.zeros(1, len(model.rig.vertex_basis_m)))
    vertices = posed.vertices_m()
    normals = vertex_normals(vertices, model.rig.faces)[0]
    vertices = vertices[0]
    heads = {name: posed.heads_m[0, i] for i, name in enumerate(model.rig.bones)}
    keypoints = posed.keypoints_m(vertices[None])[0]
    facing_palm = normals[:, 2]
    nail, crease, tip = (torch.zeros(len(vertices)) for _ in range(3))
    for f in range(5):
        end, joint = keypoints[4 + 4 * f], heads[f"finger{f + 1}-3"]
        length = torch.linalg.norm(end - joint)
        along = (end - joint) / length
        dorsal = _dorsal(model, f)
        t = ((vertices - joint) @ along) / length
        own = model.rig.weights[:, model.rig.bones.index(f"finger{f + 1}-3")] > 0.5
        nail = torch.maximum(nail, _bump(t, 0.72, 0.2) * (normals @ dorsal > 0.35) * own)
        tip = torch.maximum(tip, (t.clamp(0, 1) ** 2) * own)
        for k in (1, 2, 3):
            joint_k = heads[f"finger{f + 1}-{k}"]
            close = torch.linalg.norm(vertices - joint_k, dim=-1)
            band = torch.exp(-(((vertices - joint_k) @ along / 0.004) ** 2))
            crease = torch.maximum(crease, band * (close < 0.018))
    reach = -model.rig.vertices_m[:, 1]  # the wrist is the origin
    arm = (reach / reach.max()).clamp(min=0)
    return HandSurface(model.rig.vertices_m, torch.sigmoid(6 * facing_palm), nail, crease, tip, arm)


def beyond_wrist_m(model: HandModel) -> Float[Tensor, "V"]:
    """Signed distance of each vertex from the wrist in the rest pose, metres; negative on the forearm."""
    return model.rig.vertices_m[:, 1]


def hand_mask(raster: Raster, faces: Int[Tensor, "F 3"], beyond_m: Float[Tensor, "V"]) -> Bool[Tensor, "B H W"]:
    """Mask of the visible hand without its forearm.

    ``beyond_m`` is ``beyond_wrist_m`` of the rasterised hand, interpolated per pixel, so the cut may divide a face.
    """
    return raster.mask & (interpolate(raster, faces, beyond_m[None, :, None])[..., 0] >= 0)


def _dorsal(model, finger: int) -> Tensor:
    """Direction from a finger's palmar to its dorsal (nail) side in the straight pose."""
    if finger > 0:
        return torch.tensor([0.0, 0.0, -1.0])
    bone = model.rig.bones.index("finger1-3")
    return torch.linalg.cross(model.twist_axes[bone], model.flexion_axes[bone])


def _bump(values: Tensor, centre: float, width: float) -> Tensor:
    return (1 - ((values - centre) / width) ** 2).clamp(0, 1).sqrt()
