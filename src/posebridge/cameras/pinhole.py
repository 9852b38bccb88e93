"""The pinhole camera, with optional Brown-Conrady lens distortion.

Pixel convention, everywhere in posebridge: the centre of the top-left pixel is (0, 0), so an image of width W
covers the interval [-0.5, W - 0.5]. Camera frame: x right, y down, z forward, metres.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.errors import InputError

_UNDISTORT_ITERATIONS = 20


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a batch of cameras.

    ``K`` may be any invertible 3x3 pixel map with last row (0, 0, 1). It includes crops, flips and in-plane rotations
    of the image, so joints stay in the frame of the original camera.
    """

    K: Float[Tensor, "B 3 3"]
    distortion: Float[Tensor, "B 5"] | None = None  # k1 k2 p1 p2 k3, in OpenCV's order

    @classmethod
    def from_focal(
        cls, fx: float, fy: float, cx: float, cy: float, batch: int = 1, distortion: Tensor | None = None
    ) -> "Camera":
        """One pinhole camera, in pixels, repeated ``batch`` times.

        Raises ``InputError`` for a focal length that is zero or not finite. A negative ``fy`` is valid (NYU has one).
        """
        values = torch.tensor([fx, fy, cx, cy], dtype=torch.float32)
        if not torch.isfinite(values).all() or fx == 0 or fy == 0:
            raise InputError(
                f"intrinsics fx={fx} fy={fy} cx={cx} cy={cy} are impossible: give finite, non-zero focal lengths"
            )
        K = torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        return cls(K.expand(batch, 3, 3).clone(), distortion)

    def __len__(self) -> int:
        return self.K.shape[0]

    def __getitem__(self, index) -> "Camera":
        return Camera(self.K[index], None if self.distortion is None else self.distortion[index])

    def to(self, device: torch.device | str) -> "Camera":
        """The same cameras on another device."""
        return Camera(self.K.to(device), None if self.distortion is None else self.distortion.to(device))

    def project(self, points_m: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 2"]:
        """Pixels of points in the camera frame; not meaningful for points at or behind the camera."""
        rays = points_m[..., :2] / points_m[..., 2:]
        if self.distortion is not None:
            rays = distort(rays, self.distortion)
        return apply_affine(self.K, rays)

    def rays(self, uv_px: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 3"]:
        """Directions (x/z, y/z, 1) through pixels; the inverse of ``project`` up to depth."""
        rays = apply_affine(inverse_map(self.K), uv_px)
        if self.distortion is not None:
            rays = undistort(rays, self.distortion)
        return torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)

    def unproject(self, uv_px: Float[Tensor, "B N 2"], depth_m: Float[Tensor, "B N"]) -> Float[Tensor, "B N 3"]:
        """Points in the camera frame from pixels and depth along z."""
        return self.rays(uv_px) * depth_m[..., None]

    def warped(self, T_new_old: Float[Tensor, "B 3 3"]) -> "Camera":
        """The camera of the image after the pixel map ``T_new_old`` (a crop, flip, rotation or any affine map)."""
        return replace(self, K=(T_new_old.to(self.K)[:, :, :, None] * self.K[:, None]).sum(dim=2))

    def unmirrored(self) -> "Camera":
        """Cameras without mirroring, for a world mirrored at x = 0: x is negated if ``K`` mirrors."""
        a, b, c, d = self.K[:, :2, :2].flatten(1).unbind(1)
        side = torch.where(a * d - b * c < 0, -1.0, 1.0).to(self.K)
        K = self.K * torch.stack([side, torch.ones_like(side), torch.ones_like(side)], dim=-1)[:, None]
        if self.distortion is None:
            return Camera(K)
        # Of k1 k2 p1 p2 k3, only p2 changes its sign in a mirrored image.
        return Camera(
            K,
            torch.cat([self.distortion[:, :3], side[:, None] * self.distortion[:, 3:4], self.distortion[:, 4:]], dim=1),
        )


def apply_affine(T: Float[Tensor, "B 3 3"], uv: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
    """Apply homogeneous 2D maps with last row (0, 0, 1) to points.

    Not ``@``, here and in ``Camera.warped``: autocast would round pixels to half precision.
    """
    return (T[:, None, :2, :2] * uv[:, :, None]).sum(dim=-1) + T[:, None, :2, 2]


def distort(rays: Float[Tensor, "B N 2"], coefficients: Float[Tensor, "B 5"]) -> Float[Tensor, "B N 2"]:
    """Brown-Conrady distortion of normalised coordinates; coefficients k1 k2 p1 p2 k3."""
    k1, k2, p1, p2, k3 = (c[:, None] for c in coefficients.unbind(-1))
    x, y = rays.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        dim=-1,
    )


def undistort(distorted: Float[Tensor, "B N 2"], coefficients: Float[Tensor, "B 5"]) -> Float[Tensor, "B N 2"]:
    """Inverse of ``distort`` by fixed-point iteration (converges for the mild lenses of the datasets)."""
    rays = distorted
    for _ in range(_UNDISTORT_ITERATIONS):
        rays = rays + (distorted - distort(rays, coefficients))
    return rays
