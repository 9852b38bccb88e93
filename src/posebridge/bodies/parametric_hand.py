"""Right hands by a few parameters that a network can regress: joint angles, shape, rotation and position."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.bodies.hand_articulation import HAND_ANGLE_LIMITS_DEG, HAND_ANGLE_NAMES, HandAngles, pose_hand
from posebridge.bodies.hand_model import HandModel, PopulationShapes
from posebridge.bodies.mano import load_hand_model
from posebridge.cameras.multiview import transform_to_views

_RELAXED_FINGER_DEG = (25.0, 0.0, 30.0, 17.0)  # in the order of ``HandAngles``
_RELAXED_THUMB_DEG = (8.0, 0.0, 15.0, 15.0)
SHAPE_SIZE = 8  # shape parameters: of Anny's hand three components of phenotypes and five finger lengths
_BOUND_WIDTH = 0.05  # by how much of its range a shape may exceed the population's


@dataclass(frozen=True)
class HandParameters:
    """B hands. The hand frame is rotated by ``R``, and the mean of the joints moved to ``centre``, in any unit."""

    pose: Float[Tensor, "B P"]
    shape: Float[Tensor, "B S"]  # in standard deviations of the population, not bounded
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
        """Hands in metres, in the hand frame."""
        ...

    def pose_of(self, angles: HandAngles) -> Float[Tensor, "B P"]:
        """The parameters of joint angles."""
        ...

    def clamped_pose(self, pose: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """The nearest pose within the limits of the joints."""
        ...


def hand_meshes(model: ParametricHand, parameters: HandParameters, unit_m: Float[Tensor, "B"]) -> HandMesh:
    """Meshes of hands in units of ``unit_m`` metres."""
    canonical = model.in_hand_frame(parameters.pose, parameters.shape)
    scale, middle = unit_m[:, None, None], canonical.joints.mean(1, keepdim=True)
    R, centre = parameters.R.transpose(1, 2), parameters.centre[:, None]
    return HandMesh(*((points - middle) / scale @ R + centre for points in (canonical.vertices, canonical.joints)))


def hand_meshes_in_views(
    model: ParametricHand,
    parameters: HandParameters,
    unit_m: Float[Tensor, "S"],
    T_view_hand: Float[Tensor, "B 4 4"],
) -> HandMesh:
    """Meshes of S hands in the spaces of all views of each; B = S V is hand-major."""
    posed = hand_meshes(model, parameters, unit_m)
    return HandMesh(*(transform_to_views(points, T_view_hand) for points in (posed.vertices, posed.joints)))


@lru_cache(maxsize=4)  # finding principal shapes takes seconds; two models are equal if they share their arrays
def _population_shapes(model: HandModel, shapes: int) -> PopulationShapes:
    return model.population_shapes(shapes)


def bounded_shape(
    shape: Float[Tensor, "B S"], low: Float[Tensor, "S"], high: Float[Tensor, "S"]
) -> Float[Tensor, "B S"]:
    """Shapes clamped smoothly: unchanged between ``low`` and ``high``, little beyond.

    Without a bound, fitting and fine-tuning can diverge: the surface of a huge hand is close to every measured point.
    """
    inside, room = shape.clamp(low, high), _BOUND_WIDTH * (high - low)
    return inside + room * ((shape - inside) / room).tanh()


class RiggedHand:
    """A right hand whose pose parameters are ``HandAngles`` relative to a relaxed hand, with population shapes.

    ``shape_range`` holds the smallest and largest shapes (S,) of the renders' hands.
    """

    pose_size = len(HAND_ANGLE_NAMES)

    def __init__(self, model: HandModel, shapes: int):
        """``shapes`` is the number of shape parameters."""
        self.shape_size = shapes
        population = _population_shapes(model, shapes)
        self.shape_range = population.low, population.high
        self._models = {torch.device("cpu"): replace(model, rig=population.rig)}
        self.relaxed_rad = torch.deg2rad(torch.tensor((_RELAXED_FINGER_DEG * 4 + _RELAXED_THUMB_DEG + (0.0, 0.0),)))

    def model(self, device: torch.device) -> HandModel:
        """The hand model with population shapes, on a device."""
        if device not in self._models:
            self._models[device] = self._models[torch.device("cpu")].to(device)
        return self._models[device]

    def faces(self, device: torch.device) -> Int[Tensor, "F 3"]:
        """Corners of the mesh's faces."""
        return self.model(device).rig.faces

    def in_hand_frame(self, pose: Float[Tensor, "B 22"], shape: Float[Tensor, "B S"]) -> HandMesh:
        """Hands in metres: origin at the wrist, y to the middle knuckle, z out of the palm.

        Shapes are bounded by the population's range (``bounded_shape``).
        """
        model = self.model(pose.device)
        shape = bounded_shape(shape, *(bound.to(shape) for bound in self.shape_range))
        posed = pose_hand(model, HandAngles.from_stacked(pose + self.relaxed_rad.to(pose)), shape)
        vertices_m = posed.vertices_m()
        return HandMesh(vertices_m, posed.keypoints_m(vertices_m))

    def pose_of(self, angles: HandAngles) -> Float[Tensor, "B 22"]:
        """The parameters of joint angles: differences from the relaxed hand in radians."""
        stacked = angles.stacked()
        return stacked - self.relaxed_rad.to(stacked)

    def clamped_pose(self, pose: Float[Tensor, "B 22"]) -> Float[Tensor, "B 22"]:
        """The nearest pose within ``HAND_ANGLE_LIMITS_DEG``."""
        low, high = torch.deg2rad(torch.tensor(HAND_ANGLE_LIMITS_DEG)).T - self.relaxed_rad
        return pose.clamp(low.to(pose), high.to(pose))


class AnnyHand(RiggedHand):
    """Anny's right hand."""

    def __init__(self, shapes: int = SHAPE_SIZE):
        super().__init__(load_hand_model(None), shapes)


def check_mano_file(mano: Path | None) -> None:
    """Raises ``InputError`` if ``mano`` is given and isn't a MANO file."""
    if mano is not None:
        load_hand_model(mano)


def load_parametric_hand(mano: Path | None, shapes: int) -> RiggedHand:
    """The hand of MANO's file, or Anny's if ``mano`` is None. Raises ``InputError`` for an invalid file."""
    return AnnyHand(shapes) if mano is None else RiggedHand(load_hand_model(mano), shapes)
