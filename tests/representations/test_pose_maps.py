from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.representations.heatmaps import expectation
from posebridge.representations.pose_maps import PoseMaps

READINGS = ["softmax", "peak"]


def uv(count: int = 3, seed: int = 0, side: int = 24) -> torch.Tensor:
    return 4 + (side - 9) * torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))


def heat_maps_of(maps: PoseMaps, places: torch.Tensor, side: int = 24) -> torch.Tensor:
    """Heat maps of a perfect network."""
    target, inside = maps.encode(places, side, side)
    assert inside.all()
    return target.clamp_min(1e-30).log() if maps.heatmap_type == "softmax" else target


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("reading", READINGS)
def test_encoded_joints_are_decoded(reading, sigma):
    maps = PoseMaps(reading, sigma)
    pose = maps.decode(heat_maps_of(maps, uv()), torch.zeros(2, 3, 24, 24))
    assert torch.allclose(pose.uv_map, uv(), atol=0.01)


@pytest.mark.parametrize("reading", READINGS)
def test_targets(reading):
    target, _ = PoseMaps(reading).encode(uv(), 24, 24)
    if reading == "softmax":
        assert torch.allclose(target.sum((2, 3)), torch.ones(2, 3), atol=1e-5)
    else:
        assert ((target.amax((2, 3)) > 0.93) & (target.amax((2, 3)) <= 1)).all()
    off, inside = PoseMaps(reading).encode(torch.tensor([[[-0.6, 5.0], [5.0, 23.4], [float("nan"), 0]]]), 24, 24)
    assert inside.tolist() == [[False, True, False]]
    assert off[0, [0, 2]].abs().max() == 0


@pytest.mark.parametrize("reading", READINGS)
def test_depth_is_read_where_the_joint_is(reading):
    """A depth map that grows along u: under a symmetric heat map its mean is its value at the joint."""
    maps = PoseMaps(reading)
    ramp = (0.5 * torch.arange(24.0) - 3).expand(2, 3, 24, 24)
    centre = uv(seed=4).round()
    pose = maps.decode(heat_maps_of(maps, centre), ramp)
    exact = 0.5 * centre[..., 0] - 3
    assert torch.allclose(pose.relative_depth, exact, atol=0.05 if reading == "softmax" else 0.3)
    heat = heat_maps_of(maps, centre)
    assert torch.equal(maps.relative_depth(heat, ramp), pose.relative_depth)
    assert torch.allclose(maps.relative_depth(heat, torch.full_like(ramp, 1.7)), torch.tensor(1.7), atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(READINGS), st.floats(0, 30), st.floats(0.5, 3), st.integers(0, 10**6))
def test_confidence_is_between_zero_and_one(reading, spread, sigma, seed):
    generator = torch.Generator().manual_seed(seed)
    heat = spread * torch.randn(2, 3, 12, 17, generator=generator)
    pose = PoseMaps(reading, sigma).decode(heat, torch.randn(2, 3, 12, 17, generator=generator))
    assert ((pose.confidence >= 0) & (pose.confidence <= 1)).all()
    assert ((pose.uv_map >= -0.5) & (pose.uv_map <= torch.tensor([16.5, 11.5]))).all()
    assert pose.relative_depth.isfinite().all()


def test_softmax_confidence_is_the_probability_near_the_peak():
    maps = PoseMaps("softmax", sigma=1.5)
    heat = 2 * torch.randn(1, 4, 20, 20, generator=torch.Generator().manual_seed(0))
    pose = maps.decode(heat, torch.zeros_like(heat))
    for joint in range(4):
        probability = heat[0, joint].flatten().softmax(0).view(20, 20)
        u, v = (int(value) for value in pose.uv_map[0, joint].round())
        square = probability[max(0, v - 3) : v + 4, max(0, u - 3) : u + 4]
        assert pose.confidence[0, joint].item() == pytest.approx(square.sum().item(), rel=1e-4)


def test_confidence_falls_with_uncertainty():
    maps = PoseMaps("softmax", sigma=1.0)
    places = uv(1)
    confidence = maps.decode(heat_maps_of(maps, places), torch.zeros(2, 1, 24, 24)).confidence
    twice = torch.logaddexp(heat_maps_of(maps, places), heat_maps_of(maps, 23 - places))
    torn = maps.decode(twice, torch.zeros(2, 1, 24, 24)).confidence
    flat = maps.decode(torch.zeros(2, 1, 24, 24), torch.zeros(2, 1, 24, 24)).confidence
    assert (confidence > 0.9).all()
    assert torch.allclose(torn[1], torch.tensor(0.5), atol=0.1)
    assert (flat < 0.05).all()


def test_confidence_of_a_peak_is_its_height():
    maps = PoseMaps("peak")
    heat = torch.tensor([0.2, 0.7, 1.4, -1.0])[None, :, None, None] * heat_maps_of(maps, torch.full((1, 4, 2), 11.0))
    confidence = maps.decode(heat, torch.zeros_like(heat)).confidence
    assert torch.allclose(confidence, torch.tensor([[0.2, 0.7, 1.0, 0.0]]), atol=1e-6)


def test_softmax_ignores_constants():
    maps = PoseMaps("softmax")
    heat, depth = torch.randn(1, 2, 16, 16), torch.randn(1, 2, 16, 16)
    one, other = maps.decode(heat, depth), maps.decode(heat + 5, depth)
    assert torch.allclose(one.uv_map, other.uv_map, atol=1e-3)
    assert torch.allclose(one.relative_depth, other.relative_depth, atol=1e-4)


@pytest.mark.parametrize("height", [1.0, 0.4, 0.3, 0.1])
def test_soft_position_of_a_weak_peak(height):
    """A single peak of any height is read where it is, in a map of 64 px with noise."""
    maps = PoseMaps("peak")
    places = uv(count=8, side=64)
    noise = 0.01 * height * torch.randn(2, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    heat = (height * heat_maps_of(maps, places, 64) + noise).requires_grad_()
    found = expectation(maps.probability(heat))
    assert (found - places).norm(dim=-1).max() < 0.3
    depth = torch.arange(64.0).expand(2, 8, 64, 64)  # of the columns
    assert torch.allclose(maps.relative_depth(heat, depth), places[..., 0], atol=0.3)
    found.sum().backward()
    assert heat.grad.abs().sum() > 0
    flat = expectation(maps.probability(torch.zeros(1, 1, 64, 64)))
    assert torch.allclose(flat, torch.full((1, 1, 2), 31.5), atol=1e-3)  # no peak: the middle


@pytest.mark.parametrize("sigma", [0.3, 1.5, 2.0])
def test_confidence_is_a_mean_of_the_map_that_is_zero_outside(sigma):
    """Against the mean over every square, also for peaks at the corners."""
    maps, radius = PoseMaps(sigma=sigma), max(1, round(2 * sigma))
    heat = torch.randn(5, 4, 12, 9, generator=torch.Generator().manual_seed(0))
    for i, (row, column) in enumerate([(0, 0), (11, 8), (0, 8), (11, 0), (5, 4)]):
        heat[i, :, row, column] += 9
    side = 2 * radius + 1
    sums = F.avg_pool2d(F.pad(maps.probability(heat), (radius,) * 4), side, stride=1) * side**2
    peaks = torch.tensor([0, 11 * 9 + 8, 8, 11 * 9, 5 * 9 + 4])[:, None, None].expand(5, 4, 1)
    expected = sums.flatten(2).gather(2, peaks)[..., 0].clamp(0, 1)
    torch.testing.assert_close(maps.decode(heat, torch.zeros_like(heat)).confidence, expected)


@pytest.mark.parametrize("heatmap_type", ["softmax", "peak"])
def test_means_are_read_where_the_config_says_so(heatmap_type):
    """Two unequal peaks: the higher one, or the mean of the distribution as numpy computes it."""
    heat = torch.full((1, 1, 24, 24), 0.0 if heatmap_type == "peak" else -1e9)
    heat[0, 0, 5, 4], heat[0, 0, 15, 20] = 0.0, 0.9
    maps = PoseMaps(heatmap_type)
    peak = maps.decode(heat, torch.zeros_like(heat)).uv_map[0, 0]
    assert peak.tolist() == [20, 15]
    probability = maps.probability(heat)[0, 0].double().numpy()
    rows, columns = np.mgrid[:24, :24]
    expected = [(probability * columns).sum(), (probability * rows).sum()]
    mean = replace(maps, decoding="mean").decode(heat, torch.zeros_like(heat)).uv_map[0, 0]
    assert mean.tolist() == pytest.approx(expected, abs=1e-3)
