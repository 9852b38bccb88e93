"""Where the camera stands: rotation of the subject, distance, lens, and how the crop lies around it."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.draw import chance, log_uniform, normal, uniform

_ACROSS = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))  # camera <- upright subject that faces it


@dataclass(frozen=True)
class ViewpointDistribution:
    """Upright subjects seen from around their front (palm, face) or back, tilted and rolled; a share from anywhere."""

    front_share: float = 0.6  # seen with the palm or the face to the camera; the rest from the back
    turn_deg: float = 35.0  # deviation about the forearm or the spine
    tilt_deg: float = 25.0  # deviation towards and away from the camera
    roll_deg: float = 30.0  # deviation in the image plane
    uniform_rotation_share: float = 0.1  # uniform over all rotations
    distance_m: tuple[float, float] = (0.35, 0.9)
    joint_extent_frac: tuple[float, float] = (0.6, 0.85)  # the joints' extent over the crop's side
    offset_frac: float = 0.06  # deviation of the joints' centre from the crop's, in sides


def sample_rotations(distribution: ViewpointDistribution, count: int, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """Rotations camera <- subject."""

    def about(axis: int, degrees: Tensor) -> Tensor:
        rotvec = torch.zeros(count, 3)
        rotvec[:, axis] = torch.deg2rad(degrees)
        return roma.rotvec_to_rotmat(rotvec)

    back = 180.0 * ~chance(generator, distribution.front_share, count)
    turn = back + normal(generator, distribution.turn_deg, count)
    tilt = normal(generator, distribution.tilt_deg, count)
    roll = normal(generator, distribution.roll_deg, count)
    upright = about(2, roll) @ about(0, tilt) @ torch.tensor(_ACROSS) @ about(1, turn)
    quaternion = torch.nn.functional.normalize(normal(generator, 1.0, count, 4), dim=-1)
    anywhere = chance(generator, distribution.uniform_rotation_share, count)
    return torch.where(anywhere[:, None, None], roma.unitquat_to_rotmat(quaternion), upright)


def sample_translations(distribution: ViewpointDistribution, count: int, generator: Generator) -> Float[Tensor, "B 3"]:
    """Where the wrist or the pelvis stands in the camera frame, metres; up to about fifteen degrees off the axis."""
    z = log_uniform(generator, *distribution.distance_m, count)
    return torch.stack([z * uniform(generator, -0.25, 0.25, count), z * uniform(generator, -0.25, 0.25, count), z], -1)


def frame_joints(
    distribution: ViewpointDistribution, joints_m: Float[Tensor, "B J 3"], size_px: int, generator: Generator
) -> Camera:
    """The camera of a square crop of ``size_px`` around the joints, with the scatter that a detector would have."""
    rays = joints_m[..., :2] / joints_m[..., 2:]
    low, high = rays.amin(1), rays.amax(1)
    count = len(joints_m)
    fill = uniform(generator, *distribution.joint_extent_frac, count)
    focal = size_px * fill / (high - low).amax(-1)
    centre = (low + high) / 2
    shift = size_px * normal(generator, distribution.offset_frac, count, 2).clamp(-0.12, 0.12)
    K = torch.zeros(count, 3, 3)
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = (size_px - 1) / 2 + shift - focal[:, None] * centre
    K[:, 2, 2] = 1.0
    return Camera(K)
