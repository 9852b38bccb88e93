"""Labelled images of sampled scenes: pose, rasterise, shade, composite, apply the sensor."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.draw import chance, uniform
from posebridge.rendering.attributes import interpolate, normals, positions, vertex_normals
from posebridge.rendering.occlusion import ambient_occlusion, cast_shadow, shadow_map
from posebridge.rendering.photometry import apply_appearance
from posebridge.rendering.raster import Raster
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.rendering.shade import Material, linear_to_srgb, shade
from posebridge.synthesis.backgrounds import sample_backgrounds
from posebridge.synthesis.hand_surface import hand_mask
from posebridge.synthesis.lights import Lighting, sample_lighting
from posebridge.synthesis.scene_domain import OccluderDistribution, SceneDomain
from posebridge.synthesis.subject import (
    PlacedSubjects,
    PoseShape,
    Subject,
    SurfaceAppearance,
    transform_points,
)
from posebridge.synthesis.viewpoints import frame_joints, sample_rotations, sample_translations
from posebridge.synthesis.visibility import visible_joints


@dataclass(frozen=True)
class Shading:
    """Surface appearance and lighting of B subjects."""

    appearance: SurfaceAppearance
    lighting: Lighting


@dataclass(frozen=True)
class ImageLayers:
    """Background and occluders of B images; sRGB in [0, 1]."""

    background: Float[Tensor, "B 3 H W"]
    occluder_image: Float[Tensor, "B 3 H W"]  # the occluder's colours, shown where ``occluder_mask`` is true
    occluder_mask: Bool[Tensor, "B H W"]


def render_stills(subject: Subject, count: int, size_px: int, generator: Generator) -> LabelledBatch:
    """Sample and render ``count`` labelled images, one subject each. Keys are running numbers; callers replace them."""
    pose_shape = subject.sample_pose_shape(count, generator)
    placed = place_subjects(subject, pose_shape, size_px, generator)
    shading = Shading(
        appearance=subject.sample_appearance(count, generator),
        lighting=sample_lighting(subject.domain.lights, count, generator),
    )
    layers = sample_image_layers(subject.domain, placed, size_px, generator)
    batch = render_scene(subject, pose_shape, placed, shading, layers)
    return replace(batch, image=apply_appearance(batch.rgb, subject.domain.sensor, generator))


def place_subjects(subject: Subject, pose_shape: PoseShape, size_px: int, generator: Generator) -> PlacedSubjects:
    """Pose subjects and sample a camera for each."""
    vertices_m, joints_m = subject.pose_mesh(pose_shape)
    viewpoints, count = subject.domain.viewpoints, len(joints_m)
    R_cam_subject = sample_rotations(viewpoints, count, generator)
    t_m = sample_translations(viewpoints, count, generator)
    vertices_m = transform_points(R_cam_subject, t_m, vertices_m)
    joints_m = transform_points(R_cam_subject, t_m, joints_m)
    return PlacedSubjects(vertices_m, joints_m, frame_joints(viewpoints, joints_m, size_px, generator))


def sample_image_layers(domain: SceneDomain, placed: PlacedSubjects, size_px: int, generator: Generator) -> ImageLayers:
    """Sample backgrounds and occluders.

    An occluder shows the background of the previous sample, mirrored.
    """
    background = sample_backgrounds(domain.backgrounds, len(placed.joints_m), size_px, generator)
    occluder_mask = _sample_occluder_mask(domain.occluders, placed, size_px, generator)
    return ImageLayers(background, background.roll(1, 0).flip(-1), occluder_mask)


def render_scene(
    subject: Subject, pose_shape: PoseShape, placed: PlacedSubjects, shading: Shading, layers: ImageLayers
) -> LabelledBatch:
    """Render the scenes with all labels, before any sensor effect. ``mask`` excludes occluded pixels."""
    size_px = layers.occluder_mask.shape[-1]
    raster = rasterise(placed.vertices_m, subject.faces, placed.camera.K, size_px, size_px)
    radiance = _radiance(subject, placed, raster, shading)
    image = torch.lerp(layers.background, linear_to_srgb(radiance).permute(0, 3, 1, 2), soft_edges(raster.mask))
    uv_px = placed.camera.project(placed.joints_m)
    in_view, beyond_m = ~layers.occluder_mask, subject.beyond_wrist_m
    return LabelledBatch(
        image=torch.where(layers.occluder_mask[:, None], layers.occluder_image, image),
        key=tuple(str(i) for i in range(len(uv_px))),
        camera=placed.camera,
        depth_label_m=raster.depth_m,
        uv_px=uv_px,
        valid=torch.ones(uv_px.shape[:2], dtype=torch.bool),
        visible=visible_joints(placed.joints_m, uv_px, raster.depth_m, subject.joint_depth_m, layers.occluder_mask),
        joints_m=placed.joints_m,
        mask=raster.mask & in_view,
        hand_mask=None if beyond_m is None else hand_mask(raster, subject.faces, beyond_m) & in_view,
        angles_rad=pose_shape.angles_rad,
        phenotypes=pose_shape.phenotypes,
    )


def _radiance(subject: Subject, placed: PlacedSubjects, raster: Raster, shading: Shading) -> Float[Tensor, "B H W 3"]:
    faces, vertices_m, light = subject.faces, placed.vertices_m, shading.lighting
    surface = raster.gather(interpolate(raster, faces, subject.surface[None]))
    position = positions(raster, placed.camera.K)
    normal = normals(raster, faces, vertices_m, vertex_normals(vertices_m, faces))
    material = Material(
        albedo=raster.scatter(shading.appearance.albedo(surface, raster.hit_image)),
        specular=light.specular,
        shininess=light.shininess,
        subsurface=light.subsurface,
    )
    ambient = ambient_occlusion(raster, placed.camera.K, position, normal, subject.occlusion_radius_m)
    seen_by_light = shadow_map(vertices_m, faces, light.lights.direction[:, 0], rasterise)
    lit = torch.ones(*raster.mask.shape, light.lights.direction.shape[1])
    lit[..., 0] = torch.where(light.shadowed[:, None, None], cast_shadow(seen_by_light, raster, position, normal), 1.0)
    return shade(raster, position, normal, material, light.lights, ambient, lit)


def soft_edges(mask: Bool[Tensor, "B H W"]) -> Float[Tensor, "B 1 H W"]:
    """Soft coverage in [0, 1] whose edges are about one pixel wide."""
    hard = mask[:, None].float()
    smooth = F.avg_pool2d(F.pad(hard, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.minimum(hard, (1.5 * smooth).clamp(max=1.0))


def _sample_occluder_mask(
    occluders: OccluderDistribution, placed: PlacedSubjects, size_px: int, generator: Generator
) -> Bool[Tensor, "B H W"]:
    """Masks of sampled boxes and discs, each near a random joint of its subject."""
    count, joints = placed.joints_m.shape[:2]
    present = chance(generator, occluders.share, count, 1, 1)
    joint = torch.randint(joints, (count,), generator=generator)
    at = placed.camera.project(placed.joints_m)[torch.arange(count), joint]
    half = size_px * uniform(generator, *occluders.size_frac, count, 2) / 2
    centre = at + half * uniform(generator, -1.0, 1.0, count, 2)
    y, x = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    u = (x - centre[:, 0, None, None]) / half[:, 0, None, None]
    v = (y - centre[:, 1, None, None]) / half[:, 1, None, None]
    disc = chance(generator, 0.5, count, 1, 1)
    return present & torch.where(disc, u * u + v * v < 1, (u.abs() < 1) & (v.abs() < 1))
