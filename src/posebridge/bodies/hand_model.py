"""Hand models: joint axes, population shapes, and a forearm for any hand mesh."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.rig import Rig

POPULATION_SAMPLES = 1_000  # random subjects that represent a population
_FOREARM_RINGS = 10
_FOREARM_LENGTH = 2.4  # in lengths of the middle metacarpal
_FOREARM_GROWTH = 1.45  # width at the far end over width at the wrist


@dataclass(frozen=True)
class HandModel(ABC):
    """A hand in metres, in the hand frame: origin at the wrist, y to the middle knuckle, z out of the palm.

    x points to the thumb for a right hand and away from it for a left one. Bones are ``wrist``, ``forearm`` and
    ``finger1-1`` (first of the thumb) to ``finger5-3``, possibly with others. The axes are unit vectors in the rest
    pose. A positive rotation about ``flexion_axes`` closes the finger, about ``spread_axes`` moves it towards the thumb
    (the thumb: out of the palm), and about ``twist_axes`` rotates it about its length.
    """

    rig: Rig
    side: Literal["left", "right"]
    flexion_axes: Float[Tensor, "N 3"]
    spread_axes: Float[Tensor, "N 3"]
    twist_axes: Float[Tensor, "N 3"]

    @abstractmethod
    def shape_coefficients(self, phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B S"]:
        """Coefficients of the rig's basis for the columns of ``HAND_SHAPE_NAMES``; without finger lengths, for P = 6.

        Raises ``ValueError`` for another number of columns.
        """

    @abstractmethod
    def population_shapes(self, count: int) -> "PopulationShapes":
        """``count`` shapes of the renders' hands, ``HAND_POPULATION``."""

    def to(self, device: torch.device | str) -> Self:
        """The hand with rig and axes on another device."""
        axes = {name: getattr(self, name).to(device) for name in ("flexion_axes", "spread_axes", "twist_axes")}
        return replace(self, rig=self.rig.to(device), **axes)


@dataclass(frozen=True)
class PopulationShapes:
    """Shapes of a population: zero is the mean, one a standard deviation."""

    rig: Rig  # with these shapes as its basis
    low: Float[Tensor, "S"]  # of the population's coefficients: one subject of a hundred has a lower one
    high: Float[Tensor, "S"]  # likewise

    @classmethod
    def from_subjects(cls, rig: Rig, coefficients: Float[Tensor, "n S"]) -> "PopulationShapes":
        """Shapes whose range is that of n subjects."""
        low, high = coefficients.quantile(coefficients.new_tensor([0.01, 0.99]), dim=0)
        return cls(rig, low, high)


def principal_shapes(rig: Rig, coefficients: Float[Tensor, "n S"], count: int) -> PopulationShapes:
    """The principal components of n subjects' shapes."""
    mean = coefficients.mean(0)
    shapes = torch.cat([rig.vertex_basis_m, rig.head_basis_m], dim=1)  # S, V + N, 3
    flat = (coefficients - mean) @ shapes.flatten(1)
    scores, singular, components = torch.linalg.svd(flat, full_matrices=False)
    # Signs are arbitrary: choose those by which larger coefficients enlarge the hand.
    rest = torch.cat([rig.vertices_m, rig.heads_m])
    larger = (components.unflatten(1, (-1, 3)) * rest).sum((1, 2)).sign()
    basis = (larger * singular / len(flat) ** 0.5)[:count, None, None] * components[:count].unflatten(1, (-1, 3))
    middle = torch.einsum("s,svc->vc", mean, shapes)
    V = len(rig.vertices_m)
    scores = (larger * scores)[:, :count] * len(flat) ** 0.5
    changed = replace(
        rig,
        vertices_m=rig.vertices_m + middle[:V],
        vertex_basis_m=basis[:, :V],
        heads_m=rig.heads_m + middle[V:],
        head_basis_m=basis[:, V:],
    )
    return PopulationShapes.from_subjects(changed, scores)


def with_forearm(rig: Rig, axes: Tensor) -> tuple[Rig, Tensor]:
    """Extends the open rim of the mesh by a forearm with a bone of its own, hinged at the wrist.

    Every new vertex is a fixed linear function of the rim and two bone heads, so the forearm depends on the shape.
    """
    rim = _rim(rig.faces, len(rig.vertices_m))
    knuckle = rig.bones.index("finger3-1")
    steps = torch.arange(1, _FOREARM_RINGS + 1) / _FOREARM_RINGS
    growth = 1 + (_FOREARM_GROWTH - 1) * torch.sin(0.5 * torch.pi * steps)

    def extended(vertices: Tensor, heads: Tensor) -> Tensor:  # (..., V, 3), (..., N, 3)
        loop = vertices[..., rim, :]
        centre = loop.mean(-2, keepdim=True)
        back = -_FOREARM_LENGTH * heads[..., knuckle, :][..., None, :]  # the wrist is the origin
        rings = [centre + g * (loop - centre) + s * back for g, s in zip(growth, steps, strict=True)]
        return torch.cat([vertices, *rings], dim=-2)

    V, n = len(rig.vertices_m), len(rim)
    start = torch.cat([rim, V + torch.arange(_FOREARM_RINGS * n)]).view(_FOREARM_RINGS + 1, n)
    a, b = start[:-1], start[1:]
    faces = torch.stack([torch.stack([a, b, b.roll(-1, 1)], -1), torch.stack([a, b.roll(-1, 1), a.roll(-1, 1)], -1)])
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
        weights=_forearm_weights(rig, _FOREARM_RINGS * n),
        pose_basis_m=None if rig.pose_basis_m is None else _padded(rig.pose_basis_m, 9, _FOREARM_RINGS * n),
        # Keypoint indices count bone heads first; there is one more now.
        keypoint_index=rig.keypoint_index + (rig.keypoint_index >= len(rig.bones)).long(),
    )
    forearm_axes = torch.eye(3)[None]
    return grown, torch.cat([axes, forearm_axes])


def _forearm_weights(rig: Rig, added: int) -> Tensor:
    """Skinning weights with the forearm as the last bone, which moves the last ``added`` vertices."""
    V = len(rig.vertices_m)
    weights = torch.zeros(V + added, len(rig.bones) + 1)
    weights[:V, :-1] = rig.weights
    weights[V:, -1] = 1.0
    # Skinning weights blend over about two centimetres at the wrist.
    t = ((0.012 - rig.vertices_m[:, 1]) / 0.03).clamp(0, 1)
    fraction = (t * t * (3 - 2 * t))[:, None]
    weights[:V, :-1] *= 1 - fraction
    weights[:V, -1] = fraction[:, 0]
    return weights


def _rim(faces: Tensor, vertex_count: int) -> Tensor:
    """Vertices of the mesh's open edge loop, in the orientation of the faces."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    code = edges[:, 0] * vertex_count + edges[:, 1]
    open_edges = edges[~torch.isin(code, edges[:, 1] * vertex_count + edges[:, 0])].tolist()
    following = dict(open_edges)
    loop = [open_edges[0][0]]
    while (vertex := following[loop[-1]]) != loop[0]:
        loop.append(vertex)
    if len(loop) != len(open_edges):
        raise ValueError(
            f"the hand mesh must have one open loop: the first has {len(loop)} of {len(open_edges)} open edges"
        )
    return torch.tensor(loop)


def _padded(basis: Float[Tensor, "P V 3"], rows: int, vertices: int) -> Float[Tensor, "P2 V2 3"]:
    """The basis padded by zeros for more rows and vertices."""
    return torch.nn.functional.pad(basis, (0, 0, 0, vertices, 0, rows))
