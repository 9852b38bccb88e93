"""Parametric hands against the rig of the renders."""

import pytest
import torch
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.parametric_hand import AnnyHand, HandParameters, bounded_shape, hand_meshes
from posebridge.bodies.shape_distribution import HAND_POPULATION, sample_hand_shapes
from posebridge.draw import generator_for

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> AnnyHand:
    return AnnyHand()


def subjects(count: int, seed: int = 0) -> Tensor:
    return sample_hand_shapes(HAND_POPULATION, count, generator_for(seed, 1))


def shape_of(model: AnnyHand, phenotypes: Tensor) -> Tensor:
    """Least squares over the rest mesh."""
    original, rig = anny_hand("right"), model.model(torch.device("cpu")).rig
    offsets_m = original.rig.shaped(original.shape_coefficients(phenotypes)).vertices_m - rig.vertices_m
    return torch.linalg.lstsq(rig.vertex_basis_m.flatten(1).T, offsets_m.flatten(1).T).solution.T


def test_shapes_fit_all_subjects(model):
    phenotypes = subjects(50, seed=1)
    shape = shape_of(model, phenotypes)
    rig, original = model.model(torch.device("cpu")).rig, anny_hand("right")
    expected = original.rig.shaped(original.shape_coefficients(phenotypes))
    found = rig.shaped(shape)
    away = (found.vertices_m - expected.vertices_m).norm(dim=-1)
    assert away.mean() < 4e-4
    assert away.max() < 0.01  # metres, at the far end of the forearm of an unusual subject
    assert (found.heads_m - expected.heads_m).norm(dim=-1).max() < 2e-3


def test_shapes_are_in_standard_deviations_within_the_range(model):
    shape = shape_of(model, subjects(600, seed=2))
    torch.testing.assert_close(shape.mean(0), torch.zeros(8), atol=0.15, rtol=0)
    torch.testing.assert_close(shape.std(0), torch.ones(8), atol=0.15, rtol=0)
    low, high = model.shape_range
    slack = 0.1 * (high - low)
    assert ((shape > low - slack) & (shape < high + slack)).float().mean() > 0.99


def test_hands_are_as_long_as_those_of_the_renders(model):
    """Straight hands, for any shape: no longer or shorter than the renders' by more than 6%."""
    original = anny_hand("right")
    rendered_m = length_m(original.rig.shaped(original.shape_coefficients(subjects(1000))).keypoints_m())
    shape = torch.tensor([[-90.0], [90.0]]).expand(2, 8)
    bound_m = length_m(model.in_hand_frame(-model.relaxed_rad.expand(2, 22), shape).joints)
    torch.testing.assert_close(bound_m[0], rendered_m.min(), atol=0, rtol=0.06)
    torch.testing.assert_close(bound_m[1], rendered_m.max(), atol=0, rtol=0.06)


def length_m(joints_m: Tensor) -> Tensor:
    return (joints_m[:, 12] - joints_m[:, 0]).norm(dim=-1)


def test_shapes_are_softly_bounded():
    low, high = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    shape = torch.linspace(-80, 80, 4001, dtype=torch.float64)[:, None]
    found = bounded_shape(shape, low, high)
    inside = (shape >= -2) & (shape <= 3)
    assert torch.equal(found[inside], shape[inside])
    assert ((found >= -2.25) & (found <= 3.25)).all()
    near = torch.linspace(-2.3, 3.3, 100, dtype=torch.float64)[:, None].requires_grad_()
    assert (bounded_shape(near, low, high).diff(dim=0) > 0).all()
    assert torch.autograd.gradcheck(bounded_shape, (near, low, high))


def test_the_first_shape_component_scales_the_hand(model):
    hands = model.in_hand_frame(torch.zeros(2, 22), torch.eye(8)[:1] * torch.tensor([[-1.0], [1.0]]))
    length = length_m(hands.joints)
    assert length[1] > 1.1 * length[0]


def test_poses_are_angles_from_a_relaxed_hand(model):
    angles = 0.3 * torch.randn(4, 22, generator=torch.Generator().manual_seed(3))
    found = model.in_hand_frame(angles - model.relaxed_rad, torch.zeros(4, 8))
    posed = pose_hand(model.model(torch.device("cpu")), HandAngles.from_stacked(angles), torch.zeros(4, 8))
    torch.testing.assert_close(found.vertices, posed.vertices_m(), atol=1e-6, rtol=0)


def test_more_shape_components_explain_nothing_more(model):
    """Three components span phenotypes. They do not depend on the number of components; finger lengths come last."""
    few, many = model.model(torch.device("cpu")).rig, anny_hand("right").population_shapes(12).rig
    torch.testing.assert_close(few.vertex_basis_m[:3], many.vertex_basis_m[:3])
    torch.testing.assert_close(few.vertex_basis_m[3:], many.vertex_basis_m[-5:])
    assert many.vertex_basis_m[3:7].norm(dim=-1).mean() < 2e-4


def test_hands_have_the_given_rotation_centre_and_unit(model):
    generator = torch.Generator().manual_seed(4)
    R = torch.linalg.qr(torch.randn(3, 3, 3, generator=generator)).Q
    R = R * torch.linalg.det(R)[:, None, None]
    place, unit_m = torch.randn(3, 3, generator=generator), torch.tensor([0.1, 0.125, 1.0])
    pose = 0.2 * torch.randn(3, 22, generator=generator)
    parameters = HandParameters(pose, torch.randn(3, 8, generator=generator), R, place)
    found, own = hand_meshes(model, parameters, unit_m), model.in_hand_frame(pose, parameters.shape)
    torch.testing.assert_close(found.joints.mean(1), place, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.cdist(found.joints, found.joints) * unit_m[:, None, None],
        torch.cdist(own.joints, own.joints),
        atol=1e-5,
        rtol=0,
    )
    fingers = found.joints[:, 9] - found.joints[:, 0]
    expected = (R @ (own.joints[:, 9] - own.joints[:, 0])[..., None])[..., 0] / unit_m[:, None]
    torch.testing.assert_close(fingers, expected, atol=1e-5, rtol=0)
