"""Networks of depth hands: shapes, initial outputs, empty crops, and fusion of views."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from posebridge.bodies.parametric_hand import AnnyHand, HandMesh, HandParameters, hand_meshes
from posebridge.geometry.offset_maps import OffsetMaps, encode_offsets
from posebridge.networks.depth_hand import (
    DepthHandConfig,
    DepthHandNet,
    ParameterHead,
    ViewPrediction,
    palm_frame,
    rotation_from_6d,
    with_joint_gradients,
)
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.skeletons.hand import HAND21

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = DepthHandConfig(
    encoder="test_resnet",
    decoder_channels=8,
    stack=HourglassConfig(blocks=2, channels=8, most_channels=16),
)
SIDE = 32


def crops(count: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, points at half their resolution, and the surface: a tilted plane with a border."""
    generator = torch.Generator().manual_seed(seed)
    picture = 0.3 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    axis = torch.linspace(-1, 1, SIDE // 2)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([u, v, 0.2 * u]).expand(count, -1, -1, -1)
    return picture, points, ((u.abs() < 0.8) & (v.abs() < 0.8)).expand(count, -1, -1)


def network(**changes) -> DepthHandNet:
    torch.manual_seed(0)
    return DepthHandNet(replace(TINY, **changes)).eval()


@pytest.mark.parametrize("stacks", [1, 2])
def test_every_stack_predicts_a_hand(stacks):
    found = network(stacks=stacks)(*crops())
    assert len(found) == stacks
    for seen in found:
        assert seen.joints.shape == (2, 21, 3)
        assert seen.maps.direction.shape == (2, 21, 3, 16, 16)
        torch.testing.assert_close(seen.weights.flatten(2).sum(-1), torch.ones(2, 21))
        assert seen.weights[:, :, 0].abs().max() == 0  # the border is background
        torch.testing.assert_close(seen.quality, seen.weights.flatten(2).amax(-1))
        torch.testing.assert_close(torch.linalg.det(seen.hand.R), torch.ones(2))
        assert seen.pooled_features().shape == (2, 21, 8)


def test_new_one_layer_head_predicts_an_upright_hand():
    seen = network(parameter_head_width=None)(*crops())[-1]
    hand = hand_meshes(AnnyHand(), seen.hand, torch.full((2,), 0.125))
    fingers = hand.joints[:, 9] - hand.joints[:, 0]
    assert (fingers[:, 1] < -0.5).all()  # y is down in the picture
    assert (hand.joints[:, 5, 0] > hand.joints[:, 17, 0] + 0.2).all()  # so a right hand's index is on the right
    assert hand.joints.mean((0, 1)).norm() < 0.1


def posed_hands() -> HandMesh:
    """Hands of the model at random positions in the cube, with relaxed fingers."""
    g = torch.Generator().manual_seed(2)
    turn = rotation_from_6d(torch.randn(3, 6, generator=g))
    place = 0.3 * torch.randn(3, 3, generator=g)
    relaxed = HandParameters(torch.zeros(3, 22), torch.zeros(3, 8), turn, place)
    return hand_meshes(AnnyHand(), relaxed, torch.full((3,), 0.125))


def test_new_head_with_joints_predicts_a_hand_on_them():
    expected = posed_hands()
    head = ParameterHead(8, DepthHandConfig(parameter_head_width=16))
    found = hand_meshes(AnnyHand(), head(torch.zeros(3, 8), expected.joints), torch.full((3,), 0.125))
    assert (found.joints - expected.joints).norm(
        dim=-1
    ).max() < 0.08  # a centimetre: the palm's frame is tilted by 5 degrees


def test_predicted_hands_move_rigidly_with_the_joints():
    """Weights of rotation and translation are zero, so that only the motion changes."""
    expected = posed_hands()
    head = ParameterHead(8, DepthHandConfig(parameter_head_width=16))
    with torch.no_grad():
        head.layer.weight.normal_(generator=torch.Generator().manual_seed(0))
        head.get_parameter("hidden.0.weight")[:, -12:] = 0  # no effect of rotation and translation
    found = head(torch.zeros(3, 8), expected.joints)
    torch.testing.assert_close(found.pose, found.pose[:1].expand(3, -1), atol=1e-4, rtol=1e-4)
    R, middle = palm_frame(expected.joints), expected.joints.mean(1)
    turned, shift = R.transpose(1, 2) @ found.R, found.centre - middle
    torch.testing.assert_close(turned, turned[:1].expand(3, -1, -1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shift, shift[:1].expand(3, -1), atol=1e-4, rtol=1e-4)


def test_head_passes_no_gradient_to_its_joints():
    joints = posed_hands().joints.requires_grad_()
    predicted = ParameterHead(8, DepthHandConfig(parameter_head_width=16))(torch.randn(3, 8), joints)
    total = sum(value.sum() for value in vars(predicted).values())
    assert torch.autograd.grad(total, joints, allow_unused=True)[0] is None


def test_joint_gradients_can_be_added():
    """The gradient is that of a rigid motion with the palm's frame and the mean of the joints."""
    joints = posed_hands().joints.requires_grad_()
    hands = ParameterHead(8, DepthHandConfig(parameter_head_width=16))(torch.randn(3, 8), joints)
    moving = with_joint_gradients(hands, joints)
    for name, value in vars(moving).items():
        torch.testing.assert_close(value, getattr(hands, name))
    (by_place,) = torch.autograd.grad(moving.centre.sum(), joints)
    torch.testing.assert_close(by_place, torch.full_like(joints, 1 / 21))
    weights = torch.randn(3, 3, 3)
    carried = palm_frame(joints) @ (palm_frame(joints).mT @ hands.R).detach()
    (expected,) = torch.autograd.grad((weights * carried).sum(), joints)
    (by_turn,) = torch.autograd.grad((weights * moving.R).sum(), joints)
    torch.testing.assert_close(by_turn, expected)
    assert [*by_turn.abs().sum((0, 2)).nonzero()[:, 0]] == [0, 5, 17]  # wrist and outer knuckles
    assert torch.autograd.gradcheck(palm_frame, joints.detach().double().requires_grad_())


def test_head_with_joints_needs_hand21():
    with pytest.raises(ValueError, match="parameter_head_width needs the joints of hand21"):
        ParameterHead(8, DepthHandConfig(joints=14, parameter_head_width=16))


def test_joints_that_coincide_have_an_upright_frame():
    R = palm_frame(torch.zeros(2, 21, 3))
    torch.testing.assert_close(R, torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(2, 3, 3))


def test_true_maps_decode_to_the_joints():
    _, points, surface = crops()
    joints = 0.3 * torch.randn(2, 21, 3, generator=torch.Generator().manual_seed(1))
    maps = encode_offsets(points, surface, joints, max_distance=3.0)
    made = network(max_distance=3.0)
    weight = torch.zeros(2, 21, 16, 16)
    raw = torch.cat([maps.heat, maps.direction.flatten(1, 2), weight], dim=1)
    seen = made._decode(raw, made.parameter_head, torch.zeros(2, made.encoder_channels), raw, points, surface)
    torch.testing.assert_close(seen.joints, joints, atol=1e-5, rtol=0)


def test_empty_crops_give_finite_values_and_gradients():
    picture, points, surface = crops()
    made = network(stacks=2, parameter_head_width=16).train()
    seen = made(picture, points, torch.zeros_like(surface))[-1]
    assert torch.equal(seen.joints, torch.zeros(2, 21, 3))
    moving = with_joint_gradients(seen.hand, seen.joints)
    (seen.joints.sum() + seen.features.sum() + moving.centre.sum() + moving.R.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_autocast_keeps_positions():
    made, batch = network(), crops()
    with torch.autocast("cpu", torch.bfloat16):
        found = made(*batch)[-1]
    assert found.joints.dtype == found.hand.centre.dtype == torch.float32
    torch.testing.assert_close(found.joints, made(*batch)[-1].joints, atol=0.02, rtol=0)


def test_rotations_by_columns():
    six = torch.randn(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    R = rotation_from_6d(six)
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(rotation_from_6d(R.mT[:, :2].flatten(1)), R)
    assert torch.autograd.gradcheck(rotation_from_6d, six[:5].detach().requires_grad_())


def test_network_heads_take_joints():
    made, joints = network(parameter_head_width=8), torch.randn(2, 21, 3, generator=torch.Generator().manual_seed(5))
    nn.init.normal_(made.parameter_head.layer.weight)
    whole = torch.zeros(2, made.encoder_channels)
    there, elsewhere = (made.parameter_head(whole, where.requires_grad_()) for where in (joints, joints + 0.1))
    assert (there.pose - elsewhere.pose).abs().amax() > 1e-3
    assert not torch.autograd.grad(there.pose.sum(), joints, allow_unused=True)[0]  # they are trained by labels only


def view_prediction(joints: Tensor, seed: int = 3) -> ViewPrediction:
    """Predictions of views whose pixel-wise joints are ``joints``."""
    generator = torch.Generator().manual_seed(seed)
    made = network()
    maps = OffsetMaps(torch.zeros(len(joints), 21, 4, 4), torch.zeros(len(joints), 21, 3, 4, 4))
    weights = torch.rand(len(joints), 21, 4, 4, generator=generator).flatten(2).softmax(-1).view(-1, 21, 4, 4)
    features = torch.randn(len(joints), 8, 4, 4, generator=generator)
    model = made.parameter_head(torch.zeros(len(joints), made.encoder_channels), joints)
    points, surface = torch.zeros(len(joints), 3, 4, 4), torch.ones(len(joints), 4, 4, dtype=torch.bool)
    return ViewPrediction(maps, weights, joints, model, features, 0.8, points, surface)


def test_views_that_agree_give_their_hand():
    """A new fusion returns the hand on which all views agree."""
    torch.manual_seed(0)
    model = DepthHandModel(TINY, ViewFusionConfig(width=16), HAND21).eval()
    generator = torch.Generator().manual_seed(4)
    hand = torch.randn(2, 1, 21, 3, generator=generator)
    R = torch.linalg.qr(torch.randn(2, 3, 3, 3, generator=generator)).Q
    T = torch.eye(4).repeat(2, 3, 1, 1)
    T[..., :3, :3], T[..., :3, 3] = R, torch.randn(2, 3, 3, generator=generator)
    seen = torch.linalg.solve(R[:, :, None], (hand - T[:, :, None, :3, 3])[..., None])[..., 0]
    fused = model.fuse(view_prediction(seen.flatten(0, 1)), T.flatten(0, 1), sets=2)
    torch.testing.assert_close(fused.fusion.joints, hand[:, 0], atol=1e-5, rtol=0)
    assert fused.hand.pose.shape == (2, 22)
