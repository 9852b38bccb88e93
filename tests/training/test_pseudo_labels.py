import copy
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from posebridge.cameras.crop import flip_map, inverse_map
from posebridge.training.pseudo_labels import (
    HasPseudoLabels,
    PseudoLabels,
    most_confident,
    pseudo_labels_of,
    update_average,
)
from training.dots import Finder, adaptation_stage, context, dots


def test_labels_are_positions_in_pixels_of_the_image():
    batch = dots(8, seed=5)
    network = Finder()
    seen = pseudo_labels_of(network.predict, batch.rgb)
    assert (seen.uv_px - batch.uv_px).norm(dim=-1).max() < 0.1
    assert torch.allclose(seen.relative_depth, torch.tensor([0.0, 0.1, 0.2]).expand(8, 3), atol=1e-5)
    assert seen.kept.all()
    assert ((seen.confidence > 0.9) & (seen.confidence <= 1)).all()
    assert not seen.uv_px.requires_grad


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 8), st.floats(0.01, 1), st.integers(0, 10**6))
def test_one_threshold_over_the_batch(batch, joints, share, seed):
    confidence = torch.rand(batch, joints, generator=torch.Generator().manual_seed(seed))
    kept = most_confident(confidence, share)
    assert kept.sum() == max(1, round(share * batch * joints))
    if not kept.all():
        assert confidence[kept].min() > confidence[~kept].max()


def test_unconfident_joints_are_not_kept():
    confidence = torch.tensor([[0.9, 0.2, 0.1], [0.8, 0.15, 0.3]])
    assert most_confident(confidence, 1 / 3).tolist() == [[True, False, False], [True, False, False]]
    assert most_confident(torch.full((2, 3), 0.4), 0.5).all()  # equal values are kept together


def test_moving_average_matches_its_formula():
    fast, slow = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = copy.deepcopy(slow.state_dict())
    for _ in range(5):
        with torch.no_grad():
            for parameter in fast.parameters():
                parameter.add_(torch.randn_like(parameter))
        update_average(slow, fast, decay=0.9)
        expected = {name: 0.9 * expected[name] + 0.1 * value for name, value in fast.state_dict().items()}
    assert all(torch.allclose(value, expected[name], atol=1e-6) for name, value in slow.state_dict().items())


def test_statistics_of_batches_are_not_averaged():
    fast, slow = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    fast(torch.randn(50, 2) + 7)
    update_average(slow, fast, decay=0.0)
    assert cast(torch.Tensor, slow.running_mean).tolist() == [0, 0]
    assert torch.equal(slow.weight, fast.weight)


def test_networks_of_another_shape_are_refused():
    with pytest.raises(ValueError):
        update_average(nn.Linear(2, 2, bias=False), nn.Linear(2, 2), 0.5)


def test_adaptation_returns_its_pseudo_labels():
    stage = adaptation_stage(context(), Finder(), kept_frac=0.25).eval()
    assert isinstance(stage, HasPseudoLabels)
    batch = dots(40, seed=6)
    shown = stage.pseudo_labels(batch.unlabelled())
    assert (shown.uv_px - batch.uv_px).norm(dim=-1).max() < 0.1
    assert shown.kept.float().mean() == pytest.approx(0.25, abs=0.02)


def test_mirrored_views_swap_left_and_right():
    """Against the definition: the left wrist of a mirrored person is at W - 1 - u of the right one."""
    seen = PseudoLabels(
        uv_px=torch.tensor([[[3.0, 5.0], [1.0, 2.0], [8.0, 9.0]]]),
        relative_depth=torch.tensor([[0.0, 0.1, 0.2]]),
        confidence=torch.tensor([[0.9, 0.5, 0.7]]),
        kept=torch.tensor([[True, False, True]]),
    )
    T_flip, mirror = flip_map(12), (0, 2, 1)
    view = seen.in_view(T_flip, mirror)
    torch.testing.assert_close(view.uv_px, torch.tensor([[[8.0, 5.0], [3.0, 9.0], [10.0, 2.0]]]))
    assert view.relative_depth.tolist() == [pytest.approx([0.0, 0.2, 0.1])]
    assert view.confidence.tolist() == [pytest.approx([0.9, 0.7, 0.5])]
    assert view.kept.tolist() == [[True, True, False]]
    back = view.in_view(inverse_map(T_flip), mirror)
    torch.testing.assert_close(back.uv_px, seen.uv_px)
    assert torch.equal(back.kept, seen.kept)
