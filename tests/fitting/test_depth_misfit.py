"""Meshes against depth: cases with a known answer, and finite differences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, _sum_to_nearest, data_to_model, model_to_data
from posebridge.synthesis.depth_clutter import ClutterDistribution
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands, with_meshes

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE, CUBE_M = 64, 0.25
CONFIG = EvidenceConfig()
CLEAN = replace(DEPTH_STUDIO, clutter=ClutterDistribution(background_share=0.0, occluder_share=0.0))


@pytest.fixture(scope="module")
def hands() -> LabelledBatch:
    return with_meshes(render_depth_hands(CLEAN, 2, SIDE, generator_for(1, 1)))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return anny_hand("right").rig.faces


def evidence(batch: LabelledBatch, config: EvidenceConfig = CONFIG) -> DepthEvidence:
    return DepthEvidence.from_views(CubeViews.of(batch, CUBE_M), config, generator_for(2, 1))


def mesh(batch: LabelledBatch) -> Tensor:
    assert batch.vertices_m is not None
    return CubeViews.of(batch, CUBE_M).in_cubes(batch.vertices_m)


def test_the_true_mesh_has_no_misfit(hands, faces):
    seen = evidence(hands)
    assert model_to_data(mesh(hands), faces, seen, CONFIG).max() < 1e-5
    assert data_to_model(mesh(hands), faces, seen, CONFIG).max() < 1e-5


def test_misfit_of_a_nearer_mesh_is_its_depth_error(hands, faces):
    """A mesh moved along the rays keeps its image, so every pixel differs by the same fraction of its depth."""
    seen = evidence(hands)
    views = seen.views
    nearer = views.in_cubes(0.98 * hands.vertices_m)
    depth = torch.where(seen.surface, hands.depth_m, 0).flatten(1).sum(1) / seen.surface.flatten(1).sum(1)
    found = model_to_data(nearer, faces, seen, CONFIG)
    torch.testing.assert_close(found, 0.02 * depth / (CUBE_M / 2), rtol=0.03, atol=0)


def test_distances_to_a_plane(faces):
    """A large triangle behind a measured wall."""
    generator = generator_for(3, 1)
    batch = render_depth_hands(CLEAN, 1, SIDE, generator)
    wall = batch.centre_m[:, 2, None, None].expand(-1, SIDE, SIDE)
    views = CubeViews.of(replace(batch, depth_m=wall), CUBE_M)
    seen = DepthEvidence.from_views(views, CONFIG, generator)
    triangle = torch.tensor([[-9.0, -9.0, 0.1], [9.0, -9.0, 0.1], [0.0, 20.0, 0.1]]).expand(3, 3, 3)
    one = torch.tensor([[0, 1, 2]])
    torch.testing.assert_close(data_to_model(triangle, one, seen, CONFIG), torch.full((3,), 0.1), atol=1e-4, rtol=0)
    torch.testing.assert_close(model_to_data(triangle, one, seen, CONFIG), torch.full((3,), 0.1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shift", [(0.1, 0.0, 0.0), (0.0, -0.1, 0.0), (0.0, 0.0, 0.1)])
def test_both_gradients_point_along_the_shift(hands, faces, shift):
    for loss in (model_to_data, data_to_model):
        moved = (mesh(hands) + torch.tensor(shift)).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(moved, faces, evidence(hands), CONFIG).sum(), moved)
        total = gradient.sum((0, 1))
        assert torch.dot(total, torch.tensor(shift)) > 0.6 * total.norm() * 0.1


def walls(seed: int) -> tuple[Tensor, Tensor, DepthEvidence]:
    """A tilted triangle that fills the images, and a curved measured surface."""
    generator = generator_for(seed, 1)
    batch = render_depth_hands(CLEAN, 1, SIDE, generator)
    row = torch.linspace(0, 6, SIDE).sin()
    curved = batch.centre_m[:, 2, None, None] + 0.02 * row[:, None] * row
    seen = DepthEvidence.from_views(CubeViews.of(replace(batch, depth_m=curved), CUBE_M), CONFIG, generator)
    triangle = torch.tensor([[-4.0, -4.0, 0.0], [4.0, -4.0, 0.0], [0.0, 5.0, 0.0]]).expand(3, 3, 3)
    tilt = torch.tensor([0.0, 0.0, 0.4]) * torch.randn(3, 3, 3, generator=generator)
    return triangle + tilt, torch.tensor([[0, 1, 2]]), seen


@pytest.mark.parametrize("loss", [model_to_data, data_to_model])
def test_gradients_by_finite_differences(loss):
    """For surfaces whose outline is outside the image, so that the covered pixels do not change."""
    start, one, seen = walls(seed=6)
    moved = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(moved, one, seen, CONFIG).sum(), moved)
    assert gradient.abs().amax() > 0.05
    for corner in range(3):
        for axis in range(3):
            step = torch.zeros_like(start)
            step[:, corner, axis] = 5e-3
            difference = (loss(start + step, one, seen, CONFIG) - loss(start - step, one, seen, CONFIG)).sum() / 1e-2
            torch.testing.assert_close(gradient[:, corner, axis].sum(), difference, rtol=0.03, atol=3e-3)


def test_data_to_model_of_hands_by_finite_differences(hands, faces):
    seen = evidence(hands)
    start = mesh(hands) + torch.tensor([0.03, -0.02, 0.04])
    moved = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(data_to_model(moved, faces, seen, CONFIG).sum(), moved)
    for direction in (torch.tensor([0.0, 0.0, 1.0]).expand_as(start), start - start.mean(1, keepdim=True)):
        step = 2e-3 * direction
        near, far = (data_to_model(start + sign * step, faces, seen, CONFIG).sum() for sign in (-1, 1))
        torch.testing.assert_close((gradient * step).sum(), (far - near) / 2, rtol=0.02, atol=1e-5)


def test_misfit_beside_the_surface_is_the_distance_to_it(hands, faces):
    """A triangle that covers the image, and a patch in its left half: each pixel's distance to the patch."""
    centre_m = hands.centre_m[:, 2, None, None].expand(-1, SIDE, SIDE)
    patch = torch.where(torch.arange(SIDE) < SIDE // 2, centre_m, 3.0)  # beside it, a distant wall
    seen = evidence(replace(hands, depth_m=patch))
    triangle = torch.tensor([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [0.0, 20.0, 0.0]]).expand(len(hands), 3, 3)
    one, far = torch.tensor([[0, 1, 2]]), EvidenceConfig(max_distance=9.0)
    plane, _ = CubeViews.of(replace(hands, depth_m=centre_m), CUBE_M).points()
    beside = torch.cdist(plane.flatten(2).mT, seen.sampled).amin(2)
    beside = torch.where(seen.surface.flatten(1), 0, beside).mean(1)
    assert (beside > 0.1).all()
    torch.testing.assert_close(model_to_data(triangle, one, seen, far), beside, rtol=1e-3, atol=1e-4)


def test_gradients_beside_the_surface_by_finite_differences():
    generator = generator_for(5, 1)
    material, drawn = (torch.rand(2, *shape, 3, generator=generator).double() for shape in ((5, 5), (7,)))
    outside = torch.rand(2, 5, 5, generator=generator) < 0.4
    assert torch.autograd.gradcheck(
        lambda points: _sum_to_nearest(points, outside, drawn, CONFIG), material.requires_grad_()
    )


def test_holes_in_the_hand_are_ignored(hands, faces):
    holed = hands.depth_m.clone()
    holed[:, ::3] = 0  # a sensor without every third row
    seen = evidence(replace(hands, depth_m=holed))
    assert model_to_data(mesh(hands), faces, seen, CONFIG).max() < 1e-5


def test_depth_in_front_of_the_cube_occludes_the_hand(hands, faces):
    views = CubeViews.of(hands, CUBE_M)
    covered = hands.depth_m.clone()
    covered[:, 20:40, 20:40] = (views.centre_m[:, 2] - 1.5 * views.half_m)[:, None, None]
    seen = evidence(replace(hands, depth_m=covered))
    assert (seen.surface != evidence(hands).surface).any()
    assert model_to_data(mesh(hands), faces, seen, CONFIG).max() < 1e-5


def test_pixels_outside_the_crop_are_ignored(hands, faces):
    """A forearm may continue beyond the crop's border, whatever values padding has there."""
    smaller = torch.diag(torch.tensor([0.75, 0.75, 1.0])).repeat(len(hands), 1, 1)
    smaller[:, :2, 2] = 0.125 * (SIDE - 1)
    views = CubeViews.of(hands, CUBE_M).warped(smaller)
    vertices = views.in_cubes(hands.vertices_m)

    def misfit(views: CubeViews) -> Tensor:
        return model_to_data(vertices, faces, DepthEvidence.from_views(views, CONFIG, generator_for(2, 1)), CONFIG)

    filled = misfit(replace(views, inside=torch.ones_like(views.inside)))
    nearest = 2 / (0.75 * SIDE)  # the distance of two pixels, as depth is sampled from the nearest one
    assert (misfit(views) < nearest).all()
    assert (filled > 2 * misfit(views)).any()


def test_other_objects_in_the_cube_have_no_gradient(hands, faces):
    """An object before the hand, farther from the mesh than the largest distance that is penalised."""
    views = CubeViews.of(hands, CUBE_M)
    cluttered = hands.depth_m.clone()
    cluttered[:, :6, :6] = (views.centre_m[:, 2] - 0.9 * views.half_m)[:, None, None]
    seen = evidence(replace(hands, depth_m=cluttered))
    clean = evidence(hands)
    moved = mesh(hands).requires_grad_()
    far = (torch.cdist(seen.sampled, moved.detach()).amin(2) > CONFIG.max_distance + 0.05).any()
    assert far
    (gradient,) = torch.autograd.grad(data_to_model(moved, faces, seen, CONFIG).sum(), moved)
    (usual,) = torch.autograd.grad(data_to_model(moved, faces, clean, CONFIG).sum(), moved)
    assert gradient.norm() < 1.5 * usual.norm()  # 2.4 times without the limit


def test_meshes_outside_the_image_have_the_largest_misfit(hands, faces):
    away = (mesh(hands) + torch.tensor([9.0, 0.0, 0.0])).requires_grad_()
    seen = evidence(hands)
    for loss in (model_to_data, data_to_model):
        cost = loss(away, faces, seen, CONFIG)
        torch.testing.assert_close(cost, torch.full((6,), CONFIG.max_distance))
        (gradient,) = torch.autograd.grad(cost.sum(), away, allow_unused=True)
        assert gradient is None or gradient.isfinite().all()


def test_views_without_depth_have_no_misfit(hands, faces):
    seen = evidence(replace(hands, depth_m=torch.zeros_like(hands.depth_m)))
    moved = mesh(hands).requires_grad_()
    cost = model_to_data(moved, faces, seen, CONFIG) + data_to_model(moved, faces, seen, CONFIG)
    assert torch.equal(cost, torch.zeros(6))
    (gradient,) = torch.autograd.grad(cost.sum(), moved)
    assert gradient.isfinite().all()


def test_true_meshes_fit_the_other_views_of_their_set(hands, faces):
    """Cross-view: the mesh of one view, transformed to another."""
    views = CubeViews.of(hands, CUBE_M)
    other = torch.tensor([1, 2, 0, 4, 5, 3])
    T = views.world_to_cube[other] @ views.cube_to_world
    elsewhere = mesh(hands) @ T[:, :3, :3].mT + T[:, None, :3, 3]
    assert model_to_data(elsewhere, faces, evidence(hands).take(other), CONFIG).max() < 2e-3
