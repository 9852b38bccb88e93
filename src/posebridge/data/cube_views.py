"""Depth crops as calibrated views: maps between each crop's cube, its camera and the world.

The space of a view has its origin at the cube's centre, half the cube's side as unit, x to the right and y down in the
picture, z away from the camera. An augmented crop has augmented intrinsics, which give the map from its space to the
camera's frame. So a rotated crop shows a rotated hand, a larger crop a smaller cube, and predictions map back exactly.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.cameras.crop import warp_images
from posebridge.cameras.cube import foreground, normalise_depth
from posebridge.cameras.multiview import inverse_rigid, rigid, transform
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import Observation


@dataclass(frozen=True)
class CubeViews:
    """B views, their depth included. Pixels of the depth are those of ``camera``."""

    depth_m: Float[Tensor, "B H W"]  # 0 where the sensor measured nothing
    camera: Camera
    centre_m: Float[Tensor, "B 3"]  # camera frame
    half_m: Float[Tensor, "B"]
    T_world_cam: Float[Tensor, "B 4 4"]
    inside: Bool[Tensor, "B H W"]  # False where a warp shows pixels from outside the crop

    @classmethod
    def of(cls, batch: Observation, cube_m: float) -> Self:
        """The crops of a batch. Without calibration each camera frame is a world of its own.

        Raises ``ValueError`` for a batch without depth, intrinsics or centres.
        """
        if batch.depth_m is None or batch.camera is None or batch.centre_m is None:
            raise ValueError("views of cubes need depth, intrinsics and the cubes' centres")
        own = torch.eye(4).to(batch.depth_m).expand(len(batch), 4, 4)
        T_world_cam = own if batch.T_world_cam is None else batch.T_world_cam
        half_m = batch.centre_m.new_full((len(batch),), cube_m / 2)
        inside = torch.ones_like(batch.depth_m, dtype=torch.bool)
        return cls(batch.depth_m, batch.camera, batch.centre_m, half_m, T_world_cam, inside)

    def __len__(self) -> int:
        return len(self.depth_m)

    @property
    def axes(self) -> Float[Tensor, "B 3 3"]:
        """Camera frame to picture: a rotation about the optical axis, or a reflection.

        The orthogonal factor of the intrinsics' 2x2 part (polar decomposition, in closed form).
        """
        A = self.camera.K[:, :2, :2]
        a, b, c, d = A.flatten(1).unbind(1)
        cofactors = torch.stack([d, -c, -b, a], dim=1).unflatten(1, (2, 2))
        sign = torch.linalg.det(A).sign()
        whole = A + sign[:, None, None] * cofactors
        turned = torch.eye(3).to(A).repeat(len(A), 1, 1)
        turned[:, :2, :2] = whole / torch.linalg.det(whole).abs().sqrt()[:, None, None]
        return turned

    @property
    def cube_to_camera(self) -> Float[Tensor, "B 4 4"]:
        """From the view's space to its camera frame, in metres."""
        return rigid(self.axes.transpose(1, 2) * self.half_m[:, None, None], self.centre_m)

    @property
    def cube_to_world(self) -> Float[Tensor, "B 4 4"]:
        """From the view's space to the world that calibrated views share."""
        return self.T_world_cam @ self.cube_to_camera

    @property
    def world_to_cube(self) -> Float[Tensor, "B 4 4"]:
        """From the world to the view's space."""
        R = self.axes / self.half_m[:, None, None]
        return rigid(R, -(R @ self.centre_m[..., None])[..., 0]) @ inverse_rigid(self.T_world_cam)

    def in_cubes(self, points_m: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Points of the camera frame in the view's space."""
        return (points_m - self.centre_m[:, None]) @ self.axes.transpose(1, 2) / self.half_m[:, None, None]

    def in_cameras(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Points of the view's space in metres of the camera frame: the inverse of ``in_cubes``."""
        return transform(self.cube_to_camera, points)

    def picture(self) -> Float[Tensor, "B 1 H W"]:
        """Depth in units of the cube: -1 its front, 1 its back and where nothing is known, as ``normalise_depth``."""
        return normalise_depth(self.depth_m, self.centre_m, 2 * self.half_m[:, None, None])[:, None]

    def foreground(self) -> Bool[Tensor, "B H W"]:
        """Pixels that were measured between the cube's front and back."""
        return foreground(self.depth_m, self.centre_m, 2 * self.half_m[:, None, None])

    def hidden(self) -> Bool[Tensor, "B H W"]:
        """Pixels measured in front of the cube: a surface there hides what is in the cube."""
        front_m = self.centre_m[:, 2] - self.half_m
        return (self.depth_m > 0) & (self.depth_m < front_m[:, None, None])

    def points(self, stride: int = 1) -> tuple[Float[Tensor, "B 3 h w"], Bool[Tensor, "B h w"]]:
        """Points of every ``stride``-th pixel in the view's space, and whether they lie within the cube's depth."""
        depth_m = self.depth_m[:, ::stride, ::stride]
        height, width = depth_m.shape[-2:]
        v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        uv_px = stride * torch.stack([u, v], dim=-1).reshape(1, -1, 2).to(depth_m)
        rays = self.camera.rays(uv_px.expand(len(self), -1, -1))
        seen = self.in_cubes(rays * depth_m.flatten(1)[..., None])
        return seen.transpose(1, 2).unflatten(2, (height, width)), self.foreground()[:, ::stride, ::stride]

    def warped(self, T_view_crop: Float[Tensor, "B 3 3"], shift: Float[Tensor, "B"] | None = None) -> "CubeViews":
        """The views through pixel maps that rotate, scale, shift or mirror; the cubes follow the pixels.

        ``shift`` moves the cubes' centres along the optical axis, in halves of the cube. Each pixel takes the nearest
        depth, since a mean over an edge is no depth. Raises ``ValueError`` for a map that shears.
        """
        A = T_view_crop[:, :2, :2]
        scale = torch.linalg.det(A).abs().sqrt()
        if not torch.allclose(A @ A.transpose(1, 2), scale[:, None, None] ** 2 * torch.eye(2).to(A), atol=1e-4):
            raise ValueError("a cube can't be sheared: give maps that rotate, scale, shift or mirror")
        height, width = self.depth_m.shape[-2:]
        pixels = torch.stack([self.depth_m, self.inside.to(self.depth_m)], dim=1)
        depth_m, inside = warp_images(
            pixels, T_view_crop, height, width, interpolation="nearest", antialias=False
        ).unbind(1)
        camera = self.camera.warped(T_view_crop)
        middle = depth_m.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(self), 1, 2)
        z_m, half_m = self.centre_m[:, 2], self.half_m / scale
        if shift is not None:
            # The picture is the cube's cross-section at its centre, which is larger farther away.
            farther = 1 + shift * half_m / z_m
            z_m, half_m = z_m * farther, half_m * farther
        centre_m = camera.rays(middle)[:, 0] * z_m[:, None]
        return CubeViews(depth_m, camera, centre_m, half_m, self.T_world_cam, inside > 0)

    def with_depth(self, depth_m: Float[Tensor, "B H W"]) -> "CubeViews":
        """The same views with another depth."""
        return replace(self, depth_m=depth_m)

    def to_candidates(self, sets: int, candidate: Int[Tensor, "S"]) -> Float[Tensor, "B 4 4"]:
        """T_candidate_view of set-major views: from each one's space to that of one of its set, its ``candidate``."""
        views = len(self) // sets
        chosen = torch.arange(sets, device=candidate.device) * views + candidate
        return self.world_to_cube[chosen].repeat_interleave(views, 0) @ self.cube_to_world

    def take(self, index: Tensor) -> "CubeViews":
        """The views at the given positions, in that order."""
        lens = self.camera.distortion
        camera = Camera(self.camera.K[index], None if lens is None else lens[index])
        parts = (value[index] for value in (self.centre_m, self.half_m, self.T_world_cam, self.inside))
        return CubeViews(self.depth_m[index], camera, *parts)
