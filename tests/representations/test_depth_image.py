"""Depth crops as images, and joints from cube coordinates."""

import torch

from posebridge.cameras.pinhole import Camera
from posebridge.representations.depth_image import depth_image
from posebridge.representations.pose25d import cube_depth, lift_from_cube

CUBE_M = 0.25
CENTRE_M = torch.tensor([[0.05, -0.02, 0.6]])


def test_near_is_bright_and_missing_is_black():
    depth_m = torch.tensor([[[0.475, 0.6], [0.725, 0.0]], [[0.4, 0.5375], [0.9, 0.6625]]])
    image = depth_image(depth_m, CENTRE_M.expand(2, 3), CUBE_M)
    expected = torch.tensor([[[1.0, 0.5], [0.0, 0.0]], [[1.0, 0.75], [0.0, 0.25]]])
    for channel in image.unbind(1):
        torch.testing.assert_close(channel, expected, atol=1e-6, rtol=0)


def test_joints_are_recovered_from_pixels_and_cube_depth():
    joints_m = CENTRE_M[:, None] + 0.1 * torch.randn(1, 21, 3, generator=torch.Generator().manual_seed(0))
    camera = Camera.from_focal(475.0, -470.0, 63.0, 61.0)
    depth = cube_depth(joints_m, CENTRE_M, CUBE_M)
    torch.testing.assert_close(depth[0, 3], (joints_m[0, 3, 2] - 0.6) / 0.125)
    back = lift_from_cube(camera.project(joints_m), depth, camera, CENTRE_M, CUBE_M)
    torch.testing.assert_close(back, joints_m, atol=1e-6, rtol=0)
