"""Geometric augmentation of a batch: image, camera and labels are warped together.

A view is a pixel map ``T_view_crop`` of the crop onto itself, so views have the size of their crops. Warps are those of
``cameras.crop``: bilinear, zero outside, without anti-aliasing, since views shrink by two at the most. Kornia's
``warp_affine`` with ``align_corners=True`` gives the same picture; with False it would shift it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from posebridge.cameras.crop import warp_images
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import BatchT, LabelledBatch
from posebridge.draw import chance, uniform
from posebridge.errors import InputError


@dataclass(frozen=True)
class GeometryConfig:
    """How far a view may depart from its crop. Every quantity is uniform in its range."""

    rotation_deg: float = 180.0  # in [-r, r]
    shear_deg: float = 30.0  # in [-s, s], along the image's rows before the rotation
    translation: float = 0.05  # in [-t, t] of the side, in either direction
    scale: tuple[float, float] = (0.6, 1.3)
    flip_probability: float = 0.0

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"augmentation scale {self.scale} is not a range: give 0 < smallest <= largest")
        if not 0 <= self.shear_deg < 90:
            raise InputError(f"augmentation shear_deg={self.shear_deg} is impossible: give 0 <= shear < 90")
        if not 0 <= self.flip_probability <= 1:
            raise InputError(f"flip_probability={self.flip_probability} is no probability: give a number in [0, 1]")


HAND = GeometryConfig()  # UniFrame, hands
BODY = GeometryConfig(rotation_deg=60.0, flip_probability=0.5)  # UniFrame, bodies
MILD = GeometryConfig(rotation_deg=30.0, shear_deg=10.0, translation=0.05, scale=(0.8, 1.25))
NONE = GeometryConfig(rotation_deg=0.0, shear_deg=0.0, translation=0.0, scale=(1.0, 1.0))


def draw_views(
    config: GeometryConfig, batch: int, size_px: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Float[Tensor, "B 3 3"]:
    """T_view_crop of ``batch`` square crops: flip, scale, shear, rotate about the image's centre, then translate.

    ``generator`` lives on the CPU, so that views are the same on every device.
    """
    angle = torch.deg2rad(uniform(generator, -config.rotation_deg, config.rotation_deg, batch))
    shear = torch.deg2rad(uniform(generator, -config.shear_deg, config.shear_deg, batch)).tan()
    scale = uniform(generator, *config.scale, batch)
    shift_px = uniform(generator, -config.translation, config.translation, batch, 2) * size_px
    scale_x = torch.where(chance(generator, config.flip_probability, batch), -scale, scale)
    cos, sin = angle.cos(), angle.sin()
    # rotation @ shear @ diag(scale_x, scale)
    rows = [cos * scale_x, (cos * shear - sin) * scale, sin * scale_x, (sin * shear + cos) * scale]
    T_view_crop = torch.eye(3).repeat(batch, 1, 1)
    T_view_crop[:, :2, :2] = torch.stack(rows, dim=1).unflatten(1, (2, 2))
    centre = torch.full((2,), (size_px - 1) / 2)
    T_view_crop[:, :2, 2] = centre - T_view_crop[:, :2, :2] @ centre + shift_px
    return T_view_crop.to(device)


def warp_batch(batch: BatchT, T_view_crop: Float[Tensor, "B 3 3"], mirror: Sequence[int] | None = None) -> BatchT:
    """The batch as seen through pixel maps: image, depth, masks, ``uv_px``, camera and ``T_crop_file``.

    Args:
        batch: crops of H x W pixels.
        T_view_crop: pixels of the crop to pixels of the view, which has the crop's size.
        mirror: ``Skeleton.mirror``. Where a map mirrors, left and right joints trade places.

    Metres stay in the frame of the camera that took the picture (``joints_m``, ``vertices_m``, values of depth).
    Depth and masks take the nearest pixel, since a mean over an edge or a hole is neither; outside the crop they are 0.
    ``valid`` is kept for joints that leave the view, because their position is still known. ``visible`` becomes False
    for them; ``inside`` selects them. A sample whose map is the identity is returned bit for bit.
    """
    warped = replace(
        batch,
        image=None if batch.image is None else _warp(batch.image, T_view_crop),
        depth_m=None if batch.depth_m is None else _warp_nearest(batch.depth_m, T_view_crop),
        camera=None if batch.camera is None else batch.camera.warped(T_view_crop),
        T_crop_file=None if batch.T_crop_file is None else T_view_crop.to(batch.T_crop_file) @ batch.T_crop_file,
    )
    if not isinstance(warped, LabelledBatch):
        return warped
    mirrored = _mirrors(T_view_crop)
    valid, visible, joints_m = (
        None if values is None else _trade_sides(values, mirrored, mirror)
        for values in (warped.valid, warped.visible, warped.joints_m)
    )
    uv_px = None if warped.uv_px is None else warp_points(warped.uv_px, T_view_crop, mirror)
    pixels = warped.image if warped.image is not None else warped.depth_m
    if uv_px is not None and visible is not None and pixels is not None:
        visible = visible & inside(uv_px, pixels.shape[-2], pixels.shape[-1])
    maps = {
        name: _warp_nearest(values, T_view_crop)
        for name in ("mask", "hand_mask", "depth_label_m")
        if (values := getattr(warped, name)) is not None
    }
    return replace(warped, uv_px=uv_px, valid=valid, visible=visible, joints_m=joints_m, **maps)


def inside(uv_px: Float[Tensor, "B J 2"], height_px: int, width_px: int) -> Bool[Tensor, "B J"]:
    """Which points lie on the image, that is in [-0.5, W - 0.5] x [-0.5, H - 0.5]; False for NaN."""
    return ((uv_px >= -0.5) & (uv_px <= uv_px.new_tensor([width_px - 0.5, height_px - 0.5]))).all(dim=-1)


def warp_points(
    uv_px: Float[Tensor, "B J 2"], T_view_crop: Float[Tensor, "B 3 3"], mirror: Sequence[int] | None = None
) -> Float[Tensor, "B J 2"]:
    """Joints of the crop to pixels of the view; ``mirror`` as in ``warp_batch``."""
    return _trade_sides(apply_affine(T_view_crop.to(uv_px), uv_px), _mirrors(T_view_crop), mirror)


def _warp(layers: Float[Tensor, "B C H W"], T_view_crop: Tensor, nearest: bool = False) -> Float[Tensor, "B C H W"]:
    height, width = layers.shape[-2:]
    interpolation = "nearest" if nearest else "linear"
    warped = warp_images(layers, T_view_crop.to(layers), height, width, interpolation=interpolation, antialias=False)
    return torch.where(_still(T_view_crop)[:, None], layers, warped)


def _warp_nearest(values: Shaped[Tensor, "B H W"], T_view_crop: Tensor) -> Shaped[Tensor, "B H W"]:
    """Depth or a mask; the type is kept."""
    layers = values if values.is_floating_point() else values.float()
    return _warp(layers[:, None], T_view_crop, nearest=True)[:, 0].to(values.dtype)


def _still(T_view_crop: Float[Tensor, "B 3 3"]) -> Bool[Tensor, "B 1 1"]:
    """Which maps are the identity."""
    same = T_view_crop == torch.eye(3, dtype=T_view_crop.dtype, device=T_view_crop.device)
    return same.all(dim=2).all(dim=1)[:, None, None]


def _mirrors(T_view_crop: Float[Tensor, "B 3 3"]) -> Bool[Tensor, "B"]:
    """Which maps turn left hands into right ones."""
    a, b, c, d = T_view_crop[:, :2, :2].flatten(1).unbind(1)
    return a * d - b * c < 0


def trade_sides(
    values: Shaped[Tensor, "B J *d"], T_view_crop: Float[Tensor, "B 3 3"], mirror: Sequence[int] | None
) -> Shaped[Tensor, "B J *d"]:
    """What belongs to joints of the crop in the order of the view, or the reverse; ``mirror`` as in ``warp_batch``."""
    return _trade_sides(values, _mirrors(T_view_crop), mirror)


def _trade_sides(values: Tensor, mirrored: Bool[Tensor, "B"], mirror: Sequence[int] | None) -> Tensor:
    """Swap left and right joints (dimension 1) of the mirrored samples."""
    if mirror is None or tuple(mirror) == tuple(range(values.shape[1])):
        return values
    other = values[:, torch.as_tensor(mirror, device=values.device)]
    return torch.where(mirrored.to(values.device).view(-1, *[1] * (values.ndim - 1)), other, values)
