"""View correction: the frame of a camera that has the axes of a crop and looks at its centre.

A crop moves the hand to the middle of an image, so the same picture belongs to many poses in the camera's frame, each
seen under another angle. Poses and clouds in the frame of the crop's view have one picture (Li and Lee, CVPR 2019;
Sec. 5.4.1 of Yang's dissertation, 2022).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.pinhole import Camera


def view_axes(camera: Camera, height_px: int, width_px: int, corrected: bool = True) -> Float[Tensor, "B 3 3"]:
    """T_view_cam: orthogonal matrices from the frame of the camera to that of a crop's view.

    The axes of the view are those of the crop: x to the right, y down. A crop that shows a mirror image has a matrix
    of determinant -1. With ``corrected``, the optical axis goes through the middle of the crop. The rotation to it is
    the smallest one, so a crop that is turned about its middle turns its view about the optical axis alone.

    Args:
        camera: intrinsics of the crop, after every warp of it.
        height_px: of the crop.
        width_px: of the crop.
        corrected: False keeps the optical axis of the camera.
    """
    axes = _image_axes(camera.K[:, :2, :2])
    if not corrected:
        return axes
    middle = camera.K.new_tensor([[[(width_px - 1) / 2, (height_px - 1) / 2]]])
    ray = camera.rays(middle.expand(camera.K.shape[0], 1, 2))[:, 0]  # not len(), which an export to ONNX would fix
    return _turn_to_axis((axes * ray[:, None]).sum(dim=2)) @ axes


def to_view(points: Float[Tensor, "B N 3"], T_view_cam: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B N 3"]:
    """Points or differences of points in the camera's frame, in the frame of the view."""
    return (T_view_cam[:, None] * points[:, :, None]).sum(dim=-1)


def from_view(points: Float[Tensor, "B N 3"], T_view_cam: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B N 3"]:
    """The inverse of ``to_view``."""
    return to_view(points, T_view_cam.transpose(1, 2))


def _image_axes(linear: Float[Tensor, "B 2 2"]) -> Float[Tensor, "B 3 3"]:
    """The orthogonal matrix next to a 2x2 map (its polar factor, in closed form), as one of space that keeps z."""
    a, b, c, d = linear.flatten(1).unbind(1)
    side = torch.where(a * d - b * c < 0, -1.0, 1.0).to(linear)
    cos, sin = a + side * d, c - side * b
    norm = (cos.square() + sin.square()).sqrt()
    cos, sin, zero = cos / norm, sin / norm, torch.zeros_like(cos)
    rows = [cos, -side * sin, zero, sin, side * cos, zero, zero, zero, torch.ones_like(cos)]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def _turn_to_axis(ray: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """The smallest rotation of rays before the camera (z > 0) to the optical axis (Rodrigues' formula)."""
    x, y, z = (ray / ray.square().sum(dim=1, keepdim=True).sqrt()).unbind(1)
    k = 1 / (1 + z)
    rows = [1 - k * x * x, -k * x * y, -x, -k * x * y, 1 - k * y * y, -y, x, y, z]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))
