"""Fusion of views: properties for any weights, the hand-made rules against numpy, and training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from posebridge.networks.view_fusion import (
    PerNodeLinear,
    ViewFusion,
    ViewFusionConfig,
    ViewJoints,
    mean_of_views,
    median_of_views,
    weighted_mean_of_views,
)
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = 5
CONFIGS = [
    ViewFusionConfig(width=16, visual=visual, confidence=confidence)
    for visual, confidence in ((False, "none"), (True, "none"), (True, "shared"), (True, "grouped"))
]
RULES = [mean_of_views, weighted_mean_of_views, median_of_views]


def some_views(count: int = 3, batch: int = 4, joints: int = 21, seed: int = 0) -> ViewJoints:
    g = torch.Generator().manual_seed(seed)
    return ViewJoints(
        torch.randn(batch, count, joints, 3, generator=g),
        torch.randn(batch, count, joints, CHANNELS, generator=g),
        torch.rand(batch, count, joints, generator=g),
        torch.ones(batch, count, dtype=torch.bool),
    )


def network(config: ViewFusionConfig = CONFIGS[-1], skeleton=HAND21) -> ViewFusion:
    """Random weights without zeros, like those of a trained network."""
    torch.manual_seed(0)
    made = ViewFusion(config, skeleton, CHANNELS)
    for layer in (made.offset_head, made.quality_head):
        nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def taken(views: ViewJoints, order: Tensor) -> ViewJoints:
    return ViewJoints(*(value[:, order] for value in vars(views).values()))


@pytest.mark.parametrize("confidence", ["shared", "grouped"])
def test_confidence_does_not_dominate_positions(confidence):
    """In a new network, any change of confidence has less effect than a joint moved by a tenth of the cube."""
    torch.manual_seed(0)
    views, joints_only = some_views(), replace(CONFIGS[0], width=64)
    with_it = ViewFusion(replace(joints_only, confidence=confidence), HAND21, CHANNELS)

    def effect(**changes: Tensor) -> Tensor:
        return (with_it(replace(views, **changes)).global_features - with_it(views).global_features).norm(dim=-1)

    moved = effect(joints=views.joints + 0.2)
    assert (effect(quality=1 - views.quality) < moved).all()


@pytest.mark.parametrize("config", CONFIGS, ids=["joints", "features", "confidence", "grouped"])
def test_new_fusion_is_the_mean(config):
    views = some_views()
    fused = ViewFusion(config, HAND21, CHANNELS)(views)
    torch.testing.assert_close(fused.joints, mean_of_views(views))
    torch.testing.assert_close(fused.quality.sum(1), torch.ones(4, 21))
    assert fused.global_features.shape == (4, 16)


@pytest.mark.parametrize("skeleton", [HAND21, H36M17], ids=["hand", "body"])
def test_order_of_views_does_not_matter(skeleton):
    views, order = some_views(4, joints=len(skeleton)), torch.tensor([2, 0, 3, 1])
    fused, other = network(skeleton=skeleton)(views), network(skeleton=skeleton)(taken(views, order))
    torch.testing.assert_close(other.joints, fused.joints, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.refined, fused.refined[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.global_features, fused.global_features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", [network(), *RULES], ids=["graph", "mean", "weighted", "median"])
def test_padding_is_ignored(fusion):
    """Three views and two of padding with random values; separately and in one batch."""
    views = some_views(5)
    present = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    hole = ~present[..., None, None]
    padded = replace(
        views,
        present=present,
        joints=views.joints.masked_fill(hole, torch.nan),
        features=views.features.masked_fill(hole, torch.inf),
    )
    fused = fusion(padded)
    found = fused if isinstance(fused, Tensor) else fused.joints
    for row, there in enumerate(present):
        alone = ViewJoints(*(value[row : row + 1, there] for value in vars(views).values()))
        one = fusion(alone)
        torch.testing.assert_close(
            found[row], one[0] if isinstance(one, Tensor) else one.joints[0], atol=1e-5, rtol=1e-5
        )


def test_padding_has_no_gradient():
    views = some_views(3)
    present = torch.tensor([[True, True, False]]).repeat(4, 1)
    joints = views.joints.clone().requires_grad_()
    made = network()
    made(
        replace(views, joints=joints.masked_fill(~present[..., None, None], torch.nan), present=present)
    ).joints.sum().backward()
    assert joints.grad is not None
    assert joints.grad.isfinite().all()
    assert (joints.grad[:, 2] == 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for name, p in made.named_parameters())


def test_a_sample_without_views_is_refused():
    views = some_views(2)
    with pytest.raises(ValueError, match="has no view to fuse"):
        network()(replace(views, present=torch.tensor([[True, True], [False, False], [True, True], [True, False]])))


def test_hand_made_rules_against_numpy():
    for count in (2, 3, 4):
        views = some_views(count)
        joints = views.joints.numpy()
        np.testing.assert_allclose(mean_of_views(views).numpy(), joints.mean(1), atol=1e-6)
        np.testing.assert_allclose(median_of_views(views).numpy(), np.median(joints, axis=1), atol=1e-6)
        expected = np.average(joints, axis=1, weights=np.broadcast_to(views.quality.numpy()[..., None], joints.shape))
        np.testing.assert_allclose(weighted_mean_of_views(views).numpy(), expected, atol=1e-5)


def test_each_node_has_its_own_layer():
    layer, x = PerNodeLinear(3, 4, 2), torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    for node in range(3):
        expected = x[:, :, node] @ layer.weight[node] + layer.bias[node]
        torch.testing.assert_close(layer(x)[:, :, node], expected)


def test_features_of_other_views_change_all_joints():
    """The candidate's joints change through cross-view edges alone, as its own features stay the same."""
    views, made = some_views(2), network()
    other = replace(views, features=views.features.clone())
    other.features[:, 1, 8] += 3
    before, after = made(views).refined[:, 0], made(other).refined[:, 0]
    assert (after - before).abs().amax((0, 2)).min() > 0  # pooled to one node and unpooled, so all joints change


def test_fusion_learns_which_view_is_right():
    """One view of each joint is correct, and a feature marks it. The mean of views is wrong; the network is not."""
    g = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    made = ViewFusion(ViewFusionConfig(width=16), HAND21, CHANNELS)
    optimiser = torch.optim.AdamW(made.parameters(), 1e-2)

    def draw(count: int) -> tuple[ViewJoints, Tensor]:
        true = torch.randn(count, 21, 3, generator=g)
        right = torch.randint(3, (count, 21), generator=g)
        good = (torch.arange(3)[None, :, None] == right[:, None]).float()
        joints = true[:, None] + (1 - good)[..., None] * torch.randn(count, 3, 21, 3, generator=g)
        features = torch.cat([good[..., None], torch.randn(count, 3, 21, CHANNELS - 1, generator=g)], -1)
        return ViewJoints(
            joints, features, torch.rand(count, 3, 21, generator=g), torch.ones(count, 3, dtype=torch.bool)
        ), true

    for _ in range(100):
        views, true = draw(16)
        loss = (made(views).joints - true).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    views, true = draw(256)
    with torch.no_grad():
        learnt, mean = ((joints - true).norm(dim=-1).mean() for joints in (made(views).joints, mean_of_views(views)))
    assert learnt < 0.4 * mean
