"""Rigs of calibrated cameras: transforms between views and projection.

World and camera frames are in metres, x right, y down, z forward. ``T_world_cam @ p_cam`` maps a camera's point to the
common world frame. Functions take one rig of V views or a batch of B rigs of V views each.
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
    """V calibrated cameras: one rig, or B rigs in the leading dimension.

    Raises ``ValueError`` if intrinsics, poses and distortion differ in the number of cameras.
    """

    K: Float[Tensor, "... 3 3"]  # B V 3 3, or V 3 3, like the others
    T_world_cam: Float[Tensor, "... 4 4"]
    distortion: Float[Tensor, "... 5"] | None = None  # as in ``Camera``

    def __post_init__(self):
        lens = self.K.shape[:-2] if self.distortion is None else self.distortion.shape[:-1]
        if not self.K.shape[:-2] == self.T_world_cam.shape[:-2] == lens or self.K.ndim < 3:
            raise ValueError(
                "a rig needs K, T_world_cam and distortion of the same cameras, with a dimension of views: got "
                f"{tuple(self.K.shape)}, {tuple(self.T_world_cam.shape)} and {tuple(lens)} of distortion"
            )

    @classmethod
    def from_sets(cls, camera: Camera, T_world_cam: Float[Tensor, "n 4 4"], num_views: int) -> Self:
        """The rigs of a set-major batch, in which samples i V to (i + 1) V are the views of set i."""
        lens = None if camera.distortion is None else camera.distortion.unflatten(0, (-1, num_views))
        return cls(camera.K.unflatten(0, (-1, num_views)), T_world_cam.unflatten(0, (-1, num_views)), lens)

    @property
    def num_views(self) -> int:
        """The number of cameras of a rig."""
        return self.K.shape[-3]

    def camera(self, view: int) -> Camera:
        """Intrinsics of one view of all rigs, as a batch of 1 or B cameras."""
        lens = None if self.distortion is None else self.distortion[..., view, :].reshape(-1, 5)
        return Camera(self.K[..., view, :, :].reshape(-1, 3, 3), lens)

    def cameras(self) -> Camera:
        """Intrinsics of all views as a set-major batch of B V cameras."""
        return Camera(self.K.reshape(-1, 3, 3), None if self.distortion is None else self.distortion.reshape(-1, 5))

    def to_views(self, points_m: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B V N 3"]:
        """World points in the frame of each camera."""
        return transform(inverse_rigid(self.T_world_cam), points_m.unsqueeze(-3))

    def to_world(self, points_m: Float[Tensor, "*B V N 3"]) -> Float[Tensor, "*B V N 3"]:
        """Points in the frame of each camera, transformed to the world."""
        return transform(self.T_world_cam, points_m)

    def project(self, points_m: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B V N 2"]:
        """Pixels of world points in all views."""
        points_in_views = self.to_views(points_m)
        return self._for_each(points_in_views, points_in_views.shape[:-2], Camera.project)

    def _for_each(self, values: Tensor, batch: torch.Size, function) -> Tensor:
        """Applies ``Camera.project`` or ``Camera.rays`` to each view with its camera."""
        K = self.K.expand(*batch, 3, 3).reshape(-1, 3, 3)
        lens = None if self.distortion is None else self.distortion.expand(*batch, 5).reshape(-1, 5)
        return function(Camera(K, lens), values.reshape(-1, *values.shape[-2:])).unflatten(0, batch)


def look_at(
    eye_m: Float[Tensor, "*B 3"], target_m: Float[Tensor, "*#B 3"], up: Float[Tensor, "*#B 3"]
) -> Float[Tensor, "*B 4 4"]:
    """T_world_cam of cameras at ``eye_m`` that look at ``target_m``, with ``up`` upwards in the image.

    Raises ``ValueError`` if ``up`` is parallel to the viewing direction, or eye and target coincide.
    """
    z = target_m - eye_m
    x = torch.linalg.cross(z, up.to(z).expand_as(z))
    length = torch.linalg.norm(x, dim=-1, keepdim=True)
    distance = torch.linalg.norm(z, dim=-1, keepdim=True)
    if not bool((length > 1e-6 * distance).all()):
        raise ValueError("a camera's viewing direction is parallel to its up vector, or its position equals its target")
    x, z = x / length, z / distance
    return rigid(torch.stack([x, torch.linalg.cross(z, x), z], dim=-1), eye_m)


def ring(
    num_views: int, radius_m: float, span_deg: float = 360.0, elevation_deg: float = 0.0
) -> Float[Tensor, "V 4 4"]:
    """T_world_cam of cameras on a ring about the vertical axis (y points down), looking at the origin.

    A full ring starts on -z, looking along +z, and continues to the right of that camera. A smaller span is centred on
    -z. Elevated cameras look down. Raises ``ValueError`` if ``num_views`` is below 1.
    """
    if num_views < 1:
        raise ValueError(f"a ring needs 1 or more views, got {num_views}")
    full = span_deg >= 360.0
    first = 0.0 if full or num_views == 1 else -span_deg / 2
    step = span_deg / num_views if full else span_deg / max(1, num_views - 1)
    azimuth = torch.deg2rad(first + step * torch.arange(num_views))
    eyes = on_sphere(azimuth, torch.full((num_views,), math.radians(elevation_deg)), torch.full((num_views,), radius_m))
    return look_at(eyes, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))


def on_sphere(
    azimuth_rad: Float[Tensor, "*B"], elevation_rad: Float[Tensor, "*B"], radius_m: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 3"]:
    """Points on a sphere about the origin: azimuth 0 is -z, positive towards +x; elevation is towards -y."""
    horizontal_m = radius_m * elevation_rad.cos()
    return torch.stack(
        [horizontal_m * azimuth_rad.sin(), -radius_m * elevation_rad.sin(), -horizontal_m * azimuth_rad.cos()], dim=-1
    )


def rigid(R: Float[Tensor, "*B 3 3"], t: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4 4"]:
    """Homogeneous matrices of rotations and translations."""
    last_row = R.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*R.shape[:-2], 1, 4)
    return torch.cat([torch.cat([R, t[..., None]], dim=-1), last_row], dim=-2)


def inverse_rigid(T: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B 4 4"]:
    """Inverse rigid transforms in closed form."""
    R = T[..., :3, :3].transpose(-1, -2)
    return rigid(R, -(R @ T[..., :3, 3:])[..., 0])


def transform(T: Float[Tensor, "*#B 4 4"], points: Float[Tensor, "*#B N 3"]) -> Float[Tensor, "*B N 3"]:
    """Points transformed by rigid or affine matrices."""
    return points @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]


def transform_to_views(points: Float[Tensor, "S N 3"], T_view_set: Float[Tensor, "B 4 4"]) -> Float[Tensor, "B N 3"]:
    """Points of S sets in the spaces of all their views; B = S V is set-major."""
    return transform(T_view_set, points.repeat_interleave(len(T_view_set) // len(points), 0))
