import math

import kornia
import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor

from meshes import icosphere, pinhole
from posebridge.rendering.attributes import positions, unit
from posebridge.rendering.raster import Raster
from posebridge.rendering.rasterise import rasterise
from posebridge.rendering.shade import (
    Lights,
    Material,
    linear_to_srgb,
    shade,
    spherical_harmonics,
    srgb_to_linear,
)

CENTRE = torch.tensor([0.0, 0.0, 0.6]).double()


@pytest.fixture(scope="module")
def sphere() -> tuple[Raster, Tensor, Tensor]:
    """A sphere in two images, with the exact normals of its points."""
    points, faces = icosphere(3)
    K = pinhole(150.0, 40, 40, 2)
    raster = rasterise((points * 0.07 + CENTRE).expand(2, -1, -1), faces, K, 40, 40)
    where = positions(raster, K)
    return raster, where, torch.where(raster.mask[..., None], unit(where - CENTRE), 0.0)


def material(raster: Raster, albedo: float = 1.0, specular=0.0, shininess=20.0, subsurface=0.0) -> Material:
    shape = raster.mask.shape
    batch = torch.ones(shape[0]).double()
    return Material(torch.full((*shape, 3), albedo).double(), specular * batch, shininess * batch, subsurface * batch)


def lights(*directional: tuple[list[float], list[float]], ambient: float = 0.0) -> Lights:
    coefficients = torch.zeros(2, 9, 3).double()
    coefficients[:, 0] = ambient / (0.5 / math.sqrt(math.pi))
    vectors = torch.tensor([list(d) for d in directional]).double().view(-1, 2, 3)
    return Lights(coefficients, unit(vectors[:, 0]).expand(2, -1, -1), vectors[:, 1].expand(2, -1, -1))


def test_spherical_harmonics_are_those_of_scipy():
    directions = unit(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double())
    x, y, z = directions.numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    expected = []
    for order, degree in [(0, 0), (1, -1), (1, 0), (1, 1), (2, -2), (2, -1), (2, 0), (2, 2 - 1), (2, 2)]:
        value = scipy.special.sph_harm_y(order, abs(degree), polar, azimuth) * (-1) ** degree
        part = value.imag if degree < 0 else value.real
        expected.append(part * (math.sqrt(2) if degree else 1))
    # Ours follow Ramamoorthi and Hanrahan: xy yz 3z^2-1 xz x^2-y^2, which is the order of the degrees -2 to 2.
    np.testing.assert_allclose(spherical_harmonics(directions).numpy(), np.stack(expected, 1), atol=1e-5)


def test_lambert_sphere(sphere):
    raster, where, normals = sphere
    d1, c1, d2, c2 = [0.3, -0.8, -0.5], [1.0, 0.9, 0.7], [-1.0, 0.2, 0.1], [0.1, 0.2, 0.4]
    radiance = shade(raster, where, normals, material(raster, 0.6), lights((d1, c1), (d2, c2)))
    expected = 0
    for direction, colour in ((d1, c1), (d2, c2)):
        cosine = (normals @ unit(torch.tensor(direction).double())).clamp_min(0)
        expected = expected + 0.6 * cosine[..., None] * torch.tensor(colour).double()
    torch.testing.assert_close(radiance, expected, rtol=1e-6, atol=1e-6)
    assert (radiance[~raster.mask] == 0).all()


def test_uniform_light_shows_the_albedo(sphere):
    raster, where, normals = sphere
    radiance = shade(raster, where, normals, material(raster, 0.35), lights(ambient=1.0))
    torch.testing.assert_close(
        radiance[raster.mask], torch.full_like(radiance[raster.mask], 0.35), rtol=1e-4, atol=1e-5
    )


def test_each_image_has_its_own_lights_and_material(sphere):
    raster, where, normals = sphere
    both = lights(([0.0, 0, -1], [1.0, 1, 1]), ambient=0.3)
    factor = torch.tensor([1.0, 0.5]).double()
    dimmed = Lights(both.ambient * factor[:, None, None], both.direction, both.colour * factor[:, None, None])
    one = shade(raster, where, normals, material(raster, 0.5), both)
    other = shade(raster, where, normals, material(raster, 0.5), dimmed)
    torch.testing.assert_close(other, one * factor[:, None, None, None])


def test_occlusion_and_shadow_darken_their_lights(sphere):
    raster, where, normals = sphere
    skin, direction = material(raster, 0.5, specular=0.04, subsurface=0.3), [0.2, -0.4, -1.0]
    open_ = torch.ones(raster.mask.shape).double()
    lit = torch.stack([open_ * 0, open_], -1)
    bright = lights((direction, [1.0, 1, 1]), ([1.0, 0, -1], [0.3, 0.2, 0.1]), ambient=0.4)
    without = lights((direction, [0.0, 0, 0]), ([1.0, 0, -1], [0.3, 0.2, 0.1]))
    shaded = shade(raster, where, normals, skin, bright, occlusion=open_ * 0, shadow=lit)
    torch.testing.assert_close(shaded, shade(raster, where, normals, skin, without))
    assert (shade(raster, where, normals, skin, bright, open_, lit) >= shaded).all()


def test_light_wraps_round_the_terminator_red_first(sphere):
    raster, where, normals = sphere
    towards = unit(torch.tensor([1.0, 0.0, -0.3]).double())
    wrapped = shade(raster, where, normals, material(raster, subsurface=0.4), lights((towards.tolist(), [1.0, 1, 1])))
    cosine = normals @ towards
    just_past = raster.mask & (cosine < -0.05) & (cosine > -0.2)
    assert just_past.sum() > 20
    red, green, blue = wrapped[just_past].unbind(-1)
    assert (red > 0).all()
    assert (red > green).all()
    assert (green >= blue).all()
    assert (wrapped[raster.mask & (cosine < -0.4)] == 0).all()
    assert wrapped.max() <= 1 + 1e-9
    expected = ((cosine + 0.4).clamp_min(0) / 1.4)[raster.mask]  # Green, GPU Gems, chapter 16
    torch.testing.assert_close(wrapped[..., 0][raster.mask], expected, rtol=1e-6, atol=1e-6)


def test_gloss_is_blinn_phong_with_schlick(sphere):
    raster, where, normals = sphere
    direction = unit(torch.tensor([0.5, -0.6, -1.0]).double())
    glossy = shade(
        raster, where, normals, material(raster, 0.0, specular=0.05), lights((direction.tolist(), [1.0, 1, 1]))
    )
    for at in raster.mask.nonzero()[::17]:
        n, view = normals[tuple(at)].numpy(), -where[tuple(at)].numpy()
        view /= np.linalg.norm(view)
        half = direction.numpy() + view
        half /= np.linalg.norm(half)
        fresnel = 0.05 + 0.95 * (1 - half @ view) ** 5
        brdf = fresnel * (20 + 8) / (8 * np.pi) * max(n @ half, 0) ** 20
        expected = np.pi * brdf * max(n @ direction.numpy(), 0)
        np.testing.assert_allclose(glossy[tuple(at)].numpy(), expected, rtol=1e-6, atol=1e-9)
    brightest = unit(normals.flatten(0, 2)[glossy[..., 0].argmax()])
    half = unit(direction + unit(-CENTRE))
    assert brightest @ half > 0.98


def test_shading_is_differentiable(sphere):
    raster, where, normals = sphere
    direction = torch.tensor([[[0.3, -0.2, -0.9]]]).double().expand(2, 1, 3).clone().requires_grad_()
    leaf = normals.clone().requires_grad_()
    light = Lights(torch.rand(2, 9, 3).double(), direction, torch.ones(2, 1, 3).double())
    shade(raster, where, leaf, material(raster, 0.5, 0.03, subsurface=0.3), light).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert direction.grad is not None
    assert direction.grad.abs().sum() > 0


def test_srgb_curve_is_that_of_kornia_and_can_be_undone():
    linear = torch.linspace(0, 1, 1001).expand(1, 3, 1, -1)
    srgb = linear_to_srgb(linear)
    torch.testing.assert_close(srgb, kornia.color.linear_rgb_to_rgb(linear), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(srgb_to_linear(srgb), linear, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(linear_to_srgb(torch.tensor([-1.0, 0.18, 7.0])), torch.tensor([0.0, 0.461356, 1.0]))


def test_srgb_curve_has_finite_gradients_near_black():
    dark = torch.tensor([0.0, 1e-9, 1e-6], requires_grad=True)
    (gradient,) = torch.autograd.grad(linear_to_srgb(dark).sum(), dark)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[1:], torch.full((2,), 12.92))
