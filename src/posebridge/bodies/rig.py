"""Skinned meshes in three stages: shaped, posed, and as vertices and keypoints.

Shape is linear (blend shapes of vertices and bone heads). A pose is one rotation per bone about its head, in the axes
of the rest pose, so the identity is the rest pose. Skinning is linear blend skinning, optionally after corrective blend
shapes of the pose (MANO, SMPL).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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
    # Corrective offsets of vertices for each element of R - 1 of each bone but the root, row by row.
    pose_basis_m: Float[Tensor, "P V 3"] | None = None

    def shaped(self, coefficients: Float[Tensor, "B S"]) -> "ShapedRig":
        """Rest vertices and heads of B subjects."""
        flat = coefficients @ self._flat_basis
        V = self.vertices_m.shape[0]
        offsets = flat.view(-1, V + len(self.bones), 3)
        return ShapedRig(self, self.vertices_m + offsets[:, :V], self.heads_m + offsets[:, V:])

    def keypoints_of(
        self, heads_m: Float[Tensor, "B N 3"], vertices_m: Float[Tensor, "B V 3"]
    ) -> Float[Tensor, "B J 3"]:
        """Keypoints from bone heads and vertices of any pose."""
        points = torch.cat([heads_m, vertices_m], dim=1)
        return (points[:, self.keypoint_index] * self.keypoint_weight[..., None]).sum(2)

    @cached_property
    def _flat_basis(self) -> Float[Tensor, "S M"]:
        return torch.cat([self.vertex_basis_m, self.head_basis_m], dim=1).flatten(1)

    @cached_property
    def levels(self) -> tuple[tuple[Int[Tensor, "n"], Int[Tensor, "n"]], ...]:
        """(bones, positions of their parents in the level above) for each depth of the tree."""
        above, levels = [-1], []
        while bones := [bone for bone, parent in enumerate(self.parents) if parent in above]:
            positions = [above.index(self.parents[bone]) for bone in bones]
            levels.append((torch.tensor(bones, device=self.device), torch.tensor(positions, device=self.device)))
            above = bones
        return tuple(levels)

    @cached_property
    def _parents_or_self(self) -> Int[Tensor, "N"]:
        return torch.tensor([max(parent, 0) for parent in self.parents], device=self.device)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.vertices_m.device

    def mirrored(self) -> "Rig":
        """The mirror image in the plane x = 0, with outward faces."""
        flip = self.vertices_m.new_tensor([-1.0, 1.0, 1.0])
        pose_basis_m = self.pose_basis_m
        if pose_basis_m is not None:
            # Elements of a mirrored rotation change their sign if exactly one of their two axes is x.
            sign = torch.outer(flip, flip).flatten().repeat(len(pose_basis_m) // 9)
            pose_basis_m = sign[:, None, None] * pose_basis_m * flip
        return replace(
            self,
            pose_basis_m=pose_basis_m,
            faces=self.faces.flip(-1),
            vertices_m=self.vertices_m * flip,
            vertex_basis_m=self.vertex_basis_m * flip,
            heads_m=self.heads_m * flip,
            head_basis_m=self.head_basis_m * flip,
        )

    def to(self, device: torch.device | str) -> "Rig":
        """The same rig on another device."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        moved: dict[str, Any] = {n: value.to(device) for n, value in fields.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class ShapedRig:
    """Subjects in the rest pose."""

    rig: Rig
    vertices_m: Float[Tensor, "B V 3"]
    heads_m: Float[Tensor, "_ N 3"]  # of as many subjects, or of more where no vertices are needed

    def keypoints_m(self) -> Float[Tensor, "B J 3"]:
        """Keypoints in the rest pose."""
        return self.rig.keypoints_of(self.heads_m, self.vertices_m)

    def posed(self, rotations: Float[Tensor, "B N 3 3"]) -> "PosedRig":
        """Rotates every bone and its descendants about its head, root first."""
        rig = self.rig
        bone = self.heads_m - self.heads_m[:, rig._parents_or_self]
        (roots, _), *below = rig.levels
        R_world, heads = [rotations[:, roots]], [self.heads_m[:, roots]]
        for bones, above in below:
            R_above = R_world[-1][:, above]
            heads.append(heads[-1][:, above] + _rotate(R_above, bone[:, bones]))
            R_world.append(R_above @ rotations[:, bones])
        order = torch.cat([bones for bones, _ in rig.levels]).argsort()
        return PosedRig(
            self._corrected(rotations), torch.cat(R_world, dim=1)[:, order], torch.cat(heads, dim=1)[:, order]
        )

    def _corrected(self, rotations: Float[Tensor, "B N 3 3"]) -> "ShapedRig":
        """The subjects with pose correctives added to the vertices."""
        if self.rig.pose_basis_m is None:
            return self
        features = (rotations[:, 1:] - torch.eye(3).to(rotations)).flatten(1)
        offsets = features @ self.rig.pose_basis_m.flatten(1)
        return replace(self, vertices_m=self.vertices_m + offsets.view_as(self.vertices_m))


@dataclass(frozen=True)
class PosedRig:
    """Subjects in a pose, in the frame of the rest mesh."""

    shaped: ShapedRig
    R_world_rest: Float[Tensor, "B N 3 3"]
    heads_m: Float[Tensor, "B N 3"]

    def vertices_m(self) -> Float[Tensor, "B V 3"]:
        """Skinned vertices (linear blend skinning)."""
        shift = self.heads_m - _rotate(self.R_world_rest, self.shaped.heads_m)
        transforms = torch.cat([self.R_world_rest, shift[..., None]], dim=-1)  # B N 3 4
        B, N = transforms.shape[:2]
        blended = (self.shaped.rig.weights @ transforms.view(B, N, 12)).view(B, -1, 3, 4)
        return _rotate(blended[..., :3], self.shaped.vertices_m) + blended[..., 3]

    def keypoints_m(self, vertices_m: Float[Tensor, "B V 3"]) -> Float[Tensor, "B J 3"]:
        """Keypoints from the bones' heads and the given skinned vertices."""
        return self.shaped.rig.keypoints_of(self.heads_m, vertices_m)


def _rotate(R: Float[Tensor, "*n 3 3"], points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Each point multiplied by its matrix."""
    return (R @ points[..., None]).squeeze(-1)
