"""Rigs of calibrated cameras: the same points seen from every view, and points found again from what the views see.

World and camera frames are metres with x right, y down, z forward; ``T_world_cam @ p_cam`` takes a camera's point to
the world that its rig shares. Every function takes one rig of V views or a batch of B rigs of V views each.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.pinhole import Camera


@dataclass(frozen=True)
class CameraRig:
    """V cameras that are calibrated to one another: one rig, or a batch of B rigs in the leading dimension.

    Raises ``ValueError`` for intrinsics, poses and lenses that don't belong to the same number of cameras.
    """

    K: Float[Tensor, "... 3 3"]  # B V 3 3, or V 3 3, like the others
    T_world_cam: Float[Tensor, "... 4 4"]
    distortion: Float[Tensor, "... 5"] | None = None  # as in ``Camera``

    def __post_init__(self):
        lens = self.K.shape[:-2] if self.distortion is None else self.distortion.shape[:-1]
        if not self.K.shape[:-2] == self.T_world_cam.shape[:-2] == lens or self.K.ndim < 3:
            raise ValueError(
                f"a rig needs K, T_world_cam and distortion of the same cameras, got {tuple(self.K.shape)}, "
                f"{tuple(self.T_world_cam.shape)} and lenses of {tuple(lens)}"
            )

    @classmethod
    def from_sets(cls, camera: Camera, T_world_cam: Float[Tensor, "n 4 4"], num_views: int) -> Self:
        """The rigs of a set-major batch: samples i V to (i + 1) V are the views of set i."""
        lens = None if camera.distortion is None else camera.distortion.unflatten(0, (-1, num_views))
        return cls(camera.K.unflatten(0, (-1, num_views)), T_world_cam.unflatten(0, (-1, num_views)), lens)

    @property
    def num_views(self) -> int:
        """The number of cameras of a rig."""
        return self.K.shape[-3]

    def camera(self, view: int) -> Camera:
        """One view's intrinsics, of every rig: a batch of one, or of B."""
        lens = None if self.distortion is None else self.distortion[..., view, :].reshape(-1, 5)
        return Camera(self.K[..., view, :, :].reshape(-1, 3, 3), lens)

    def cameras(self) -> Camera:
        """The intrinsics of all views as one set-major batch of B V cameras."""
        return Camera(self.K.reshape(-1, 3, 3), None if self.distortion is None else self.distortion.reshape(-1, 5))

    def to_views(self, points_m: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B V N 3"]:
        """Points of the world in the frame of each camera."""
        return transform(inverse_rigid(self.T_world_cam), points_m.unsqueeze(-3))

    def to_world(self, points_m: Float[Tensor, "*B V N 3"]) -> Float[Tensor, "*B V N 3"]:
        """Points in the frame of each camera, taken to the world."""
        return transform(self.T_world_cam, points_m)

    def project(self, points_m: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B V N 2"]:
        """Pixels of points of the world in all views."""
        seen = self.to_views(points_m)
        return self._for_each(seen, seen.shape[:-2], Camera.project)

    def _for_each(self, values: Tensor, batch: torch.Size, function) -> Tensor:
        """``Camera.project`` or ``Camera.rays`` with one camera a view."""
        K = self.K.expand(*batch, 3, 3).reshape(-1, 3, 3)
        lens = None if self.distortion is None else self.distortion.expand(*batch, 5).reshape(-1, 5)
        return function(Camera(K, lens), values.reshape(-1, *values.shape[-2:])).unflatten(0, batch)


def look_at(
    eye_m: Float[Tensor, "*B 3"], target_m: Float[Tensor, "*#B 3"], up: Float[Tensor, "*#B 3"]
) -> Float[Tensor, "*B 4 4"]:
    """T_world_cam of cameras at ``eye_m`` whose axis passes through ``target_m``; ``up`` is upwards in the image.

    Raises ``ValueError`` where ``up`` lies along the line of sight, or the eye on the target.
    """
    z = target_m - eye_m
    x = torch.linalg.cross(z, up.to(z).expand_as(z))
    length = torch.linalg.norm(x, dim=-1, keepdim=True)
    distance = torch.linalg.norm(z, dim=-1, keepdim=True)
    if not bool((length > 1e-6 * distance).all()):
        raise ValueError("a camera looks along its own up direction, or stands on its target")
    x, z = x / length, z / distance
    return rigid(torch.stack([x, torch.linalg.cross(z, x), z], dim=-1), eye_m)


def ring(
    num_views: int, radius_m: float, span_deg: float = 360.0, elevation_deg: float = 0.0
) -> Float[Tensor, "V 4 4"]:
    """T_world_cam of cameras on a ring about the world's vertical (y points down), all looking at the origin.

    A full ring starts at the camera on -z, which looks along +z, and goes on to the right of it; a smaller span is
    centred on that place. Elevated cameras look down. Raises ``ValueError`` for no view.
    """
    if num_views < 1:
        raise ValueError(f"a ring needs at least one camera, got {num_views}")
    full = span_deg >= 360.0
    first = 0.0 if full or num_views == 1 else -span_deg / 2
    step = span_deg / num_views if full else span_deg / max(1, num_views - 1)
    azimuth = torch.deg2rad(first + step * torch.arange(num_views))
    eyes = on_sphere(azimuth, torch.full((num_views,), math.radians(elevation_deg)), torch.full((num_views,), radius_m))
    return look_at(eyes, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))


def on_sphere(
    azimuth_rad: Float[Tensor, "*B"], elevation_rad: Float[Tensor, "*B"], radius_m: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 3"]:
    """Places round the origin: azimuth 0 is -z, positive is towards +x; elevation is towards -y."""
    level = radius_m * elevation_rad.cos()
    return torch.stack([level * azimuth_rad.sin(), -radius_m * elevation_rad.sin(), -level * azimuth_rad.cos()], dim=-1)


def rigid(R: Float[Tensor, "*B 3 3"], t: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4 4"]:
    """The homogeneous matrix of a rotation and a shift."""
    last_row = R.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*R.shape[:-2], 1, 4)
    return torch.cat([torch.cat([R, t[..., None]], dim=-1), last_row], dim=-2)


def inverse_rigid(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """The inverse of rotations with shifts, in closed form."""
    R = T[..., :3, :3].transpose(-1, -2)
    return rigid(R, -(R @ T[..., :3, 3:])[..., 0])


def transform(T: Float[Tensor, "*#B 4 4"], points: Float[Tensor, "*#B N 3"]) -> Float[Tensor, "*B N 3"]:
    """Points moved by rigid (or affine) maps."""
    return points @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]


def transform_to_views(points: Float[Tensor, "S N 3"], T_view_set: Float[Tensor, "B 4 4"]) -> Float[Tensor, "B N 3"]:
    """Points of S sets in the spaces of all views of each; B is set-major, with as many views of every set."""
    return transform(T_view_set, points.repeat_interleave(len(T_view_set) // len(points), 0))
