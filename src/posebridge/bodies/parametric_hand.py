"""Right hands by few numbers that a network can give: joint angles, a shape, and how the hand lies in space."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.bodies.anny import HandModel, hand
from posebridge.bodies.anny_loading import PHENOTYPES
from posebridge.bodies.articulation import ANGLE_NAMES, HandAngles, pose_hand
from posebridge.bodies.rig import Rig
from posebridge.draw import generator_for

_SHAPE_SAMPLES = 1_000  # subjects by which principal shapes are found
_RELAXED_FINGER_DEG = (25.0, 0.0, 30.0, 17.0)  # as ``HandAngles`` counts them
_RELAXED_THUMB_DEG = (8.0, 0.0, 15.0, 15.0)


@dataclass(frozen=True)
class HandParameters:
    """B hands. A hand's own frame is turned by ``R`` and its joints' mean put at ``place``, in any unit."""

    pose: Float[Tensor, "B P"]
    shape: Float[Tensor, "B S"]  # standard deviations of the population; 0 is its mean
    R: Float[Tensor, "B 3 3"]
    place: Float[Tensor, "B 3"]


@dataclass(frozen=True)
class HandMesh:
    """B hands as vertices and joints."""

    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B J 3"]


class ParametricHand(Protocol):
    """A hand model, differentiable in its parameters."""

    pose_size: int
    shape_size: int

    def faces(self, device: torch.device) -> Int[Tensor, "F 3"]:
        """Corners of the mesh's faces."""
        ...

    def in_own_frame(self, pose: Float[Tensor, "B P"], shape: Float[Tensor, "B S"]) -> HandMesh:
        """Hands in metres, in the model's own frame."""
        ...


def pose_parameters(model: ParametricHand, parameters: HandParameters, unit_m: Float[Tensor, "B"]) -> HandMesh:
    """Hands where their parameters put them, in units of ``unit_m`` metres."""
    own = model.in_own_frame(parameters.pose, parameters.shape)
    scale, middle = unit_m[:, None, None], own.joints.mean(1, keepdim=True)
    turn, place = parameters.R.transpose(1, 2), parameters.place[:, None]
    return HandMesh(*((points - middle) / scale @ turn + place for points in (own.vertices, own.joints)))


class AnnyHand:
    """Anny's right hand: the angles of ``HandAngles``, counted from a relaxed hand, and principal shapes."""

    pose_size = len(ANGLE_NAMES)

    def __init__(self, shapes: int = 6):
        """``shapes`` is the number of shape parameters; two explain 99.9% of the variance, most of it is size."""
        self.shape_size = shapes
        model = hand("right")
        self._models = {torch.device("cpu"): replace(model, rig=with_principal_shapes(model, shapes))}
        self.relaxed_rad = torch.deg2rad(torch.tensor((_RELAXED_FINGER_DEG * 4 + _RELAXED_THUMB_DEG + (0.0, 0.0),)))

    def model(self, device: torch.device) -> HandModel:
        """The model whose shape coefficients are this hand's, on a device."""
        if device not in self._models:
            self._models[device] = self._models[torch.device("cpu")].to(device)
        return self._models[device]

    def faces(self, device: torch.device) -> Int[Tensor, "F 3"]:
        """Corners of the mesh's faces."""
        return self.model(device).rig.faces

    def in_own_frame(self, pose: Float[Tensor, "B 22"], shape: Float[Tensor, "B S"]) -> HandMesh:
        """Hands in metres: origin at the wrist, y to the middle knuckle, z out of the palm."""
        model = self.model(pose.device)
        posed = pose_hand(model, HandAngles.from_stacked(pose + self.relaxed_rad.to(pose)), shape)
        vertices_m = posed.vertices_m()
        return HandMesh(vertices_m, posed.keypoints_m(vertices_m))


def with_principal_shapes(model: HandModel, count: int) -> Rig:
    """The model's rig with principal components of shape for a basis: zero is the mean, one a standard deviation.

    Of phenotypes that are uniform in [0.4, 1] for age and in [0, 1] for the others: children of ten to the old.
    """
    phenotypes = torch.rand(_SHAPE_SAMPLES, len(PHENOTYPES), generator=generator_for(0, 0))
    age = PHENOTYPES.index("age")
    phenotypes[:, age] = 0.4 + 0.6 * phenotypes[:, age]
    rig = model.rig
    coefficients = model.shape_coefficients(phenotypes)
    mean = coefficients.mean(0)
    shapes = torch.cat([rig.vertex_basis_m, rig.head_basis_m], dim=1)  # S, V + N, 3
    flat = (coefficients - mean) @ shapes.flatten(1)
    _, singular, components = torch.linalg.svd(flat, full_matrices=False)
    # The sign is free: more of a component makes the hand larger.
    rest = torch.cat([rig.vertices_m, rig.heads_m])
    larger = (components.unflatten(1, (-1, 3)) * rest).sum((1, 2)).sign()
    basis = (larger * singular / len(flat) ** 0.5)[:count, None, None] * components[:count].unflatten(1, (-1, 3))
    middle = torch.einsum("s,svc->vc", mean, shapes)
    V = len(rig.vertices_m)
    return replace(
        rig,
        vertices_m=rig.vertices_m + middle[:V],
        vertex_basis_m=basis[:, :V],
        heads_m=rig.heads_m + middle[V:],
        head_basis_m=basis[:, V:],
    )
