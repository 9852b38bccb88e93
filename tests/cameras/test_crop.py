import math
import tracemalloc

import cv2
import numpy as np
import pytest
import torch

from cameras.rotations import rotation_map
from posebridge.cameras import pixel_maps
from posebridge.cameras.crop import flip_map, inverse_map, resize_map, warp_images
from posebridge.cameras.pinhole import Camera, apply_affine
from posebridge.cameras.pixel_maps import apply_map, crop_map, full_image_box, warp_array

WIDTH, HEIGHT = 200, 150
DOTS = torch.tensor([[[60.3, 50.0], [100.0, 71.7], [90.5, 99.2], [70.0, 80.0]]], dtype=torch.float64)


def dot_image(dots: torch.Tensor, sigma: float = 2.5) -> list[np.ndarray]:
    """One float image per dot, so that centroids are measured separately."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return [np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2)).astype(np.float32) for x, y in dots[0].tolist()]


def centroid(image: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(u * image).sum(), (v * image).sum()]) / image.sum()


def crop_maps(boxes: list[list[float]], size_px: int, padding: float = 1.0, mirror: bool = False) -> torch.Tensor:
    """Maps of several boxes, in single precision as those of a batch."""
    return torch.stack([torch.from_numpy(crop_map(np.array(box), size_px, padding, mirror)).float() for box in boxes])


def smooth_images(batch: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(
        np.stack([cv2.GaussianBlur(rng.random((HEIGHT, WIDTH), np.float32), (0, 0), 2) for _ in range(batch)])
    )[:, None]


@pytest.mark.parametrize("size_px", [32, 64, 192])
@pytest.mark.parametrize("mirror", [False, True])
def test_joints_stay_on_their_dots(size_px, mirror):
    # A dot must lie completely in the crop for its centroid to be its centre.
    box = np.array([30.0, 20.0, 130.0, 125.0])
    T = pixel_maps.resize_map(0.9) @ crop_map(box, size_px, padding=1.1, mirror=mirror)
    expected = apply_map(T, DOTS[0].numpy())
    for dot, uv in zip(dot_image(DOTS), expected, strict=True):
        by_array = warp_array(dot, T, size_px, size_px)
        by_tensor = warp_images(torch.from_numpy(dot)[None, None], torch.from_numpy(T)[None].float(), size_px, size_px)
        assert np.abs(centroid(by_array) - uv).max() < 0.1
        assert np.abs(centroid(by_tensor[0, 0].numpy()) - uv).max() < 0.1


def test_crop_map_maps_the_box_to_the_crops_edges():
    box = np.array([10.0, 20.0, 50.0, 40.0])  # 40 x 20: the square is [10, 50] x [10, 50]
    corners = np.array([[10.0, 10.0], [50.0, 50.0]])
    np.testing.assert_allclose(apply_map(crop_map(box, 80), corners), [[-0.5, -0.5], [79.5, 79.5]])
    np.testing.assert_allclose(apply_map(crop_map(box, 80, mirror=True), corners), [[79.5, -0.5], [-0.5, 79.5]])


def test_whole_square_image_is_the_identity():
    np.testing.assert_array_equal(crop_map(full_image_box(64, 64), 64), np.eye(3))


def test_mirroring_is_a_flip_after_the_crop():
    box = np.array([10.0, 20.0, 57.0, 40.0])
    mirrored, plain = (crop_map(box, 48, 1.3, mirror) for mirror in (True, False))
    np.testing.assert_allclose(mirrored, pixel_maps.flip_map(48) @ plain, atol=1e-12)


def test_empty_box_is_refused():
    with pytest.raises(ValueError, match="empty"):
        crop_map(np.full(4, 5.0), 32)


def test_maps_of_frames_and_of_batches_are_alike():
    for single, batch in (
        (pixel_maps.flip_map(97), flip_map(97)),
        (pixel_maps.resize_map(0.3, 0.7), resize_map(0.3, 0.7)),
    ):
        np.testing.assert_allclose(batch[0].numpy(), single, atol=1e-6)


def test_flip_and_resize_agree_with_numpy_and_opencv():
    image = smooth_images(1)
    flipped = warp_images(image, flip_map(WIDTH), HEIGHT, WIDTH)
    torch.testing.assert_close(flipped, image.flip(3), atol=1e-4, rtol=0)
    smaller = warp_images(image, resize_map(0.25), HEIGHT // 4, WIDTH // 4)[..., :37, :]
    area = cv2.resize(image[0, 0, :148].numpy(), (WIDTH // 4, 37), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(smaller[0, 0].numpy(), area, atol=1e-4)


def test_rotation_agrees_with_opencv():
    angle, centre = 0.4, (70.0, 55.0)
    ours = rotation_map(torch.tensor([angle]), torch.tensor([centre]))
    theirs = cv2.getRotationMatrix2D(centre, -math.degrees(angle), 1.0)  # OpenCV counts anti-clockwise
    np.testing.assert_allclose(ours[0, :2].numpy(), theirs, atol=1e-5)


def test_inverse_map_is_the_matrix_inverse():
    box = [3.0, 4.0, 90.0, 70.0]
    crops = torch.cat([crop_maps([box] * 3, 64, mirror=True), crop_maps([box] * 2, 64)])
    T = rotation_map(torch.rand(5) * 6, torch.rand(5, 2) * 99) @ crops
    torch.testing.assert_close(inverse_map(T) @ T, torch.eye(3).expand(5, 3, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(inverse_map(T.double()), torch.linalg.inv(T.double()))


def test_warp_images_agrees_with_opencv():
    images = smooth_images(2)
    crops = crop_maps([[40.0, 30.0, 80.0, 75.0], [20.0, 10.0, 60.0, 50.0]], 64)
    T = rotation_map(torch.tensor([0.3, -1.0]), torch.tensor([[31.5, 31.5]] * 2)) @ crops
    ours = warp_images(images, T, 64, 64)
    for image, map_, warped in zip(images, T, ours, strict=True):
        theirs = cv2.warpAffine(image[0].numpy(), map_[:2].double().numpy(), (64, 64), flags=cv2.INTER_LINEAR)
        np.testing.assert_allclose(warped[0].numpy(), theirs, atol=4e-3)  # OpenCV may round to 1/32 px


@pytest.mark.parametrize("side", [50.0, 90.0, 145.0])
def test_shrinking_agrees_with_warp_array(side):
    image = torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    T = crop_maps([[2.0, 1.0, 2.0 + side, 1.0 + side]], 24, mirror=True)
    ours = warp_images(image, T, 24, 24)[0, 0].numpy()
    theirs = warp_array(image[0, 0].numpy(), T[0].double().numpy(), 24, 24)
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert abs(ours.mean() - 0.5) < 0.01
    assert ours.std() < 1.3 * 0.289 / (side / 24)  # a plain bilinear sample of noise would keep 0.19 of 0.289


def test_nearest_sampling_keeps_labels():
    labels = (torch.rand(1, 1, HEIGHT, WIDTH) * 5).floor()
    T = crop_maps([[0.0, 0.0, 140.0, 140.0]], 33)
    warped = warp_images(labels, T, 33, 33, interpolation="nearest")
    assert set(warped.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    by_array = warp_array(labels[0, 0].numpy(), T[0].double().numpy(), 33, 33, interpolation="nearest")
    assert (by_array == warped[0, 0].numpy()).mean() > 0.97  # ties between pixels are resolved differently


def test_warped_camera_projects_to_mapped_pixels():
    camera = Camera.from_focal(300.0, 310.0, 99.5, 74.5, batch=2)
    points = torch.tensor([[[0.05, -0.03, 0.5], [-0.1, 0.02, 0.7]]]).repeat(2, 1, 1)
    T = flip_map(64) @ rotation_map(torch.tensor([0.3, 2.0]), torch.tensor([[30.0, 20.0]] * 2)) @ resize_map(0.4, 0.5)
    torch.testing.assert_close(
        camera.warped(T).project(points), apply_affine(T, camera.project(points)), atol=1e-3, rtol=1e-5
    )


def test_warp_is_differentiable_in_the_map():
    image = torch.rand(1, 1, 20, 20, dtype=torch.float64)
    angle = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)

    def warp(turn):
        return warp_images(image, rotation_map(turn, image.new_tensor([[9.5, 9.5]])), 8, 8)

    assert torch.autograd.gradcheck(warp, (angle,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 30000), (30000, 1)])
def test_long_narrow_images_take_little_memory(shape):
    """The sum of the crop is what the image covers of it."""
    T = crop_map(full_image_box(shape[1], shape[0]), 128)
    tracemalloc.start()
    warped = warp_array(np.ones(shape, np.float32), T, 128, 128)
    assert tracemalloc.get_traced_memory()[1] < 2e8
    tracemalloc.stop()
    assert warped.sum() == pytest.approx(30000 * (128 / 30000) ** 2, rel=0.02)


def test_bands_agree_with_a_single_warp(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    turn = rotation_map(torch.tensor([0.4]), torch.tensor([[20.0, 30.0]]))[0].double().numpy()
    T = turn @ crop_map(full_image_box(300, 200), 40)
    single = warp_array(image, T, 40, 40)
    monkeypatch.setattr("posebridge.cameras.pixel_maps._FINE_PIXELS", 20_000)
    banded = warp_array(image, T, 40, 40)
    assert np.abs(banded.astype(int) - single).max() <= 2
