"""One chunk of labelled hand images: draw, pose, rasterise, shade, put before a background, take the picture."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.bodies.anny import HandModel, hand
from posebridge.bodies.articulation import pose_hand
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.draw import chance, uniform
from posebridge.rendering.attributes import interpolate, normals, positions, vertex_normals
from posebridge.rendering.occlusion import ambient_occlusion, cast_shadow, shadow_map
from posebridge.rendering.photometry import apply_appearance
from posebridge.rendering.raster import Raster
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.rendering.shade import Lights, Material, linear_to_srgb, shade
from posebridge.synthesis.appearance import Skin, sample_lights, sample_skins
from posebridge.synthesis.backgrounds import sample_backgrounds
from posebridge.synthesis.domains import HandDomain, Occluders, ShapeDistribution
from posebridge.synthesis.hand_poses import sample_hand_poses
from posebridge.synthesis.hand_surface import hand_surface
from posebridge.synthesis.viewpoints import frame_joints, sample_rotations, sample_translations

_HIDDEN_BEHIND_M = 0.022  # a joint this far behind the seen surface is hidden (palms are 0.03 thick)
_OCCLUSION_RADIUS_M = 0.012


@dataclass(frozen=True)
class PlacedHands:
    """B hands in the camera frame."""

    vertices_m: Float[Tensor, "B V 3"]
    joints_m: Float[Tensor, "B 21 3"]
    camera: Camera


def render_hands(domain: HandDomain, count: int, size_px: int, generator: Generator) -> LabelledBatch:
    """``count`` labelled images of right hands; ``key`` is left to the caller as running numbers."""
    model = hand("right")
    placed = place_hands(domain, model, count, size_px, generator)
    raster = rasterise(placed.vertices_m, model.rig.faces, placed.camera.K, size_px, size_px)
    skins = sample_skins(domain.appearance, count, generator)
    lights = sample_lights(domain.appearance, count, generator)
    radiance = _shade_hands(domain, model, placed, raster, skins, lights, generator)
    background = sample_backgrounds(domain.backgrounds, count, size_px, generator)
    coverage = _soft_edges(raster.mask)
    image = torch.lerp(background, linear_to_srgb(radiance).permute(0, 3, 1, 2), coverage)
    image, covered = _occlude(domain.occluders, image, background, placed, generator)
    image = apply_appearance(image, domain.sensor, generator)
    uv_px = placed.camera.project(placed.joints_m)
    return LabelledBatch(
        image=image,
        key=tuple(str(i) for i in range(count)),
        camera=placed.camera,
        depth_m=raster.depth_m,
        uv_px=uv_px,
        valid=torch.ones(count, 21, dtype=torch.bool),
        visible=_visible(placed.joints_m, uv_px, raster, covered),
        joints_m=placed.joints_m,
        mask=raster.mask & ~covered,
    )


def place_hands(domain: HandDomain, model: HandModel, count: int, size_px: int, generator: Generator) -> PlacedHands:
    """Draw shape, pose and viewpoint."""
    angles = sample_hand_poses(domain.poses, count, generator)
    coefficients = model.shape_coefficients(_sample_phenotypes(domain.shapes, count, generator))
    posed = pose_hand(model, angles, coefficients)
    vertices = posed.vertices_m()
    joints = posed.keypoints_m(vertices)
    R = sample_rotations(domain.viewpoints, count, generator)  # camera <- hand
    t = sample_translations(domain.viewpoints, count, generator)
    vertices = vertices @ R.transpose(1, 2) + t[:, None]
    joints = joints @ R.transpose(1, 2) + t[:, None]
    return PlacedHands(vertices, joints, frame_joints(domain.viewpoints, joints, size_px, generator))


def _sample_phenotypes(shapes: ShapeDistribution, count: int, generator: Generator) -> Float[Tensor, "B 6"]:
    ranges = (shapes.gender, shapes.age, shapes.muscle, shapes.weight, shapes.height, shapes.proportions)
    return torch.stack([uniform(generator, low, high, count) for low, high in ranges], dim=-1)


def _shade_hands(
    domain: HandDomain,
    model: HandModel,
    placed: PlacedHands,
    raster: Raster,
    skins: Skin,
    lights: Lights,
    generator: Generator,
) -> Float[Tensor, "B H W 3"]:
    count = len(placed.vertices_m)
    faces, vertices_m = model.rig.faces, placed.vertices_m
    surface = interpolate(raster, faces, hand_surface().stacked()[None])
    position = positions(raster, placed.camera.K)
    normal = normals(raster, faces, vertices_m, vertex_normals(vertices_m, faces))
    material = Material(
        albedo=raster.scatter(skins.albedo(raster.gather(surface), raster.hit_image)),
        specular=uniform(generator, *domain.appearance.specular, count),
        shininess=uniform(generator, 6.0, 40.0, count),
        subsurface=uniform(generator, 0.1, 0.4, count),
    )
    ambient = ambient_occlusion(raster, placed.camera.K, position, normal, _OCCLUSION_RADIUS_M)
    cast = cast_shadow(shadow_map(vertices_m, faces, lights.direction[:, 0], rasterise), raster, position, normal)
    shaded = chance(generator, domain.appearance.shadow_share, count, 1, 1)
    lit = torch.ones(*raster.mask.shape, lights.direction.shape[1])
    lit[..., 0] = torch.where(shaded, cast, 1.0)
    return shade(raster, position, normal, material, lights, ambient, lit)


def _soft_edges(mask: Bool[Tensor, "B H W"]) -> Float[Tensor, "B 1 H W"]:
    """Coverage with an edge about one pixel wide."""
    hard = mask[:, None].float()
    smooth = F.avg_pool2d(F.pad(hard, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.minimum(hard, (1.5 * smooth).clamp(max=1.0))


def _occlude(
    occluders: Occluders, image: Tensor, clutter: Tensor, placed: PlacedHands, generator: Generator
) -> tuple[Tensor, Bool[Tensor, "B H W"]]:
    """Cover a part of some hands with a piece of clutter; returns the image and what is covered."""
    count, _, height, width = image.shape
    present = chance(generator, occluders.share, count, 1, 1)
    joint = torch.randint(placed.joints_m.shape[1], (count,), generator=generator)
    at = placed.camera.project(placed.joints_m)[torch.arange(count), joint]
    half = width * uniform(generator, *occluders.size, count, 2) / 2
    centre = at + half * uniform(generator, -1.0, 1.0, count, 2)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    u = (x - centre[:, 0, None, None]) / half[:, 0, None, None]
    v = (y - centre[:, 1, None, None]) / half[:, 1, None, None]
    disc = chance(generator, 0.5, count, 1, 1)
    covered = present & torch.where(disc, u * u + v * v < 1, (u.abs() < 1) & (v.abs() < 1))
    other = clutter.roll(1, 0).flip(-1)
    return torch.where(covered[:, None], other, image), covered


def _visible(joints_m: Tensor, uv_px: Tensor, raster: Raster, covered: Bool[Tensor, "B H W"]) -> Bool[Tensor, "B J"]:
    """Joints inside the image that neither the hand itself nor an occluder hides."""
    height, width = raster.depth_m.shape[1:]
    inside = ((uv_px > -0.5) & (uv_px < uv_px.new_tensor([width - 0.5, height - 0.5]))).all(-1)
    column = uv_px[..., 0].round().long().clamp(0, width - 1)
    row = uv_px[..., 1].round().long().clamp(0, height - 1)
    sample = torch.arange(len(uv_px))[:, None]
    surface = raster.depth_m[sample, row, column]
    hidden = (surface > 0) & (joints_m[..., 2] - surface > _HIDDEN_BEHIND_M)
    return inside & ~hidden & ~covered[sample, row, column]
