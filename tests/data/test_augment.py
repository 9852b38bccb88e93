"""Views against drawn dots, the camera's projection, OpenCV and Kornia."""

import cv2
import kornia
import numpy as np
import pytest
import torch

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data import augment
from posebridge.errors import InputError
from posebridge.representations.heatmaps import encode_gaussian
from posebridge.skeletons.skeleton import Skeleton

SIZE = 128


@pytest.fixture
def views() -> torch.Tensor:
    return augment.draw_views(augment.HAND, 16, SIZE, torch.Generator().manual_seed(3))


def _dots(uv: torch.Tensor, sigma: float, size: int = SIZE) -> torch.Tensor:
    return encode_gaussian(uv, size, size, sigma)[0]


def _centroid(maps: torch.Tensor) -> torch.Tensor:
    size = maps.shape[-1]
    grid = torch.arange(size, dtype=maps.dtype)
    mass = maps.sum(dim=(-1, -2))
    return torch.stack([(maps.sum(-2) * grid).sum(-1), (maps.sum(-1) * grid).sum(-1)], dim=-1) / mass[..., None]


def _batch(count: int = 16, joints: int = 5) -> LabelledBatch:
    generator = torch.Generator().manual_seed(0)
    joints_m = torch.rand(count, joints, 3, generator=generator) * 0.08 - 0.04 + torch.tensor([0.0, 0.0, 0.5])
    camera = Camera(torch.tensor([[240.0, 0, 63.5], [0, 240.0, 63.5], [0, 0, 1]]).repeat(count, 1, 1))
    uv_px = camera.project(joints_m)
    return LabelledBatch(
        image=_dots(uv_px[:, :3], 3.0).double(),
        key=tuple(map(str, range(count))),
        camera=camera,
        T_crop_file=torch.eye(3).repeat(count, 1, 1) * torch.tensor([0.5, 0.5, 1.0]),
        depth_label_m=torch.full((count, SIZE, SIZE), 0.5),
        uv_px=uv_px,
        valid=torch.ones(count, joints, dtype=torch.bool),
        visible=torch.ones(count, joints, dtype=torch.bool),
        joints_m=joints_m,
        mask=_dots(uv_px[:, :1], 6.0)[:, 0] > 0.3,
    )


def test_joints_match_drawn_dots_to_a_hundredth_of_a_pixel(views):
    batch = _batch()
    moved = augment.warp_batch(batch, views)
    whole = ((moved.uv_px[:, :3] > 20) & (moved.uv_px[:, :3] < SIZE - 21)).all(-1)
    assert whole.sum() > 20
    error = (_centroid(moved.image) - moved.uv_px[:, :3]).abs().amax(-1)
    assert error[whole].max() < 0.01


def test_the_camera_projects_onto_the_moved_joints(views):
    moved = augment.warp_batch(_batch(), views)
    assert torch.allclose(moved.camera.project(moved.joints_m), moved.uv_px, atol=1e-3)


def test_pixels_of_the_file_map_onto_the_view(views):
    batch = _batch()
    in_file = batch.uv_px * 2
    moved = augment.warp_batch(batch, views)
    homogeneous = torch.cat([in_file, torch.ones_like(in_file[..., :1])], dim=-1)
    through = torch.einsum("bij,bnj->bni", moved.T_crop_file, homogeneous)[..., :2]
    assert torch.allclose(through, moved.uv_px, atol=1e-3)


def test_images_agree_with_opencv_and_kornia(views):
    image = torch.rand(16, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    batch = UnlabelledBatch(image=image, key=("",) * 16)
    moved = augment.warp_batch(batch, views).image
    by_kornia = kornia.geometry.warp_affine(image, views[:, :2], (SIZE, SIZE), align_corners=True)
    assert (moved - by_kornia).abs().max() < 1e-3
    smooth = cv2.GaussianBlur(image[0].permute(1, 2, 0).numpy(), (0, 0), 3)
    by_opencv = cv2.warpAffine(smooth, views[0, :2].numpy(), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    ours = augment.warp_batch(UnlabelledBatch(torch.from_numpy(smooth).permute(2, 0, 1)[None], ("",)), views[:1]).image
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - by_opencv).max() < 0.02  # OpenCV rounds to 1/32 px


def test_masks_agree_with_opencv(views):
    batch = _batch()
    moved = augment.warp_batch(batch, views)
    for i in range(4):
        expected = cv2.warpAffine(batch.mask[i].numpy().astype(np.float32), views[i, :2].numpy(), (SIZE, SIZE)) > 0.5
        assert (moved.mask[i].numpy() != expected).mean() < 0.005


def test_pixel_labels_agree_with_opencv(views):
    """Nearest pixels, with integer pixel centres; OpenCV differs at ties and by rounding."""
    generator = torch.Generator().manual_seed(5)
    blocks = torch.rand(16, SIZE // 8, SIZE // 8, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    maps = {"mask": blocks > 0.4, "hand_mask": blocks > 0.7, "depth_label_m": 0.3 + 0.7 * blocks}
    batch = LabelledBatch(image=torch.rand(16, 3, SIZE, SIZE, generator=generator), key=("",) * 16, **maps)
    warped = augment.warp_batch(batch, views)
    for name, before in maps.items():
        after = getattr(warped, name)
        assert after.dtype == before.dtype
        for i in range(16):
            expected = cv2.warpAffine(
                before[i].numpy().astype(np.float32), views[i, :2].numpy(), (SIZE, SIZE), flags=cv2.INTER_NEAREST
            )
            assert (after[i].numpy().astype(np.float32) != expected).mean() < 0.015
    assert not (warped.hand_mask & ~warped.mask).any()


def test_pixel_labels_follow_known_maps():
    """A value per pixel, for a shift of one px to the right and a mirror image about the middle of the crop."""
    numbers = torch.arange(1.0, 26).view(1, 5, 5).repeat(2, 1, 1)
    batch = LabelledBatch(image=None, key=("", ""), depth_label_m=numbers, mask=numbers > 12)
    right, flip = torch.eye(3), torch.eye(3)
    right[0, 2] = 1.0
    flip[0] = torch.tensor([-1.0, 0.0, 4.0])
    warped = augment.warp_batch(batch, torch.stack([right, flip]))
    expected = torch.nn.functional.pad(numbers[0, :, :-1], (1, 0))
    assert torch.equal(warped.depth_label_m[0], expected)
    assert torch.equal(warped.mask[0], expected > 12)
    assert torch.equal(warped.depth_label_m[1], numbers[1].flip(-1))
    assert torch.equal(warped.mask[1], batch.mask[1].flip(-1))


def test_depth_is_never_interpolated():
    depth_m = torch.where(torch.rand(4, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) > 0.5, 0.4, 0.9)
    views = augment.draw_views(augment.HAND, 4, SIZE, torch.Generator().manual_seed(2))
    moved = augment.warp_batch(UnlabelledBatch(image=None, key=("",) * 4, depth_m=depth_m), views)
    values = torch.tensor([0.0, 0.4, 0.9])
    assert torch.isin(moved.depth_m, values).all()
    assert moved.image is None


def test_the_identity_is_bit_exact():
    for size in (64, 96, 100):
        maps = {
            "depth_label_m": torch.rand(2, size, size),
            "mask": torch.rand(2, size, size) > 0.5,
            "hand_mask": torch.rand(2, size, size) > 0.8,
        }
        batch = LabelledBatch(image=torch.rand(2, 3, size, size), key=("", ""), **maps)
        still = augment.draw_views(augment.NONE, 2, size, torch.Generator())
        warped = augment.warp_batch(batch, still)
        for name in ("image", *maps):
            assert torch.equal(getattr(warped, name), getattr(batch, name))
        depth = UnlabelledBatch(image=None, key=("", ""), depth_m=maps["depth_label_m"])
        assert torch.equal(augment.warp_batch(depth, still).depth_m, depth.depth_m)


def test_joints_outside_the_view_are_valid_but_not_visible():
    batch = _batch(1)
    away = torch.eye(3)[None].clone()
    away[:, 0, 2] = SIZE
    moved = augment.warp_batch(batch, away)
    assert moved.valid.all()
    assert not moved.visible.any()
    assert not augment.inside(moved.uv_px, SIZE, SIZE).any()
    assert augment.inside(torch.tensor([[[-0.5, 63.5], [63.6, 0.0], [float("nan"), 0.0]]]), 64, 64).tolist() == [
        [True, False, False]
    ]


def test_mirrored_bodies_swap_left_and_right():
    skeleton = Skeleton(
        name="three",
        joints=("root", "left", "right"),
        parent_of={"left": "root", "right": "root"},
        reference_bone=("root", "left"),
        mirror_of={"left": "right"},
    )
    batch = _batch(2, 3)
    flip = torch.tensor([[[-1.0, 0, SIZE - 1], [0, 1, 0], [0, 0, 1]], torch.eye(3).tolist()])
    moved = augment.warp_batch(batch, flip, skeleton.mirror)
    assert torch.equal(moved.uv_px[1], batch.uv_px[1])
    assert torch.equal(moved.joints_m[0, 1], batch.joints_m[0, 2])
    assert torch.allclose(moved.uv_px[0, 1, 0], SIZE - 1 - batch.uv_px[0, 2, 0])
    assert torch.allclose(moved.camera.project(moved.joints_m), moved.uv_px, atol=1e-3)


def test_sampled_transforms_fill_their_ranges():
    config = augment.GeometryConfig(
        rotation_deg=40, shear_deg=20, translation=0.1, scale=(0.5, 2.0), flip_probability=0.3
    )
    T = augment.draw_views(config, 4000, 65, torch.Generator().manual_seed(0)).double()
    linear = T[:, :2, :2]
    mirrored = torch.linalg.det(linear) < 0
    assert abs(mirrored.double().mean() - 0.3) < 0.03
    linear = torch.where(mirrored[:, None, None], linear * torch.tensor([-1.0, 1.0]), linear)
    scale = linear[:, :, 0].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    upright = torch.linalg.inv(torch.linalg.qr(linear)[0]) @ linear
    shear = torch.rad2deg(torch.atan(upright[:, 0, 1] / upright[:, 0, 0]))
    shift = (T[:, :2, :2] @ torch.full((2,), 32.0).double() + T[:, :2, 2] - 32) / 65
    for values, low, high in ((scale, 0.5, 2), (angle, -40, 40), (shear, -20, 20), (shift, -0.1, 0.1)):
        span = high - low
        assert low - 1e-4 <= values.min() < low + 0.02 * span
        assert high + 1e-4 >= values.max() > high - 0.02 * span


def test_views_depend_on_the_generator():
    first, again = (augment.draw_views(augment.HAND, 3, 64, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"shear_deg": 90.0}, {"flip_probability": 2.0}]
)
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(InputError):
        augment.GeometryConfig(**wrong)
