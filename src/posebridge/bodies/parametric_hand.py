"""Right hands by few numbers that a network can give: joint angles, a shape, and how the hand lies in space."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.bodies.hand_articulation import HAND_ANGLE_NAMES, HandAngles, pose_hand
from posebridge.bodies.hand_model import HandModel
from posebridge.bodies.mano import load_hand_model
from posebridge.bodies.rig import Rig
from posebridge.cameras.multiview import transform_to_views

_RELAXED_FINGER_DEG = (25.0, 0.0, 30.0, 17.0)  # as ``HandAngles`` counts them
_RELAXED_THUMB_DEG = (8.0, 0.0, 15.0, 15.0)


@dataclass(frozen=True)
class HandParameters:
    """B hands. A hand's own frame is turned by ``R`` and its joints' mean put at ``place``, in any unit."""

    pose: Float[Tensor, "B P"]
    shape: Float[Tensor, "B S"]  # standard deviations of the population; 0 is its mean
    R: Float[Tensor, "B 3 3"]
    centre: Float[Tensor, "B 3"]


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

    def in_hand_frame(self, pose: Float[Tensor, "B P"], shape: Float[Tensor, "B S"]) -> HandMesh:
        """Hands in metres, in the model's own frame."""
        ...


def hand_meshes(model: ParametricHand, parameters: HandParameters, unit_m: Float[Tensor, "B"]) -> HandMesh:
    """Hands where their parameters put them, in units of ``unit_m`` metres."""
    own = model.in_hand_frame(parameters.pose, parameters.shape)
    scale, middle = unit_m[:, None, None], own.joints.mean(1, keepdim=True)
    turn, place = parameters.R.transpose(1, 2), parameters.centre[:, None]
    return HandMesh(*((points - middle) / scale @ turn + place for points in (own.vertices, own.joints)))


def hand_meshes_in_views(
    model: ParametricHand,
    parameters: HandParameters,
    unit_m: Float[Tensor, "S"],
    T_view_hand: Float[Tensor, "B 4 4"],
) -> HandMesh:
    """Likewise S hands, and from there in the spaces of all views of each; B is hand-major."""
    posed = hand_meshes(model, parameters, unit_m)
    return HandMesh(*(transform_to_views(points, T_view_hand) for points in (posed.vertices, posed.joints)))


@lru_cache(maxsize=4)  # finding principal shapes takes seconds; two models are equal if they share their arrays
def _population_rig(model: HandModel, shapes: int) -> Rig:
    return model.with_population_shapes(shapes)


class RiggedHand:
    """A right hand model: the angles of ``HandAngles``, counted from a relaxed hand, and shapes of a population."""

    pose_size = len(HAND_ANGLE_NAMES)

    def __init__(self, model: HandModel, shapes: int):
        """``shapes`` is the number of shape parameters."""
        self.shape_size = shapes
        self._models = {torch.device("cpu"): replace(model, rig=_population_rig(model, shapes))}
        self.relaxed_rad = torch.deg2rad(torch.tensor((_RELAXED_FINGER_DEG * 4 + _RELAXED_THUMB_DEG + (0.0, 0.0),)))

    def model(self, device: torch.device) -> HandModel:
        """The model whose shape coefficients are this hand's, on a device."""
        if device not in self._models:
            self._models[device] = self._models[torch.device("cpu")].to(device)
        return self._models[device]

    def faces(self, device: torch.device) -> Int[Tensor, "F 3"]:
        """Corners of the mesh's faces."""
        return self.model(device).rig.faces

    def in_hand_frame(self, pose: Float[Tensor, "B 22"], shape: Float[Tensor, "B S"]) -> HandMesh:
        """Hands in metres: origin at the wrist, y to the middle knuckle, z out of the palm."""
        model = self.model(pose.device)
        posed = pose_hand(model, HandAngles.from_stacked(pose + self.relaxed_rad.to(pose)), shape)
        vertices_m = posed.vertices_m()
        return HandMesh(vertices_m, posed.keypoints_m(vertices_m))


class AnnyHand(RiggedHand):
    """Anny's."""

    def __init__(self, shapes: int = 6):
        super().__init__(load_hand_model(None), shapes)


def check_mano_file(mano: Path | None) -> None:
    """Read MANO's file, where there is one; raises ``InputError`` for another file."""
    if mano is not None:
        load_hand_model(mano)


def load_parametric_hand(mano: Path | None, shapes: int) -> RiggedHand:
    """The hand of MANO's file, or Anny's where there is none. Raises ``InputError`` for another file."""
    return AnnyHand(shapes) if mano is None else RiggedHand(load_hand_model(mano), shapes)
