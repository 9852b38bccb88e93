"""Outputs and gradients of the frame reconstructor."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.geometric_reconstruction.drawn_figures import (
    SIDE,
    TINY,
    TO_BASE,
    FixedEstimator,
    crop_map,
    figure,
    reconstructor,
)
from posebridge.cameras.crop import inverse_map, resize_map
from posebridge.cameras.pinhole import apply_affine
from posebridge.losses.perceptual import perceptual_l1
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor
from posebridge.networks.reconstruction import GeneratorConfig
from training.stick_figures import FIGURE, Pairs, pairs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_gradients_reach_the_joints_of_both_frames(guide):
    data = pairs(2, SIDE, 3)
    joints = [data.uv_base.clone().requires_grad_(), data.uv_driving.clone().requires_grad_()]
    drawn = reconstructor(guide=guide).train()(data.base, *joints, TO_BASE.repeat(2, 1, 1))
    for gradient in torch.autograd.grad((drawn.image - data.driving).square().sum(), joints):
        assert gradient.isfinite().all()
        assert (gradient.abs().sum(-1) > 0).all()


def test_gradient_by_central_differences():
    """From joints of both frames to a loss on the image, through untrained networks, in float64."""
    made = reconstructor(replace(TINY, generator=GeneratorConfig(4, 8, residual_blocks=1))).double()
    nn.init.normal_(made.estimator.masks.weight, std=0.05)
    data = pairs(1, 32, 4)
    base, driving = data.base.double(), data.driving.double()
    joints = torch.stack([data.uv_base, data.uv_driving]).double().requires_grad_()

    def loss(uv: Tensor) -> Tensor:
        return (made(base, uv[0], uv[1], TO_BASE.double()).image - driving).square().mean()

    (gradient,) = torch.autograd.grad(loss(joints), joints)
    step, found = 1e-6, torch.zeros_like(joints).flatten()
    with torch.no_grad():
        for i in range(joints.numel()):
            offset = torch.zeros_like(found)
            offset[i] = step
            after, before = (loss(joints + sign * offset.view_as(joints)) for sign in (1, -1))
            found[i] = (after - before) / (2 * step)
    assert (gradient.flatten() - found).norm() <= 1e-4 * gradient.norm()


def test_heat_maps_as_guide_have_no_field():
    data = pairs(2, SIDE, 3)
    made = reconstructor(guide="heatmaps")
    drawn = made(data.base, data.uv_base, data.uv_driving, TO_BASE.repeat(2, 1, 1))
    assert drawn.image.shape == data.base.shape
    assert drawn.masks is None
    assert drawn.field is None
    assert drawn.inpainting is None
    other = made(data.base, data.uv_base, data.uv_driving.flip(0), TO_BASE.repeat(2, 1, 1))
    assert (other.image - drawn.image).abs().max() > 1e-6


def test_mixed_precision_keeps_the_field_in_float32():
    data = pairs(2, SIDE, 3)
    made, T = reconstructor(), crop_map(3, -2, 1.1).repeat(2, 1, 1)
    nn.init.normal_(made.estimator.masks.weight, std=0.02)
    expected = made(data.base, data.uv_base, data.uv_driving, T)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(data.base, data.uv_base, data.uv_driving, T)
    assert found.field is not None
    assert expected.field is not None
    assert found.field.dtype == torch.float32
    assert found.image.isfinite().all()
    assert (found.image - expected.image).abs().mean() < 0.01
    # Masks are rounded; positions in bfloat16 would be off by up to 1/16 of a pixel.
    assert (found.field - expected.field).abs().median() < 0.01
    with torch.autocast("cpu", torch.bfloat16):
        given = reconstructor(estimator=FixedEstimator())(data.base, data.uv_base, data.uv_driving, T)
    plain = reconstructor(estimator=FixedEstimator())(data.base, data.uv_base, data.uv_driving, T)
    assert torch.equal(given.field, plain.field)


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_reduced_frames_are_reconstructed_as_small_ones_are(guide):
    """As if frames, joints and background map came in pixels of the small images."""
    data, half = pairs(2, SIDE, 3), resize_map(0.5)
    made, small = (
        reconstructor(guide=guide, image_px=SIDE // 2, grid_stride=2),
        reconstructor(guide=guide, grid_stride=2),
    )
    T = crop_map(3, -2, 1.1).repeat(2, 1, 1)
    drawn = made(data.base, data.uv_base, data.uv_driving, T)
    base = F.interpolate(data.base, scale_factor=0.5, mode="bilinear", antialias=True)
    uv_base, uv_driving = (apply_affine(half.repeat(2, 1, 1), uv) for uv in (data.uv_base, data.uv_driving))
    expected = small(base, uv_base, uv_driving, half @ T @ inverse_map(half))
    assert drawn.image.shape[-2:] == (SIDE // 2, SIDE // 2)
    if guide == "bones":
        torch.testing.assert_close(drawn.field, expected.field, atol=0.02, rtol=0)  # masks differ by the grid's image
    torch.testing.assert_close(drawn.image, expected.image, atol=2e-3, rtol=0)
    same = reconstructor(guide=guide, image_px=SIDE)(data.base, data.uv_base, data.uv_driving, T)
    whole = reconstructor(guide=guide)(data.base, data.uv_base, data.uv_driving, T)
    assert torch.equal(same.image, whole.image)


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_mixed_precision_returns_float32_images(guide):
    uv, base = figure()
    made = reconstructor(guide=guide)
    with torch.autocast("cpu", torch.bfloat16):
        image = made(base, uv, uv + 1, TO_BASE).image
    assert image.dtype == base.dtype
    smaller = F.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)  # which does not support bfloat16
    assert smaller.isfinite().all()


def reconstruction_loss(made: FrameReconstructor, data: Pairs, uv_base: Tensor, uv_driving: Tensor) -> Tensor:
    image = made(data.base, uv_base, uv_driving, TO_BASE.repeat(len(uv_base), 1, 1)).image
    return perceptual_l1(lambda x: [x], image, data.driving, (1.0, 0.5, 0.25))


def test_trained_reconstructor_has_a_loss_that_localises_joints():
    """Trained for seconds on true joints. Then joints are displaced by 2 px of 64 (RMS), and the steepest
    descent points back: over seeds and sizes the mean cosine was 0.42 to 0.58, at tips 0.2 to 0.7.
    """
    torch.manual_seed(0)
    side, count = 48, 96
    made, data, unseen = FrameReconstructor(TINY, FIGURE), pairs(count, side, 1), pairs(64, side, 99)
    adam = torch.optim.Adam(made.parameters(), lr=3e-3)
    for number in range(60):
        part = slice(8 * number % count, 8 * number % count + 8)
        shown = Pairs(*(value[part] for value in vars(data).values()))
        loss = reconstruction_loss(made, shown, shown.uv_base, shown.uv_driving).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    made.eval().requires_grad_(False)
    right = reconstruction_loss(made, unseen, unseen.uv_base, unseen.uv_driving).mean()
    copied = perceptual_l1(lambda x: [x], unseen.base, unseen.driving, (1.0, 0.5, 0.25)).mean()
    assert right < 0.75 * copied
    moved = 2 * side / 64 / math.sqrt(2) * torch.randn(unseen.uv_base.shape, generator=torch.Generator().manual_seed(5))
    for frame in ("base", "driving"):
        joints = {"base": unseen.uv_base.clone(), "driving": unseen.uv_driving.clone()}
        joints[frame] = (joints[frame] + moved).requires_grad_()
        wrong = reconstruction_loss(made, unseen, joints["base"], joints["driving"])
        assert wrong.mean() > 1.05 * right
        (gradient,) = torch.autograd.grad(wrong.sum(), joints[frame])
        cosine = F.cosine_similarity(gradient, moved, dim=-1)
        assert cosine.mean() > 0.3, frame
        assert (cosine.mean(0) > 0.1).all(), frame
