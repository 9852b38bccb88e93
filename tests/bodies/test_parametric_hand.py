"""Parametric hands against the rig of the renders."""

import pytest
import torch
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.anny_loading import PHENOTYPES
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.parametric_hand import AnnyHand, HandParameters, hand_meshes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> AnnyHand:
    return AnnyHand()


def subjects(count: int, seed: int = 0) -> Tensor:
    """Phenotypes from an age of about ten years."""
    phenotypes = torch.rand(count, len(PHENOTYPES), generator=torch.Generator().manual_seed(seed))
    age = PHENOTYPES.index("age")
    phenotypes[:, age] = 0.4 + 0.6 * phenotypes[:, age]
    return phenotypes


def shape_of(model: AnnyHand, phenotypes: Tensor) -> Tensor:
    """Least squares over the rest mesh."""
    original, rig = anny_hand("right"), model.model(torch.device("cpu")).rig
    offsets_m = original.rig.shaped(original.shape_coefficients(phenotypes)).vertices_m - rig.vertices_m
    return torch.linalg.lstsq(rig.vertex_basis_m.flatten(1).T, offsets_m.flatten(1).T).solution.T


def test_six_shapes_fit_all_subjects(model):
    phenotypes = subjects(50, seed=1)
    shape = shape_of(model, phenotypes)
    rig, original = model.model(torch.device("cpu")).rig, anny_hand("right")
    expected = original.rig.shaped(original.shape_coefficients(phenotypes))
    found = rig.shaped(shape)
    away = (found.vertices_m - expected.vertices_m).norm(dim=-1)
    assert away.mean() < 2e-4
    assert away.max() < 3e-3  # metres, at the far end of the forearm of an unusual subject
    assert (found.heads_m - expected.heads_m).norm(dim=-1).max() < 2e-3


def test_shapes_are_in_standard_deviations(model):
    shape = shape_of(model, subjects(600, seed=2))
    torch.testing.assert_close(shape.mean(0), torch.zeros(6), atol=0.15, rtol=0)
    torch.testing.assert_close(shape.std(0), torch.ones(6), atol=0.15, rtol=0)


def test_the_first_shape_component_scales_the_hand(model):
    hands = model.in_hand_frame(torch.zeros(2, 22), torch.eye(6)[:1] * torch.tensor([[-1.0], [1.0]]))
    length = (hands.joints[:, 12] - hands.joints[:, 0]).norm(dim=-1)
    assert length[1] > 1.1 * length[0]


def test_poses_are_angles_from_a_relaxed_hand(model):
    angles = 0.3 * torch.randn(4, 22, generator=torch.Generator().manual_seed(3))
    found = model.in_hand_frame(angles - model.relaxed_rad, torch.zeros(4, 6))
    posed = pose_hand(model.model(torch.device("cpu")), HandAngles.from_stacked(angles), torch.zeros(4, 6))
    torch.testing.assert_close(found.vertices, posed.vertices_m(), atol=1e-6, rtol=0)


def test_more_shape_components_explain_nothing_more(model):
    """Six components span the shapes of 56 coefficients. The first six do not depend on the number of components."""
    few, many = model.model(torch.device("cpu")).rig, anny_hand("right").with_population_shapes(12)
    torch.testing.assert_close(few.vertex_basis_m, many.vertex_basis_m[:6])
    assert many.vertex_basis_m[6:].norm(dim=-1).mean() < 1e-4


def test_hands_have_the_given_rotation_centre_and_unit(model):
    generator = torch.Generator().manual_seed(4)
    R = torch.linalg.qr(torch.randn(3, 3, 3, generator=generator)).Q
    R = R * torch.linalg.det(R)[:, None, None]
    place, unit_m = torch.randn(3, 3, generator=generator), torch.tensor([0.1, 0.125, 1.0])
    pose = 0.2 * torch.randn(3, 22, generator=generator)
    parameters = HandParameters(pose, torch.randn(3, 6, generator=generator), R, place)
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
