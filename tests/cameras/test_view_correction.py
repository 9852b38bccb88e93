"""View correction, against projection."""

import math

import pytest
import roma
import torch
from torch import Tensor

from posebridge.cameras.crop import affine_map, flip_map
from posebridge.cameras.pinhole import Camera
from posebridge.cameras.view_correction import from_view, to_view, view_axes
from posebridge.data.augment import GeometryConfig, draw_views

SIDE, FOCAL = 64, 500.0
MIDDLE = (SIDE - 1) / 2


def crop_cameras(*centres_px: tuple[float, float], scale: float = 0.5, mirror: bool = False) -> Camera:
    """Cameras of crops around pixels of an image of 640 px, whose principal point is its middle."""
    camera = Camera.from_focal(FOCAL, FOCAL, 319.5, 319.5, batch=len(centres_px))
    linear = (scale * torch.eye(2)).repeat(len(centres_px), 1, 1)
    T = affine_map(linear, MIDDLE - scale * torch.tensor(centres_px))
    camera = camera.warped(T)
    camera = camera.warped(flip_map(SIDE).expand(len(centres_px), 3, 3)) if mirror else camera
    return Camera(camera.K.double())


CENTRES = ((319.5, 319.5), (120.0, 400.0), (600.0, 60.0))
Z_AXIS = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_middle_of_the_crop_is_on_the_optical_axis(mirror):
    camera = crop_cameras(*CENTRES, mirror=mirror)
    T = view_axes(camera, SIDE, SIDE)
    seen = camera.project(from_view(Z_AXIS.expand(3, 1, 3), T))
    torch.testing.assert_close(seen, torch.full_like(seen, MIDDLE))


@pytest.mark.parametrize("corrected", [False, True])
def test_views_are_turned_and_mirrored_as_their_crops(corrected):
    for mirror, side in ((False, 1.0), (True, -1.0)):
        T = view_axes(crop_cameras(*CENTRES, mirror=mirror), SIDE, SIDE, corrected)
        torch.testing.assert_close(T @ T.transpose(1, 2), torch.eye(3, dtype=T.dtype).expand(3, 3, 3))
        torch.testing.assert_close(torch.linalg.det(T), torch.full((3,), side, dtype=T.dtype))
    points = torch.randn(3, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(from_view(to_view(points, T), T), points)


def test_crops_in_the_middle_of_an_image_need_no_correction():
    T = view_axes(crop_cameras(CENTRES[0]), SIDE, SIDE)
    torch.testing.assert_close(T[0], torch.eye(3, dtype=T.dtype), atol=1e-6, rtol=0)


def picture_of_small_hands(camera: Camera, T: Tensor) -> Tensor:
    """Jacobian (B, 2, 2) of pixels with respect to x and y of the view, at unit distance, by central differences."""
    step = 1e-4
    moved = []
    for axis in range(2):
        offset = torch.zeros(1, 1, 3, dtype=T.dtype)
        offset[..., axis] = step
        ends = [camera.project(from_view((Z_AXIS + s * offset).expand(len(T), 1, 3), T))[:, 0] for s in (1, -1)]
        moved.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(moved, dim=2)


def test_a_small_hand_has_one_picture_wherever_it_is():
    """A pinhole image stretches what is seen under the angle a by 1 / cos a, and by 1 / cos^2 a along the radius.

    Nothing else differs between crops: the picture isn't turned or sheared. Without correction, it is.
    """
    camera = crop_cameras(*CENTRES)
    T = view_axes(camera, SIDE, SIDE)
    jacobian = picture_of_small_hands(camera, T) / (0.5 * FOCAL)
    torch.testing.assert_close(jacobian, jacobian.transpose(1, 2), atol=1e-6, rtol=0)
    for found, centre in zip(jacobian, CENTRES, strict=True):
        angle = math.atan(math.dist(centre, CENTRES[0]) / FOCAL)
        expected = torch.tensor([1 / math.cos(angle), 1 / math.cos(angle) ** 2], dtype=T.dtype)
        torch.testing.assert_close(torch.linalg.eigvalsh(found), expected, rtol=1e-5, atol=0)


def test_without_correction_depth_moves_pixels():
    """Points behind one another in the view have one pixel; in the camera's frame they have different ones."""
    camera = crop_cameras(*CENTRES[1:])
    ahead = camera.rays(torch.full((2, 1, 2), MIDDLE, dtype=torch.float64))
    moved_px = {}
    for corrected in (True, False):
        T = view_axes(camera, SIDE, SIDE, corrected)
        behind = ahead + 0.05 * from_view(Z_AXIS.expand(2, 1, 3), T)
        moved_px[corrected] = (camera.project(behind) - camera.project(ahead)).norm(dim=-1)
    assert moved_px[True].max() < 1e-4
    assert moved_px[False].min() > 4


def test_turned_crops_turn_their_view_about_the_optical_axis():
    camera = crop_cameras(*CENTRES)
    T = view_axes(camera, SIDE, SIDE)
    angle = torch.tensor([0.3, -2.0, 3.1], dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    middle = torch.full((3, 2), MIDDLE, dtype=torch.float64)
    T_view_crop = affine_map(turn, middle - (turn @ middle[..., None])[..., 0])
    about_axis = roma.rotvec_to_rotmat(angle[:, None] * Z_AXIS[0])
    torch.testing.assert_close(view_axes(camera.warped(T_view_crop), SIDE, SIDE), about_axis @ T)


def test_augmented_crops_keep_the_middle_on_the_axis():
    camera = crop_cameras(*CENTRES, mirror=True)
    config = GeometryConfig(rotation_deg=180, shear_deg=0, translation=20 / 256, scale=(1.0, 1.2), flip_probability=0.5)
    for seed in range(5):
        views = draw_views(config, 3, SIDE, torch.Generator().manual_seed(seed)).double()
        warped = camera.warped(views)
        T = view_axes(warped, SIDE, SIDE)
        seen = warped.project(from_view(Z_AXIS.expand(3, 1, 3), T))
        torch.testing.assert_close(seen, torch.full_like(seen, MIDDLE))
        right = picture_of_small_hands(warped, T)
        assert (torch.diagonal(right, dim1=1, dim2=2) > 0).all()  # x of the view is to the right, y down


def test_distorted_lenses():
    camera = crop_cameras(*CENTRES)
    distorted = Camera(camera.K, torch.tensor([[0.1, -0.02, 0.001, 0.002, 0.0]], dtype=torch.float64).expand(3, 5))
    T = view_axes(distorted, SIDE, SIDE)
    seen = distorted.project(from_view(Z_AXIS.expand(3, 1, 3), T))
    torch.testing.assert_close(seen, torch.full_like(seen, MIDDLE), atol=1e-4, rtol=0)
