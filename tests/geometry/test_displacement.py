"""Fields on grids of any size: against analytic images, scipy, OpenCV and torch's interpolation."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from posebridge.cameras.crop import inverse_map, resize_map
from posebridge.geometry.displacement import affine_fields, blend_fields, identity_field, resize_field, sample_features

pytestmark = pytest.mark.usefixtures("one_thread")
LIKE = torch.zeros((), dtype=torch.float64)
A = torch.tensor([[[1.1, -0.2], [0.15, 0.9]], [[0.8, 0.3], [-0.4, 1.2]]], dtype=torch.float64)
t = torch.tensor([[-1.3, 0.4], [2.2, 1.7]], dtype=torch.float64)


def pictures(height: int, width: int, count: int = 2, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator, dtype=torch.float64)


def plane(height: int, width: int) -> Tensor:
    """An image whose value is 2 u - 3 v + 5 in its pixels."""
    u, v = identity_field(height, width, LIKE).unbind(-1)
    return (2 * u - 3 * v + 5)[None, None]


def affine_field(height: int, width: int) -> Tensor:
    return affine_fields(A[:, None], t[:, None], height, width)[:, 0]


def test_coarse_fields_against_a_loop():
    coarse = affine_fields(A[None], t[None], 3, 4)
    assert coarse.shape == (1, 2, 3, 4, 2)
    for j in range(2):
        for v in range(3):
            for u in range(4):
                expected = A[j] @ torch.tensor([u, v]).double() + t[j]
                torch.testing.assert_close(coarse[0, j, v, u], expected)
    still = affine_fields(torch.eye(2).double()[None, None], torch.zeros(1, 1, 2).double(), 3, 4)
    assert torch.equal(still[0, 0], identity_field(3, 4, LIKE))


def test_blending_is_a_weighted_mean_of_positions():
    coarse = affine_fields(A[None], t[None], 3, 4)
    share = pictures(3, 4, 1, 1)
    masks = torch.cat([share, 1 - share], dim=1)
    expected = share[0, 0, :, :, None] * coarse[0, 0] + (1 - share[0, 0, :, :, None]) * coarse[0, 1]
    torch.testing.assert_close(blend_fields(masks, coarse)[0], expected)
    assert torch.equal(
        blend_fields(masks.round(), coarse)[0], torch.where(share[0, 0, :, :, None] > 0.5, coarse[0, 0], coarse[0, 1])
    )


def test_the_identity_samples_every_pixel_itself():
    for height, width in ((6, 8), (5, 3), (1, 1)):
        picture = pictures(height, width)
        field = identity_field(height, width, LIKE).expand(2, -1, -1, -1)
        torch.testing.assert_close(sample_features(picture, field), picture)


def test_sampling_against_scipy():
    """Bilinear, and beyond the border the nearest pixel's value."""
    picture, field = pictures(9, 11), affine_field(7, 5)
    field = 2 * field - 3  # partly outside the image
    assert (field < 0).any()
    assert (field[..., 0] > 10).any()
    places = (field + 0.5) * torch.tensor(
        [11 / 5, 9 / 7], dtype=torch.float64
    ) - 0.5  # of the field's grid in the image
    found = sample_features(picture, field)
    for b in range(2):
        for c in range(3):
            u, v = places[b].numpy().transpose(2, 0, 1)
            expected = map_coordinates(picture[b, c].numpy(), [v, u], order=1, mode="nearest")
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-12)


def test_sampling_against_opencv():
    picture = pictures(24, 32, 1)
    matrix = torch.cat([A[0], t[0][:, None]], dim=1).numpy()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(
        picture[0].permute(1, 2, 0).numpy(), matrix, (32, 24), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    found = sample_features(picture, affine_field(24, 32)[:1])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=1 / 32)  # OpenCV rounds positions to 1/32 of a pixel


def test_a_shift_by_whole_pixels_is_a_slice():
    picture = pictures(10, 12)
    field = identity_field(10, 12, LIKE) + torch.tensor([3.0, -2.0])
    found = sample_features(picture, field.expand(2, -1, -1, -1))
    torch.testing.assert_close(found[:, :, 2:, :-3], picture[:, :, :-2, 3:])


@pytest.mark.parametrize(("height", "width"), [(12, 16), (24, 8), (3, 4), (5, 7)])
def test_a_field_of_another_grid_samples_the_same_places(height, width):
    """The value of a plane gives the sampled position: u' = s (u + 1/2) - 1/2, without a shift by half a pixel."""
    u, v = identity_field(height, width, LIKE).unbind(-1)
    expected = 2 * ((u + 0.5) * 16 / width - 0.5) - 3 * ((v + 0.5) * 12 / height - 0.5) + 5
    field = identity_field(height, width, LIKE)[None]
    on_the_picture = (expected[None, None] - sample_features(plane(12, 16), field)).abs()
    # Finer grids have pixels outside the middles of the border's pixels, where the border is continued.
    grown = slice(max(1, height // 12), -max(1, height // 12)), slice(max(1, width // 16), -max(1, width // 16))
    assert on_the_picture[0, 0][grown].max() < 1e-9


def test_the_grid_covers_half_a_pixel_beyond_the_middles():
    """Of 4 coarse pixels over 16 fine ones the first has its middle at 1.5, and the edges are at -0.5 and 15.5."""
    ramp = torch.arange(16.0).double().expand(1, 1, 4, 16)
    u = torch.tensor([-0.5, -0.375, 0.0, 1.0, 3.0, 3.375, 3.5]).double()
    field = torch.stack([u, torch.full_like(u, 1.5)], dim=-1)[None, None]
    # ``sample`` takes the field's own size for its grid's: a row of 4 at a time.
    found = [float(sample_features(ramp, field[:, :, [i]].expand(1, 4, 4, 2))[0, 0, 0, 0]) for i in range(len(u))]
    assert found == pytest.approx([0.0, 0.0, 1.5, 5.5, 13.5, 15.0, 15.0], abs=1e-9)


def test_resampling_is_torchs_own_between_grids():
    picture = pictures(8, 8)
    for size in ((4, 4), (16, 16), (5, 12)):
        field = identity_field(*size, LIKE).expand(2, -1, -1, -1)
        expected = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(sample_features(picture, field), expected)


@pytest.mark.parametrize("size", [(24, 40), (3, 5), (12, 5), (6, 10)])
def test_a_resized_shift_is_the_shift_in_the_other_pixels(size):
    shift = torch.tensor([1.3, -0.7]).double()
    field = (identity_field(6, 10, LIKE) + shift).expand(2, -1, -1, -1)
    expected = identity_field(*size, LIKE) + shift * torch.tensor([size[1] / 10, size[0] / 6], dtype=torch.float64)
    torch.testing.assert_close(resize_field(field, *size), expected.expand(2, -1, -1, -1))


def test_resized_affine_fields_map_the_other_pixels():
    T = torch.eye(3).double().repeat(2, 1, 1)
    T[:, :2, :2], T[:, :2, 2] = A, t
    scale = resize_map(4.0, 3.0).double()
    T_fine = scale @ T @ inverse_map(scale)
    expected = affine_fields(T_fine[:, None, :2, :2], T_fine[:, None, :2, 2], 24, 32)[:, 0]
    found = resize_field(affine_field(8, 8), 24, 32)
    inner = (found - expected)[:, 2:-2, 2:-2]
    assert inner.abs().max() < 1e-6
    # Resizing up and down by integer factors is the identity, except at the border.
    torch.testing.assert_close(
        resize_field(resize_field(affine_field(8, 8), 24, 24), 8, 8), affine_field(8, 8), atol=0.2, rtol=0
    )
    same = affine_field(8, 8)
    assert resize_field(same, 8, 8) is same


def test_resizing_and_sampling_commute_on_a_plane():
    """An image sampled by a field, and by the field resized to the image's grid."""
    field = affine_field(8, 8)[:1] * 0.3 + 2
    fine = resize_field(field, 32, 32)
    expected = F.interpolate(sample_features(plane(32, 32), field), (32, 32), mode="bilinear", align_corners=False)
    found = sample_features(plane(32, 32), fine)
    assert (found - expected)[..., 4:-4, 4:-4].abs().max() < 1e-6


def test_sampling_has_the_precision_of_the_field():
    """Half precision resolves a grid of 64 px to a quarter of a pixel only."""
    picture = pictures(64, 64, 1).float()
    field = (identity_field(64, 64, torch.zeros(())) + 0.37)[None]
    found = sample_features(picture.bfloat16(), field)
    assert found.dtype == torch.float32
    assert (found - sample_features(picture, field)).abs().max() < 1 / 128


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_positions_that_are_not_finite_give_nan(value):
    """Divergence then shows in the loss and does not crash."""
    picture, field = pictures(6, 8, 1).requires_grad_(), identity_field(6, 8, LIKE)[None].clone()
    field[0, 2, 3, 1] = value
    field.requires_grad_()
    found = sample_features(picture, field)
    assert found[0, :, 2, 3].isnan().all()
    elsewhere = torch.ones(6, 8, dtype=torch.bool)
    elsewhere[2, 3] = False
    torch.testing.assert_close(found[..., elsewhere], picture[..., elsewhere])
    for gradient in torch.autograd.grad(found.sum(), (picture, field)):
        assert gradient.isfinite().all()


def test_gradients_by_finite_differences():
    picture, field = pictures(4, 5, 1, 2).requires_grad_(), (affine_field(3, 4)[:1] * 0.9 + 0.03).requires_grad_()
    assert gradcheck(sample_features, (picture, field), eps=1e-6, atol=1e-6, rtol=1e-4)
    assert gradcheck(lambda f: resize_field(f, 5, 7), (field,))
    masks = pictures(3, 4, 1, 2).requires_grad_()
    matrices, shifts = A[None].clone().requires_grad_(), t[None].clone().requires_grad_()
    assert gradcheck(lambda m, x, y: blend_fields(m, affine_fields(x, y, 3, 4)), (masks, matrices, shifts))
