"""Branches, attention, own norms and the stopped gradient of the dual-modality network."""

import copy

import pytest
import torch
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.dual_modality import (
    BRANCHES,
    Branch,
    DualModalityNetwork,
    attention,
    depth_image,
)
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.weights import load_weights, save_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def network(skips: bool = True, stop_gradient: bool = True) -> DualModalityNetwork:
    torch.manual_seed(0)
    config = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, joints=5, skips=skips)
    return DualModalityNetwork(PoseResNet(config), stop_gradient)


def inputs(count: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 32, 32, generator=generator), torch.rand(count, 32, 32, generator=generator)


def test_attention_against_a_loop_of_eq_7_2():
    features = torch.rand(2, 6, 3, 4).relu()
    weights = attention(features)
    for b in range(2):
        mean = [sum(features[b, c, i, j].item() for i in range(3) for j in range(4)) / 12 for c in range(6)]
        products = [[sum(mean[c] * features[b, c, i, j].item() for c in range(6)) for j in range(4)] for i in range(3)]
        total = sum(map(sum, products))
        expected = torch.tensor(products) / total * 12
        torch.testing.assert_close(weights[b, 0], expected, rtol=1e-5, atol=1e-6)


def test_attention_after_a_relu_is_bounded_and_has_mean_one():
    weights = attention(torch.randn(4, 8, 5, 5).relu())
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.mean((-2, -1)), torch.ones(4, 1))
    empty = torch.zeros(1, 8, 5, 5, requires_grad=True)
    attention(empty).sum().backward()
    assert torch.equal(attention(empty), torch.zeros(1, 1, 5, 5))
    assert empty.grad is not None
    assert empty.grad.isfinite().all()


def test_attention_is_that_of_the_depth_features():
    """Features that the depth branch passes on are its attention times those before."""
    net = network().eval()
    _, depth = inputs()
    features, weights = net.attended_depth(depth)
    x = net.pose.normalisation(depth[:, None].expand(-1, 3, -1, -1))
    for name in ("conv1", "bn1", "act1"):
        x = getattr(net.depth_encoder, name)(x)
    torch.testing.assert_close(weights[0], attention(x))
    torch.testing.assert_close(features[0], attention(x) * x)
    assert len(weights) == len(net.pose.features(inputs()[0]))


@pytest.mark.parametrize("skips", [False, True])
def test_the_branch_of_colour_is_the_pose_network(skips):
    net = network(skips).eval()
    images, depth = inputs()
    outputs = net(images, depth)
    heat, joint_depth = net.pose(images)
    torch.testing.assert_close(outputs["rgb"].maps.heat, heat)
    torch.testing.assert_close(outputs["rgb"].maps.depth, joint_depth)
    assert tuple(outputs) == BRANCHES
    for output in outputs.values():
        torch.testing.assert_close(output.latent.norm(dim=1), torch.ones(3))
    for branch in BRANCHES:  # alone, each branch has the same output as beside the others
        torch.testing.assert_close(net(images, depth, (branch,))[branch].maps.heat, outputs[branch].maps.heat)


def test_fusion_is_the_encoder_of_colour_with_weights_between_its_stages():
    """With the norms of colour and weights of one, fusion is the branch of colour."""
    net = network().eval()
    images, _ = inputs()
    own = net.pose.features(images)
    ones = [torch.ones(3, 1, *level.shape[-2:]) for level in own]
    for level, fused in zip(own, net.fused(images, ones), strict=True):
        torch.testing.assert_close(level, fused)
    doubled = [2 * weight if i == 0 else weight for i, weight in enumerate(ones)]
    torch.testing.assert_close(net.fused(images, doubled)[0], 2 * own[0])


def norms_of(net: DualModalityNetwork) -> dict[str, nn.Module]:
    return {"rgb": net.pose.encoder, "depth": net.depth_encoder, "fusion": net.fusion_norms}


@pytest.mark.parametrize(("branch", "moved"), [("rgb", {"rgb"}), ("depth", {"depth"}), ("fusion", {"depth", "fusion"})])
def test_each_branch_moves_its_own_statistics(branch: Branch, moved):
    """The depth features of fusion are those of the depth branch, with that branch's norms."""
    net = network().train()
    before = {name: copy.deepcopy([*part.buffers()]) for name, part in norms_of(net).items()}
    net(*inputs(), (branch,))
    changed = {
        name
        for name, part in norms_of(net).items()
        if not all(torch.equal(a, b) for a, b in zip(before[name], part.buffers(), strict=True))
    }
    assert changed == moved


def with_gradient(net: DualModalityNetwork, branch: Branch) -> set[str]:
    net.zero_grad()
    output = net(*inputs(), (branch,))[branch]
    (output.maps.heat.square().mean() + output.latent[:, 0].sum()).backward()
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_the_stopped_gradient():
    """Fusion trains convolutions of colour and its own norms. It trains the depth encoder only without the stop."""
    names = with_gradient(network(), "fusion")
    assert not any(name.startswith("depth_encoder") for name in names)
    assert any(name.startswith("fusion_norms") for name in names)
    assert any(name.startswith("rgb.pose.encoder") for name in names)
    norms = {name for name, module in network().named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert not {name.rpartition(".")[0] for name in names if name.startswith("rgb.pose.encoder")} & norms
    assert any(n.startswith("depth_encoder") for n in with_gradient(network(stop_gradient=False), "fusion"))
    own = with_gradient(network(), "depth")
    assert any(name.startswith("depth_encoder.layer1") for name in own)
    assert not any(name.startswith(("rgb.pose.encoder", "fusion_norms")) for name in own)


def test_the_depth_branch_is_trained_through_its_own_attention():
    """The gradient with attention held fixed is another one."""
    net = network()
    _, depth = inputs()
    features, _ = net.attended_depth(depth)
    (through,) = torch.autograd.grad(features[0].square().sum(), net.depth_encoder.bn1.weight)
    x = net.pose.normalisation(depth[:, None].expand(-1, 3, -1, -1))
    for name in ("conv1", "bn1", "act1"):
        x = getattr(net.depth_encoder, name)(x)
    (fixed,) = torch.autograd.grad((attention(x).detach() * x).square().sum(), net.depth_encoder.bn1.weight)
    assert not torch.allclose(through, fixed)


def test_shared_weights_stay_one_object_and_are_stored_once(tmp_path):
    """A step of the optimiser moves the convolutions of both branches; a loaded network predicts the same."""
    net = network()
    shared = dict(net.pose.encoder.named_parameters())
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        sum(output.maps.heat.square().mean() for output in net(*inputs()).values()).backward()
        optimiser.step()
    assert all(p is shared[name] for name, p in net.pose.encoder.named_parameters())
    stored = net.state_dict()
    assert len({value.data_ptr() for name, value in stored.items() if value.numel() > 1}) == sum(
        value.numel() > 1 for value in stored.values()
    )
    save_weights(net, tmp_path / "w.safetensors")
    other = DualModalityNetwork(PoseResNet(net.pose.config))
    load_weights(other, tmp_path / "w.safetensors")
    for branch in BRANCHES:
        found = (n.eval()(*inputs(), (branch,))[branch].maps.heat for n in (net, other))
        torch.testing.assert_close(*found)


def test_the_depth_encoder_starts_as_a_copy():
    net = network()
    for own, copied in zip(net.pose.encoder.parameters(), net.depth_encoder.parameters(), strict=True):
        assert torch.equal(own, copied)
        assert own is not copied


def test_other_encoders_are_refused():
    config = PoseResNetConfig(encoder="test_efficientnet", encoder_stride=16, decoder_channels=8)
    with pytest.raises(InputError, match="needs a ResNet, and the encoder is test_efficientnet: choose resnet18"):
        DualModalityNetwork(PoseResNet(config))


def test_depth_is_needed_by_all_branches_but_colour():
    net = network()
    assert tuple(net(inputs()[0], branches=("rgb",))) == ("rgb",)
    with pytest.raises(ValueError, match="need depth maps"):
        net(inputs()[0])


def test_predicted_depth_as_an_input():
    """A constant map stays constant at the size of the images, clamped and without gradient."""
    predicted = torch.tensor([0.25, 1.5, -0.5])[:, None, None].expand(3, 8, 8).clone().requires_grad_()
    image = depth_image(predicted, 32)
    assert image.shape == (3, 32, 32)
    torch.testing.assert_close(image[:, 5, 7], torch.tensor([0.25, 1.0, 0.0]))
    assert not image.requires_grad
