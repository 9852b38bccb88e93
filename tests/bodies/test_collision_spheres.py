"""Collision spheres of a hand: no overlap in open hands, and more overlap with deeper penetration."""

import pytest
import torch
from torch import Tensor

from posebridge.bodies.collision_spheres import CollisionSpheres
from posebridge.bodies.hand_articulation import HAND_ANGLE_NAMES
from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.draw import generator_for
from posebridge.synthesis.hand_poses import PoseDistribution, gesture_angles, sample_hand_poses

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> AnnyHand:
    return AnnyHand()


@pytest.fixture(scope="module")
def spheres(model) -> CollisionSpheres:
    return CollisionSpheres.from_hand(model)


def joints(model: AnnyHand, angles: Tensor, shape: float = 0.0) -> Tensor:
    coefficients = torch.zeros(len(angles), 8)
    coefficients[:, 0] = shape
    return model.in_hand_frame(angles - model.relaxed_rad, coefficients).joints


def test_66_spheres_fill_the_hand(spheres, model):
    assert spheres.weights.shape == (66, 21)
    torch.testing.assert_close(spheres.weights.sum(1), torch.ones(66))
    own = model.in_hand_frame(torch.zeros(1, 22), torch.zeros(1, 8))
    away = torch.cdist(spheres.centres(own.joints)[0], own.vertices[0]).amin(1)
    length = (own.joints[0, 9] - own.joints[0, 0]).norm()
    tips = spheres.weights[:, [4, 8, 12, 16, 20]].amax(1) > 0.5  # made smaller
    assert (away < spheres.radius * length)[~tips].all()  # each reaches the skin
    assert (spheres.radius * length < 0.025).all()


def test_open_hands_do_not_collide(spheres, model):
    angles = gesture_angles(("open", "flat", "relaxed", "pinch", "ok", "grasp")).stacked()
    for shape in (-2.0, 0.0, 2.0):
        assert spheres.overlap(joints(model, angles, shape)).max() < 1e-6


def test_sampled_hands_hardly_collide(spheres, model):
    poses = sample_hand_poses(PoseDistribution(), 300, generator_for(1, 1)).stacked()
    assert spheres.overlap(joints(model, poses)).quantile(0.9) < 0.005


def test_overlap_grows_with_depth_of_penetration(spheres, model):
    angles = torch.zeros(6, 22)
    angles[:, HAND_ANGLE_NAMES.index("index_spread")] = -torch.linspace(0, 0.28, 6)  # towards the middle finger
    cost = spheres.overlap(joints(model, angles))
    assert cost[0] < 1e-6
    assert (cost.diff() >= 0).all()
    assert cost[-1] > 0.01


def test_overlap_is_invariant_to_scale_and_translation(spheres, model):
    angles = torch.zeros(1, 22)
    angles[:, HAND_ANGLE_NAMES.index("index_spread")] = -0.3
    found = joints(model, angles)
    torch.testing.assert_close(spheres.overlap(8 * found + 3), spheres.overlap(found), atol=1e-4, rtol=1e-3)


def test_gradients_match_finite_differences(spheres, model):
    angles = torch.zeros(1, 22)
    angles[:, HAND_ANGLE_NAMES.index("index_spread")] = -0.3
    found = joints(model, angles).double().requires_grad_()
    length = (found[:, 9] - found[:, 0]).norm(dim=-1).detach()

    def cost(points: Tensor) -> Tensor:
        # The gradient treats the hand's length as a constant, and so does this function.
        first, second = spheres.checked_pairs.nonzero(as_tuple=True)
        centres, radius = spheres.weights.double() @ (points / length), spheres.radius.double()
        distance = (centres[:, first] - centres[:, second]).norm(dim=-1)
        return (radius[first] + radius[second] - distance).clamp_min(0).square().sum()

    (gradient,) = torch.autograd.grad(spheres.overlap(found).sum(), found)
    for joint in (6, 7, 8, 10, 11):
        for axis in range(3):
            step = torch.zeros_like(found)
            step[0, joint, axis] = 1e-6
            expected = (cost(found.detach() + step) - cost(found.detach() - step)) / 2e-6
            torch.testing.assert_close(gradient[0, joint, axis], expected, rtol=1e-4, atol=1e-7)
