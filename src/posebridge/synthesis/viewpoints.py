"""Sampled viewpoints: rotation and position of the subject, focal length and crop."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.draw import chance, log_uniform, normal, uniform

_ACROSS = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))  # camera <- upright subject facing the camera


@dataclass(frozen=True)
class ViewpointDistribution:
    """Rotations around the front or back view of an upright subject, or uniform ones for a fraction of samples.

    Angles are standard deviations.
    """

    front_share: float = 0.6  # fraction seen from the front (palm, face); the rest from the back
    turn_deg: float = 35.0  # about the forearm or the spine
    tilt_deg: float = 25.0  # towards and away from the camera
    roll_deg: float = 30.0  # in the image plane
    uniform_rotation_share: float = 0.1  # fraction with a uniformly random rotation
    distance_m: tuple[float, float] = (0.35, 0.9)  # of the wrist or the pelvis, log-uniform
    joint_extent_frac: tuple[float, float] = (0.6, 0.85)  # extent of the joints as a fraction of the crop's side
    offset_frac: float = 0.06  # standard deviation of the joints' centre from the crop's, as a fraction of its side


def sample_rotations(distribution: ViewpointDistribution, count: int, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """Sample rotations camera <- subject."""

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
    """Sample wrist or pelvis positions in the camera frame, metres, up to about 15 degrees off the optical axis."""
    z = log_uniform(generator, *distribution.distance_m, count)
    return torch.stack([z * uniform(generator, -0.25, 0.25, count), z * uniform(generator, -0.25, 0.25, count), z], -1)


def frame_joints(
    distribution: ViewpointDistribution, joints_m: Float[Tensor, "B J 3"], size_px: int, generator: Generator
) -> Camera:
    """Camera of a square crop of side ``size_px`` around the joints, jittered like a detector's box."""
    rays = joints_m[..., :2] / joints_m[..., 2:]
    low, high = rays.amin(1), rays.amax(1)
    count = len(joints_m)
    extent_frac = uniform(generator, *distribution.joint_extent_frac, count)
    focal = size_px * extent_frac / (high - low).amax(-1)
    centre = (low + high) / 2
    shift = size_px * normal(generator, distribution.offset_frac, count, 2).clamp(-0.12, 0.12)
    K = torch.zeros(count, 3, 3)
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = (size_px - 1) / 2 + shift - focal[:, None] * centre
    K[:, 2, 2] = 1.0
    return Camera(K)
