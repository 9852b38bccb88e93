"""Circles of hands: their places, and radii that follow the size of the palm."""

import torch

from geometry.source_poses import source_poses
from posebridge.networks.circle_hand import CircleHand, palm_size
from posebridge.skeletons.hand import FINGERS, HAND21


def hands(count: int = 4) -> torch.Tensor:
    """Projected poses of rendered hands, in a 64 px image."""
    joints = source_poses("hand21")[:count, :, :2]
    joints = joints - joints.mean(1, keepdim=True)
    return 31.5 + 25 * joints / joints.abs().amax((1, 2), keepdim=True)


def test_nine_circles_lie_on_each_finger_and_ten_in_the_palm():
    uv = hands()
    circles = CircleHand()(uv, 64)
    assert circles.centres.shape == (4, 55, 2)
    for number, finger in enumerate(FINGERS):
        own = circles.centres[:, 9 * number : 9 * number + 9]
        for phalanx in range(3):
            start, end = (uv[:, HAND21.index(f"{finger}_{phalanx + k}")] for k in (1, 2))
            for step in range(3):
                expected = start + (step + 0.5) / 3 * (end - start)
                assert torch.allclose(own[:, 3 * phalanx + step], expected, atol=1e-4)
        palm, knuckle = circles.centres[:, 45 + 2 * number : 47 + 2 * number], uv[:, HAND21.index(f"{finger}_1")]
        share = (palm - uv[:, :1]).norm(dim=-1) / (knuckle - uv[:, 0]).norm(dim=-1)[:, None]
        assert torch.allclose(share, torch.tensor([0.25, 0.7]).expand_as(share), atol=1e-4)


def test_radii_follow_the_hand_under_shift_rotation_and_scale():
    hand, uv = CircleHand(), hands()
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = hand(0.5 * uv @ turn.T + 7, 64)
    assert torch.allclose(moved.radii, 0.5 * hand(uv, 64).radii, rtol=1e-4)
    assert torch.allclose(moved.centres, 0.5 * hand(uv, 64).centres @ turn.T + 7, atol=1e-3)


def test_palm_size_is_the_mean_square_of_distances_between_its_joints():
    uv = hands(1)
    joints = [0, *(HAND21.index(f"{finger}_1") for finger in FINGERS)]
    squares = [(uv[0, a] - uv[0, b]).square().sum() for a in joints for b in joints if a < b]
    assert torch.allclose(palm_size(uv)[0], torch.stack(squares).mean().sqrt())


def test_gradients_of_joints_and_radii_are_those_of_finite_differences():
    hand, uv = CircleHand().double(), hands(1).double().requires_grad_()
    weight = torch.rand(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(uv: torch.Tensor, log_radius: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(hand, {"log_radius": log_radius}, (uv, 64))
        return (found.distance(8).flatten() * weight).sum()

    assert torch.autograd.gradcheck(loss, (uv, hand.log_radius.detach().requires_grad_()), eps=1e-6, atol=1e-4)


def test_a_hand_in_one_point_has_finite_gradients():
    uv = torch.full((1, 21, 2), 5.0, requires_grad=True)
    CircleHand()(uv, 64).distance(16).sum().backward()
    assert uv.grad is not None
    assert uv.grad.isfinite().all()
