"""Clutter of depth scenes: ellipsoids behind and in front of a hand, from walls and slabs to sticks and balls.

Ellipsoids are placed in the world, so all views of a rig are consistent. Their depth has a closed form.
"""

from dataclasses import dataclass

import roma
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.cameras.multiview import CameraRig, inverse_rigid, rigid
from posebridge.draw import chance, log_uniform, normal, uniform


@dataclass(frozen=True)
class ClutterDistribution:
    """Distribution of background objects and occluders of a hand; lengths in metres."""

    background_share: float = 0.0  # fraction of sets with an object behind the hand in view 0: a body, a table, a wall
    background_radius_m: tuple[float, float] = (0.08, 0.8)  # half axes across the line of sight
    background_depth_m: tuple[float, float] = (0.02, 0.15)  # half axis along the line of sight
    background_gap_m: tuple[float, float] = (0.01, 0.15)  # gap to the farthest point of the hand
    background_tilt_deg: float = 25.0  # standard deviation of the tilt of its near side
    occluder_share: float = 0.0  # fraction of sets with an object between the hand and one of the cameras
    occluder_radius_m: tuple[float, float] = (0.006, 0.03)  # half axes
    occluder_gap_m: tuple[float, float] = (0.03, 0.09)  # from a joint of the hand to the object's centre


@dataclass(frozen=True)
class Ellipsoids:
    """E ellipsoids in B worlds, at most one per world."""

    world: Int[Tensor, "E"]  # index of the world, ascending
    T_world_ellipsoid: Float[Tensor, "E 4 4"]
    radii_m: Float[Tensor, "E 3"]  # half axes

    def composite(self, depth_m: Float[Tensor, "B V H W"], rig: CameraRig) -> Float[Tensor, "B V H W"]:
        """Depth of the nearest surface after adding the ellipsoids to B worlds; infinite where there is none."""
        height, width = depth_m.shape[2:]
        rigs = CameraRig(rig.K[self.world], rig.T_world_cam[self.world])
        nearest = torch.minimum(depth_m[self.world], self.depth_m(rigs, height, width))
        return depth_m.index_copy(0, self.world, nearest)

    def depth_m(self, rig: CameraRig, height_px: int, width_px: int) -> Float[Tensor, "E V H W"]:
        """Depth along each camera's optical axis at the pixel centres, metres; infinite outside the ellipsoid.

        ``rig`` holds one rig per ellipsoid, without lens distortion. An ellipsoid around a camera is invisible to it.
        """
        # The point at depth z of the ray (x, y, 1) is origin + z slopes (u, v, 1) where the ellipsoid is a unit ball.
        T_ball_cam = (inverse_rigid(self.T_world_ellipsoid)[:, None] @ rig.T_world_cam)[..., :3, :]
        T_ball_cam = T_ball_cam / self.radii_m[:, None, :, None]
        origin, slopes = T_ball_cam[..., 3:], T_ball_cam[..., :3] @ torch.linalg.inv(rig.K)
        # The ray meets the ball where a z^2 + 2 b z + c = 0.
        square = slopes.transpose(-1, -2) @ slopes
        linear = (slopes.transpose(-1, -2) @ origin)[..., 0]
        u, v = torch.arange(width_px).to(square), torch.arange(height_px).to(square)[:, None]
        uu, uv, u1, vv, v1, one = (square[..., i, j, None, None] for i in range(3) for j in range(i, 3))
        a = ((uu * u + 2 * u1) * u + one) + torch.addcmul((vv * v + 2 * v1) * v, uv, 2 * u * v)
        b = linear[..., 0, None, None] * u + (linear[..., 1, None, None] * v + linear[..., 2, None, None])
        c = origin.square().sum((-1, -2))[..., None, None] - 1
        under_root = torch.addcmul(b * b, a, -c)
        depth = (-b - under_root.clamp_min(0).sqrt()) / a
        return torch.where((under_root >= 0) & (depth > 0), depth, torch.inf)


def sample_background_objects(
    distribution: ClutterDistribution, points_m: Float[Tensor, "B N 3"], generator: Generator
) -> Ellipsoids:
    """Sample one object per set behind all points in view 0 (along the world's z), without contact.

    ``points_m`` are the hand's vertices in the world, metres.
    """
    count = len(points_m)
    radii = log_uniform(generator, *distribution.background_radius_m, count, 3)
    radii[:, 2] = log_uniform(generator, *distribution.background_depth_m, count)
    turn = torch.deg2rad(normal(generator, distribution.background_tilt_deg, count, 3)) * torch.tensor([1.0, 1.0, 4.0])
    R = roma.rotvec_to_rotmat(turn)
    away = R[:, :, 2]
    # The near side touches a plane behind all points. In that plane the position is random around the points' centre.
    plane_m = (points_m @ away[..., None])[..., 0].amax(1) + log_uniform(
        generator, *distribution.background_gap_m, count
    )
    across = radii[:, :2] * uniform(generator, -0.8, 0.8, count, 2)
    middle = points_m.mean(1)
    centre = middle + (R[:, :, :2] @ across[..., None])[..., 0]
    centre = centre + (plane_m + radii[:, 2] - (centre * away).sum(1))[:, None] * away
    return _present(rigid(R, centre), radii, distribution.background_share, generator)


def sample_occluders(
    distribution: ClutterDistribution, joints_m: Float[Tensor, "B J 3"], rig: CameraRig, generator: Generator
) -> Ellipsoids:
    """Sample one object per set between a random joint of the hand and a random camera."""
    count, sets = len(joints_m), torch.arange(len(joints_m))
    joint = joints_m[sets, torch.randint(joints_m.shape[1], (count,), generator=generator)]
    eye = rig.T_world_cam[sets, torch.randint(rig.num_views, (count,), generator=generator), :3, 3]
    gap = uniform(generator, *distribution.occluder_gap_m, count, 1)
    R = roma.unitquat_to_rotmat(F.normalize(normal(generator, 1.0, count, 4), dim=-1))
    radii = log_uniform(generator, *distribution.occluder_radius_m, count, 3)
    radii[:, 0] = radii[:, 0] * uniform(generator, 1.0, 6.0, count)  # some are sticks
    centre = joint + gap * F.normalize(eye - joint, dim=-1)
    return _present(rigid(R, centre), radii, distribution.occluder_share, generator)


def _present(T_world_ellipsoid: Tensor, radii_m: Tensor, share: float, generator: Generator) -> Ellipsoids:
    """Keep the ellipsoids of a random fraction ``share`` of the sets."""
    world = chance(generator, share, len(radii_m)).nonzero()[:, 0]
    return Ellipsoids(world, T_world_ellipsoid[world], radii_m[world])
