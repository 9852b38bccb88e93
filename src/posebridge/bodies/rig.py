"""A skinned mesh in three stages: shaped, posed, and as vertices and keypoints.

Shape is linear (blend shapes of vertices and of bone heads), pose is one rotation a bone about its head, skinning is
linear blend skinning. Rotations are expressed in the axes of the rest pose, so a bone's identity is the rest pose.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Rig:
    """Rest mesh and bones of a body with V vertices, F faces, N bones, S shape coefficients and J keypoints."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]  # parents come before their children; the root's is -1
    faces: Int[Tensor, "F 3"]  # outward by the right-hand rule
    vertices_m: Float[Tensor, "V 3"]
    vertex_basis_m: Float[Tensor, "S V 3"]
    heads_m: Float[Tensor, "N 3"]
    head_basis_m: Float[Tensor, "S N 3"]
    weights: Float[Tensor, "V N"]  # rows sum to one
    joints: tuple[str, ...]
    keypoint_index: Int[Tensor, "J k"]  # into the bones' heads followed by the vertices
    keypoint_weight: Float[Tensor, "J k"]

    def shaped(self, coefficients: Float[Tensor, "B S"]) -> "ShapedRig":
        """Rest vertices and heads of B subjects."""
        flat = coefficients @ self._flat_basis
        V = self.vertices_m.shape[0]
        offsets = flat.view(-1, V + len(self.bones), 3)
        return ShapedRig(self, self.vertices_m + offsets[:, :V], self.heads_m + offsets[:, V:])

    @cached_property
    def _flat_basis(self) -> Float[Tensor, "S M"]:
        return torch.cat([self.vertex_basis_m, self.head_basis_m], dim=1).flatten(1)

    @cached_property
    def levels(self) -> tuple[tuple[Int[Tensor, "n"], Int[Tensor, "n"]], ...]:
        """(bones, their parents) of each depth of the tree below the root, for batched forward kinematics."""
        depth = [0] * len(self.parents)
        for bone, parent in enumerate(self.parents):
            depth[bone] = 0 if parent < 0 else depth[parent] + 1
        device = self.faces.device
        levels = []
        for level in range(1, max(depth) + 1):
            bones = [bone for bone, d in enumerate(depth) if d == level]
            parents = [self.parents[bone] for bone in bones]
            levels.append((torch.tensor(bones, device=device), torch.tensor(parents, device=device)))
        return tuple(levels)

    @cached_property
    def face_parts(self) -> Int[Tensor, "F"]:
        """The bone that moves most of each face."""
        return self.weights[self.faces].sum(1).argmax(-1)

    def mirrored(self) -> "Rig":
        """The mirror image in the plane x = 0, with outward faces."""
        flip = self.vertices_m.new_tensor([-1.0, 1.0, 1.0])
        return replace(
            self,
            faces=self.faces.flip(-1),
            vertices_m=self.vertices_m * flip,
            vertex_basis_m=self.vertex_basis_m * flip,
            heads_m=self.heads_m * flip,
            head_basis_m=self.head_basis_m * flip,
        )

    def to(self, device: torch.device | str) -> "Rig":
        """The same rig on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        fields = {name: moved.get(name, getattr(self, name)) for name in self.__dataclass_fields__}
        return Rig(**fields)


@dataclass(frozen=True)
class ShapedRig:
    """Subjects in the rest pose."""

    rig: Rig
    vertices_m: Float[Tensor, "B V 3"]
    heads_m: Float[Tensor, "B N 3"]

    def posed(self, rotations: Float[Tensor, "B N 3 3"]) -> "PosedRig":
        """Rotate every bone, with all that hangs on it, about its head; root first."""
        rig = self.rig
        parents = torch.tensor(rig.parents[1:], device=self.heads_m.device)
        bone = self.heads_m[:, 1:] - self.heads_m[:, parents]
        R_world, heads = [None] * len(rig.bones), [None] * len(rig.bones)
        R_world[0], heads[0] = rotations[:, 0], self.heads_m[:, 0]
        for bones, above in rig.levels:
            R_above = torch.stack([R_world[i] for i in above.tolist()], dim=1)
            at = torch.stack([heads[i] for i in above.tolist()], dim=1)
            level_heads = at + (R_above @ bone[:, bones - 1, :, None]).squeeze(-1)
            level_rotations = R_above @ rotations[:, bones]
            for k, i in enumerate(bones.tolist()):
                R_world[i], heads[i] = level_rotations[:, k], level_heads[:, k]
        return PosedRig(self, torch.stack(R_world, dim=1), torch.stack(heads, dim=1))


@dataclass(frozen=True)
class PosedRig:
    """Subjects in a pose, in the frame of the rest mesh."""

    shaped: ShapedRig
    R_world_rest: Float[Tensor, "B N 3 3"]
    heads_m: Float[Tensor, "B N 3"]

    def vertices_m(self) -> Float[Tensor, "B V 3"]:
        """Skinned vertices (linear blend skinning)."""
        shift = self.heads_m - (self.R_world_rest @ self.shaped.heads_m[..., None]).squeeze(-1)
        transforms = torch.cat([self.R_world_rest, shift[..., None]], dim=-1)  # B N 3 4
        B, N = transforms.shape[:2]
        blended = (self.shaped.rig.weights @ transforms.view(B, N, 12)).view(B, -1, 3, 4)
        rest = self.shaped.vertices_m
        return (blended[..., :3] @ rest[..., None]).squeeze(-1) + blended[..., 3]

    def keypoints_m(self, vertices_m: Float[Tensor, "B V 3"]) -> Float[Tensor, "B J 3"]:
        """The skeleton's joints, from the bones' heads and the given skinned vertices."""
        rig = self.shaped.rig
        points = torch.cat([self.heads_m, vertices_m], dim=1)
        return (points[:, rig.keypoint_index] * rig.keypoint_weight[..., None]).sum(2)
