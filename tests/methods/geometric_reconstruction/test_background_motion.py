"""Background motion: from the transforms of the crops, and as a predicted affine map."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from methods.geometric_reconstruction.drawn_figures import SIDE, TINY, FixedEstimator, crop_map, figure, reconstructor
from posebridge.cameras.crop import warp_images
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.geometry.displacement import identity_field
from posebridge.methods.geometric_reconstruction.frame_reconstructor import still_camera_transform

pytestmark = pytest.mark.usefixtures("one_thread")


def crops(T_base: Tensor, T_driving: Tensor, scene: Tensor) -> tuple[UnlabelledBatch, UnlabelledBatch]:
    """Two crops of one image of a static scene, 64 px each."""

    def crop(T_crop_file: Tensor) -> UnlabelledBatch:
        image = warp_images(scene, T_crop_file, SIDE, SIDE, antialias=False)
        return UnlabelledBatch(image, ("a",), T_crop_file=T_crop_file.double())

    return crop(T_base), crop(T_driving)


@pytest.mark.parametrize(
    "following",
    [
        (crop_map(10, 5), crop_map(16, 2)),
        (crop_map(10, 5), crop_map(12.5, 7.25)),
        (crop_map(10, 5), crop_map(20, 18, 1.2)),
        (crop_map(20, 18, 1.3), crop_map(10, 5)),
        (crop_map(10, 5), crop_map(16, 20, 1.1, 0.2)),
        (crop_map(10, 5, mirror=True), crop_map(14, 2, mirror=True)),
    ],
    ids=["by whole pixels", "by parts of a pixel", "closer", "away", "turned", "mirrored"],
)
@pytest.mark.parametrize("stride", [1, 4])
def test_background_follows_the_transforms_of_the_crops(following, stride):
    """All pixels are background, and smooth, as both crops are resampled from one image."""
    u, v = identity_field(120, 120, torch.zeros(())).unbind(-1)
    scene = 0.5 + 0.2 * torch.stack([torch.sin(0.2 * u), torch.cos(0.15 * v), torch.sin(0.1 * (u + v))])[None]
    base, driving = crops(*following, scene)
    T = still_camera_transform(base, driving)
    expected = following[0].double() @ torch.linalg.inv(following[1].double())
    torch.testing.assert_close(T.double(), expected, atol=1e-4, rtol=0)
    uv, _ = figure()
    drawn = reconstructor(estimator=FixedEstimator(background_level=2.0), grid_stride=stride)(base.rgb, uv, uv, T)
    pixels = identity_field(SIDE, SIDE, T).view(1, -1, 2)
    shown = apply_affine(T, pixels).view(SIDE, SIDE, 2)
    # Half a pixel of the grid at the border is extrapolated.
    margin = 0.5 if stride == 1 else 2.5
    known = ((shown >= margin) & (shown <= SIDE - 1 - margin)).all(-1)
    inner = torch.zeros_like(known)
    inner[stride // 2 : SIDE - stride // 2, stride // 2 : SIDE - stride // 2] = True
    known = known & inner
    assert known.float().mean() > 0.4
    error = (drawn.image - driving.rgb).abs().amax(1)[0][known]
    assert error.max() < 0.01
    assert (base.rgb - driving.rgb).abs().amax(1)[0][known].mean() > 0.02


def test_crops_without_transforms_have_no_background_motion():
    image = torch.rand(2, 3, 8, 8)
    nothing = UnlabelledBatch(image, ("a", "b"))
    known = UnlabelledBatch(image, ("a", "b"), T_crop_file=crop_map(5, 7, 2.0).repeat(2, 1, 1))
    for base, driving in ((nothing, nothing), (nothing, known), (known, nothing), (known, known)):
        torch.testing.assert_close(still_camera_transform(base, driving), torch.eye(3).repeat(2, 1, 1))


def test_distant_crops_keep_precision():
    """Crops of a large image: translations of thousands of pixels cancel."""
    T_base, T_driving = (torch.eye(3)[None].clone() for _ in range(2))
    T_base[:, :2, 2], T_driving[:, :2, 2] = torch.tensor([-7000.3, -4000.1]), torch.tensor([-7001.4, -3999.7])
    both = [UnlabelledBatch(torch.zeros(1, 3, 8, 8), ("a",), T_crop_file=T) for T in (T_base, T_driving)]
    expected = (T_base - T_driving).double()[0, :2, 2]
    torch.testing.assert_close(still_camera_transform(*both)[0, :2, 2].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stride", [1, 4])
def test_predicted_background_motion_is_in_fractions_of_the_image(stride):
    """A shift by a quarter of half the side and a scale about the image's centre, after the known crop transform."""
    delta = torch.tensor([[[0.1, 0.0, 0.25], [0.0, -0.2, 0.0]]])
    T_known = torch.eye(3)[None].clone()
    T_known[0, :2, 2] = torch.tensor([4.0, -8.0])
    base = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    uv, _ = figure()
    drawn = reconstructor(estimator=FixedEstimator(2.0, delta), grid_stride=stride)(base, uv, uv, T_known)
    assert drawn.field is not None
    centre = (SIDE - 1) / 2
    u, v = (identity_field(SIDE // stride, SIDE // stride, base) + 0.5).mul(stride).sub(0.5).unbind(-1)
    expected = torch.stack([(u + 4 - centre) * 1.1 + centre + 0.25 * SIDE / 2, (v - 8 - centre) * 0.8 + centre], dim=-1)
    torch.testing.assert_close((drawn.field[0] + 0.5) * stride - 0.5, expected, atol=1e-4, rtol=0)


def test_untrained_background_motion_is_the_known_transform():
    config = replace(TINY, warping=replace(TINY.warping, background="affine"))
    plain, predicted = reconstructor(), reconstructor(config)
    uv, ground = figure()
    T = crop_map(3, -2, 1.1)
    for made in (plain, predicted):
        made.estimator.masks.bias.data[0] = 50.0  # all is background
    fields = [made(ground, uv, uv + 1, T).field for made in (plain, predicted)]
    assert fields[0] is not None
    torch.testing.assert_close(fields[0], fields[1])
