"""Photometric effects against torchvision, SciPy, Pillow's JPEG and statistics."""

import io

import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision.transforms.v2.functional as reference
from PIL import Image

from posebridge.errors import InputError
from posebridge.rendering import photometry
from posebridge.rendering.jpeg import jpeg_artefacts
from posebridge.rendering.photometry import STRONG, WEAK, AppearanceConfig, apply_appearance

NOTHING = AppearanceConfig(
    brightness=0, contrast=0, saturation=0, hue=0, gain=0, gamma=0,
    blur_probability=0, motion_probability=0, noise_probability=0,
)  # fmt: skip


@pytest.fixture
def images() -> torch.Tensor:
    """Four smooth images with some texture."""
    noise = np.random.default_rng(0).random((4, 3, 48, 64))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 0, 4, 4)) + 0.02 * noise
    low, high = smooth.min(axis=(2, 3), keepdims=True), smooth.max(axis=(2, 3), keepdims=True)
    return torch.from_numpy((smooth - low) / (high - low) * 0.8 + 0.1).float()


def _eye(factor: float = 1.0) -> torch.Tensor:
    return torch.eye(3).repeat(4, 1, 1) * factor


def test_colour_changes_agree_with_torchvision(images):
    one = torch.ones(4)
    ours = photometry.shift_colours(images, _eye(1.4), one)
    assert torch.allclose(ours, reference.adjust_brightness(images, 1.4), atol=1e-5)
    for factor in (0.0, 0.3, 1.7):
        ours = photometry.shift_colours(images, photometry.saturation_matrix(one * factor), one)
        assert torch.allclose(ours, reference.adjust_saturation(images, factor), atol=1e-3)  # luma 0.2989 there
        ours = photometry.shift_colours(images, _eye(), one * factor)
        assert torch.allclose(ours, reference.adjust_contrast(images, factor), atol=1e-3)


def test_hue_rotation_keeps_luma_and_is_periodic():
    thirds = torch.full((1,), 1 / 3)
    matrix = photometry.hue_matrix(thirds)[0]
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(luma @ matrix, luma, atol=1e-3)
    assert torch.allclose(torch.linalg.matrix_power(matrix, 3), torch.eye(3), atol=1e-4)
    red = torch.tensor([0.6, 0.3, 0.3])
    assert (matrix @ red).argmax() != 0


def test_gaussian_blur_agrees_with_scipy(images):
    sigma = torch.tensor([0.8, 1.5, 2.0, 3.0])
    ours = photometry.blur(images, sigma, torch.zeros(4), torch.zeros(4))
    for i in range(4):
        expected = scipy.ndimage.gaussian_filter(
            images[i].numpy(), (0, float(sigma[i]), float(sigma[i])), mode="mirror"
        )
        assert np.abs(ours[i].numpy() - expected).max() < 2e-3


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 90.0, 135.0])
def test_motion_blur_smears_along_its_angle_only(angle_deg):
    angle = torch.deg2rad(torch.tensor([angle_deg]))
    kernel = photometry.blur_kernels(torch.zeros(1), torch.tensor([9.0]), angle, 8)[0].double()
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    position = torch.arange(-8, 9).double()
    y, x = torch.meshgrid(position, position, indexing="ij")
    along = x * angle.cos() + y * angle.sin()
    across = y * angle.cos() - x * angle.sin()
    assert (kernel * along).sum().item() == pytest.approx(0, abs=1e-4)
    assert (kernel * along**2).sum().item() == pytest.approx(9**2 / 12, rel=0.08)  # a box of length 9
    assert (kernel * across**2).sum().item() < 0.2


def test_zero_blur_hardly_changes_the_image(images):
    ours = photometry.blur(images, torch.zeros(4), torch.zeros(4), torch.zeros(4))
    assert (ours - images).abs().max() < 0.01


def test_noise_has_the_variance_of_the_sensor_model():
    grey = torch.full((2, 3, 200, 200), 0.5)
    noisy = photometry.sensor_noise(
        grey, torch.tensor([0.004, 0.0]), torch.tensor([0.02, 0.05]), torch.Generator().manual_seed(0)
    )
    assert noisy[0].var().item() == pytest.approx(0.004 * 0.5 + 0.02**2, rel=0.03)
    assert noisy[1].var().item() == pytest.approx(0.05**2, rel=0.03)
    assert noisy.mean().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_jpeg_agrees_with_pillow(images, quality):
    ours = jpeg_artefacts(images, torch.full((4,), float(quality)))
    for picture, mine in zip(images, ours, strict=True):
        file = io.BytesIO()
        pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
        theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
        lost = (theirs - picture).square().mean().sqrt()
        assert (mine - theirs).square().mean().sqrt() < max(0.3 * lost.item(), 1.5 / 255)


def test_jpeg_pads_odd_sizes():
    picture = torch.full((1, 3, 37, 50), 0.5)
    assert jpeg_artefacts(picture, torch.tensor([30.0])).shape == picture.shape
    assert torch.allclose(jpeg_artefacts(picture, torch.tensor([95.0])), picture, atol=0.01)


def test_a_hole_is_a_box_of_its_colour():
    images = torch.zeros(1, 3, 40, 80)
    colour = torch.tensor([[0.2, 0.4, 0.6]])
    holed = photometry.erase(images, torch.tensor([[0.25, 0.5]]), torch.tensor([[0.1, 0.5]]), colour)
    box = holed[0, :, 10:30, 16:24]
    assert torch.equal(box, colour[0, :, None, None].expand_as(box))
    assert holed.ne(0).sum() == 3 * 20 * 8


def test_salt_and_pepper_set_a_fraction_of_the_pixels():
    """As many black as white, all channels of a pixel alike; the others stay."""
    images = torch.full((3, 2, 200, 200), 0.5)
    noisy = photometry.salt_and_pepper(images, torch.tensor([0.0, 0.1, 1.0]), torch.Generator().manual_seed(0))
    assert torch.equal(noisy[0], images[0])
    assert torch.equal(noisy[:, 0], noisy[:, 1])
    for value in (0.0, 1.0):
        shares = (noisy[:, 0] == value).float().mean((1, 2)).tolist()
        assert shares == pytest.approx([0.0, 0.05, 0.5], abs=0.01)
    assert ((noisy == 0.5) | (noisy == 0) | (noisy == 1)).all()


def test_zero_strength_changes_nothing(images):
    assert torch.allclose(apply_appearance(images, NOTHING, torch.Generator()), images, atol=1e-6)


@pytest.mark.parametrize("config", [WEAK, STRONG])
def test_results_are_images_and_depend_on_the_generator(images, config):
    images = images.repeat(8, 1, 1, 1)
    torch.manual_seed(0)
    before = images.clone()
    first = apply_appearance(images, config, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    again = apply_appearance(images, config, torch.Generator().manual_seed(1))
    other = apply_appearance(images, config, torch.Generator().manual_seed(2))
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= first.min() <= first.max() <= 1
    assert first.shape == images.shape
    changes = (first - images).abs().mean(dim=(1, 2, 3))
    assert len(changes.unique()) == 32  # parameters differ between samples


def test_strong_is_stronger_than_weak(images):
    images = images.repeat(8, 1, 1, 1)
    weak, strong = (
        (apply_appearance(images, config, torch.Generator().manual_seed(1)) - images).abs().mean()
        for config in (WEAK, STRONG)
    )
    assert strong > 1.5 * weak


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="grey_probability"):
        AppearanceConfig(grey_probability=1.5)
    with pytest.raises(InputError, match="jpeg_quality"):
        AppearanceConfig(jpeg_quality=(0, 50))
