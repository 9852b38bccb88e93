"""Deferred shading from surface, material and lights. All colours are linear RGB.

Light intensity is irradiance divided by pi: a white Lambertian surface facing a light of colour 1 has radiance 1.
Radiances may exceed 1; ``linear_to_srgb`` clips.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.rendering.attributes import unit
from posebridge.rendering.raster import Raster

# Scattering distance of light in skin relative to red: red passes the terminator farthest.
_SCATTERING_RGB = (1.0, 0.45, 0.25)
# Ramamoorthi and Hanrahan 2001, Eq. 3: the nine real spherical harmonics up to second order.
_SH_CONSTANTS = (0.282095, 0.488603, 1.092548, 0.315392, 0.546274)


@dataclass(frozen=True)
class Lights:
    """Lights of B scenes: ambient light and L directional lights."""

    ambient: Float[Tensor, "B 9 3"]  # irradiance / pi as coefficients of ``spherical_harmonics``, camera frame
    direction: Float[Tensor, "B L 3"]  # unit, from the surface to the light, camera frame
    colour: Float[Tensor, "B L 3"]  # radiance of a white surface that faces the light


@dataclass(frozen=True)
class Material:
    """Reflectance of the surface."""

    albedo: Float[Tensor, "B H W 3"]  # linear RGB in [0, 1]
    specular: Float[Tensor, "B"]  # reflectance at normal incidence, in [0, 1]; 0.028 is skin, 0 is no gloss
    shininess: Float[Tensor, "B"]  # Blinn-Phong exponent; 10 is dull, 100 is wet
    subsurface: Float[Tensor, "B"]  # extent of light past the terminator, in [0, 1]; 0 is Lambert, 0.3 is skin


def shade(
    raster: Raster,
    positions_m: Float[Tensor, "B H W 3"],
    normals: Float[Tensor, "B H W 3"],
    material: Material,
    lights: Lights,
    occlusion: Float[Tensor, "B H W"] | None = None,
    shadow: Float[Tensor, "B H W L"] | None = None,
) -> Float[Tensor, "B H W 3"]:
    """Linear radiance towards the camera, not negative; 0 on background.

    ``occlusion`` in [0, 1] (1 is unoccluded) scales the ambient light, ``shadow`` in [0, 1] (1 is lit) each directional
    light. Diffuse light wraps around the terminator (Green, GPU Gems, chapter 16), farther for red. Gloss is normalised
    Blinn-Phong with Schlick's Fresnel term.
    """
    n, albedo = raster.gather(normals), raster.gather(material.albedo)
    to_camera = -unit(raster.gather(positions_m))
    diffuse = _ambient(raster, n, lights.ambient)
    if occlusion is not None:
        diffuse = diffuse * raster.gather(occlusion)[:, None]
    wrap = material.subsurface[:, None] * material.subsurface.new_tensor(_SCATTERING_RGB)  # B 3
    gloss = torch.zeros_like(diffuse)
    lit = None if shadow is None else raster.gather(shadow)
    for i in range(lights.direction.shape[1]):
        direction = lights.direction[:, i].index_select(0, raster.hit_image)
        colour = lights.colour[:, i].index_select(0, raster.hit_image)
        if lit is not None:
            colour = colour * lit[:, i, None]
        facing = _dot(n, direction)
        diffuse = diffuse + colour * _wrapped(facing, wrap.index_select(0, raster.hit_image))
        gloss = gloss + colour * (_gloss(raster, material, n, direction, to_camera) * facing.clamp_min(0))[:, None]
    return raster.scatter(albedo * diffuse + gloss)


def spherical_harmonics(directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 9"]:
    """Real spherical harmonics of unit vectors, in the order 1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2."""
    x, y, z = directions.unbind(-1)
    c0, c1, c2, c3, c4 = _SH_CONSTANTS
    terms = [
        torch.full_like(x, c0), c1 * y, c1 * z, c1 * x,
        c2 * (x * y), c2 * (y * z), c3 * (3 * z * z - 1), c2 * (x * z), c4 * (x * x - y * y),
    ]  # fmt: skip
    return torch.stack(terms, dim=-1)


def linear_to_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sRGB transfer curve (IEC 61966-2-1); clips to [0, 1] first."""
    linear = linear.clamp(0, 1)
    # The power is unused below 0.0031308; the minimum keeps its gradient finite there.
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-4) ** (1 / 2.4) - 0.055)


def srgb_to_linear(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The inverse of ``linear_to_srgb`` for values in [0, 1]."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def _ambient(raster: Raster, n: Float[Tensor, "N 3"], coefficients: Float[Tensor, "B 9 3"]) -> Float[Tensor, "N 3"]:
    """Irradiance / pi at each normal, clamped at 0 because the second-order expansion can become negative."""
    basis = spherical_harmonics(n).split(raster.hit_counts)
    return torch.cat([b @ c for b, c in zip(basis, coefficients, strict=True)]).clamp_min(0)


def _wrapped(facing: Float[Tensor, "N"], wrap: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Cosine law extended by ``wrap`` beyond the terminator; the plain cosine for ``wrap`` 0."""
    return (facing[:, None] + wrap).clamp_min(0) / (1 + wrap)


def _gloss(raster: Raster, material: Material, n: Tensor, direction: Tensor, to_camera: Tensor) -> Float[Tensor, "N"]:
    """Blinn-Phong lobe times pi, normalised to constant energy for all widths, with Schlick's Fresnel term."""
    half = unit(direction + to_camera)
    specular = material.specular.index_select(0, raster.hit_image)
    exponent = material.shininess.index_select(0, raster.hit_image)
    grazing = (1 - _dot(half, to_camera)).clamp_min(0)
    fresnel = specular + (1 - specular) * (specular > 0) * grazing**5
    return fresnel * (exponent + 8) / 8 * _dot(n, half).clamp_min(1e-6) ** exponent


def _dot(a: Float[Tensor, "N 3"], b: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]
