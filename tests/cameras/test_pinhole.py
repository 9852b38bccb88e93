import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.cameras.pinhole import Camera, apply_affine, distort, undistort
from posebridge.errors import InputError

LENSES = {
    "none": [0.0, 0.0, 0.0, 0.0, 0.0],
    "human3.6m": [-0.2098, 0.2559, -0.00089, -0.00142, -0.0076],  # the size of its published coefficients
    "barrel": [-0.3, 0.12, 0.001, -0.002, -0.02],
    "pincushion": [0.2, 0.05, -0.002, 0.001, 0.01],
}


def points(seed: int = 0, count: int = 50) -> np.ndarray:
    """Points within 27 degrees of the axis, 0.3 m to 3 m away."""
    generator = np.random.default_rng(seed)
    depth = generator.uniform(0.3, 3, (count, 1))
    return np.concatenate([generator.uniform(-0.5, 0.5, (count, 2)) * depth, depth], axis=1)


def lens(name: str, batch: int = 1) -> torch.Tensor:
    return torch.tensor(LENSES[name], dtype=torch.float64).expand(batch, 5)


def intrinsics(fx: float = 600.0, fy: float = 610.0, cx: float = 320.0, cy: float = 241.5) -> torch.Tensor:
    return torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=torch.float64)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("fy", [610.0, -587.07])  # NYU's focal length is negative
def test_projection_agrees_with_opencv(name, fy):
    xyz, K = points(), intrinsics(fy=fy)
    expected, _ = cv2.projectPoints(xyz, np.zeros(3), np.zeros(3), K[0].numpy(), np.array(LENSES[name]))
    uv = Camera(K, lens(name)).project(torch.from_numpy(xyz)[None])
    np.testing.assert_allclose(uv[0].numpy(), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("name", LENSES)
def test_rays_invert_the_projection(name):
    xyz = torch.from_numpy(points(1))[None]
    camera = Camera(intrinsics(), lens(name))
    rays = camera.rays(camera.project(xyz))
    torch.testing.assert_close(rays, xyz / xyz[..., 2:], atol=1e-7, rtol=0)
    torch.testing.assert_close(camera.unproject(camera.project(xyz), xyz[..., 2]), xyz, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", LENSES)
def test_undistortion_undoes_what_opencv_distorts(name):
    xyz = points(2)
    seen, _ = cv2.projectPoints(xyz, np.zeros(3), np.zeros(3), np.eye(3), np.array(LENSES[name]))
    rays = undistort(torch.from_numpy(seen[:, 0])[None], lens(name))
    np.testing.assert_allclose(rays[0].numpy(), xyz[:, :2] / xyz[:, 2:], atol=1e-7)
    np.testing.assert_allclose(distort(rays, lens(name))[0].numpy(), seen[:, 0], atol=1e-7)


def test_each_camera_of_a_batch_has_its_own_distortion():
    xyz = torch.from_numpy(np.stack([points(3), points(4)]))
    both = Camera(torch.cat([intrinsics(), intrinsics(fx=300)]), torch.cat([lens("barrel"), lens("none")]))
    uv = both.project(xyz)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1].project(xyz[i : i + 1]), uv[i : i + 1])
    assert len(both) == 2


@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 4),
    shift=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    mirrored=st.booleans(),
    name=st.sampled_from(sorted(LENSES)),
)
@settings(max_examples=50, deadline=None)
def test_a_warped_camera_projects_to_warped_pixels(angle, scale, shift, mirrored, name):
    xyz = torch.from_numpy(points(5))[None]
    camera = Camera(intrinsics(), lens(name))
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    flip = -1 if mirrored else 1
    T = torch.tensor([[[flip * c, -s, shift[0]], [flip * s, c, shift[1]], [0, 0, 1]]], dtype=torch.float64)
    warped = camera.warped(T)
    uv = warped.project(xyz)
    expected = cv2.transform(camera.project(xyz).numpy().reshape(-1, 1, 2), T[0, :2].numpy())[:, 0]
    np.testing.assert_allclose(uv[0].numpy(), expected, atol=1e-8)
    # The rays do not depend on the transform of the image.
    torch.testing.assert_close(warped.rays(uv), xyz / xyz[..., 2:], atol=1e-6, rtol=0)


def test_mixed_precision_keeps_pixels_exact():
    xyz = torch.from_numpy(points(7))[None].float()
    camera = Camera(intrinsics().float(), lens("barrel").float())
    T = torch.tensor([[[0.21, 0.03, 17.3], [-0.03, 0.21, -5.1], [0, 0, 1]]])
    expected = camera.warped(T).project(xyz)
    with torch.autocast("cpu", torch.bfloat16):
        uv = camera.warped(T).project(xyz)
        rays = camera.warped(T).rays(uv)
    torch.testing.assert_close(uv, expected)
    torch.testing.assert_close(rays, xyz / xyz[..., 2:], atol=1e-5, rtol=0)


def test_resizing_an_image_keeps_the_field_of_view():
    camera = Camera(intrinsics())
    s = 0.25
    T = torch.tensor([[[s, 0, 0.5 * s - 0.5], [0, s, 0.5 * s - 0.5], [0, 0, 1]]])  # u' = s (u + 0.5) - 0.5
    border = torch.tensor([[[-0.5, -0.5], [639.5, 479.5]]], dtype=torch.float64)
    small_border = torch.tensor([[[-0.5, -0.5], [159.5, 119.5]]], dtype=torch.float64)
    torch.testing.assert_close(apply_affine(T.double(), border), small_border)
    torch.testing.assert_close(camera.warped(T).rays(small_border), camera.rays(border))


def test_projection_gradient_by_finite_differences():
    xyz = torch.from_numpy(points(6, 4))[None].requires_grad_()
    camera = Camera(intrinsics(), lens("barrel"))
    assert torch.autograd.gradcheck(camera.project, xyz)
    assert torch.autograd.gradcheck(camera.rays, camera.project(xyz).detach().requires_grad_())


def test_from_focal_repeats_one_pinhole():
    camera = Camera.from_focal(588.03, -587.07, 320, 240, batch=3)
    assert len(camera) == 3
    uv = camera.project(torch.tensor([[[0.0, 0.0, 1.0], [0.1, 0.1, 1.0]]]).expand(3, 2, 3))
    torch.testing.assert_close(uv[2], torch.tensor([[320.0, 240.0], [378.803, 181.293]]))


@pytest.mark.parametrize("focal", [(0.0, 600.0), (600.0, 0.0), (float("nan"), 600.0), (600.0, float("inf"))])
def test_impossible_focal_lengths_are_refused(focal):
    with pytest.raises(InputError, match="intrinsics"):
        Camera.from_focal(*focal, 320, 240)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("mirrored", [True, False])
def test_unmirrored_camera_projects_the_mirrored_scene(name, mirrored):
    """Pixels by OpenCV, of points whose x is negated where the image is a mirror image."""
    xyz = torch.from_numpy(points(8))[None]
    angle, side = 0.7, -1.0 if mirrored else 1.0
    c, s = 0.4 * math.cos(angle), 0.4 * math.sin(angle)
    T = torch.tensor([[[side * c, -s, 17.0], [side * s, c, -5.0], [0, 0, 1]]], dtype=torch.float64)
    camera = Camera(intrinsics(), lens(name)).warped(T)
    unmirrored = camera.unmirrored()
    assert torch.linalg.det(unmirrored.K) > 0
    assert (torch.linalg.det(camera.K) < 0) == mirrored
    seen, _ = cv2.projectPoints(
        xyz[0].numpy(), np.zeros(3), np.zeros(3), intrinsics()[0].numpy(), np.array(LENSES[name])
    )
    expected = cv2.transform(seen, T[0, :2].numpy())[:, 0]
    world = xyz * torch.tensor([side, 1.0, 1.0])
    np.testing.assert_allclose(unmirrored.project(world)[0].numpy(), expected, atol=1e-8)
    torch.testing.assert_close(unmirrored.rays(camera.project(xyz)), world / xyz[..., 2:], atol=1e-6, rtol=0)


def test_cameras_of_a_batch_are_unmirrored_one_by_one():
    K = torch.cat([intrinsics(), intrinsics(fx=-600.0), intrinsics(fy=-610.0)])
    unmirrored = Camera(K, lens("barrel", 3)).unmirrored()
    assert unmirrored.K[:, 0, 0].tolist() == [600, 600, -600]
    assert unmirrored.K[:, 0, 2].tolist() == [320] * 3
    assert unmirrored.distortion is not None
    torch.testing.assert_close(unmirrored.distortion[0], lens("barrel")[0])
    assert unmirrored.distortion[1:, 3].tolist() == [0.002, 0.002]
    twice = unmirrored.unmirrored()
    assert torch.equal(twice.K, unmirrored.K)
    assert Camera(K).unmirrored().distortion is None
