import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes

TYPES, DECODINGS = ["softmax", "peak"], ["maximum", "mean"]
SIZE = (16, 24, 20)  # D, h, w: all different, so that no axis can stand for another


def codec(volume_type: str = "softmax", sigma: float = 1.5, **changes) -> PoseVolumes:
    return PoseVolumes(volume_type, sigma, **{"depth_bins": SIZE[0], "depth_range": 2.0, **changes})


def poses(seed: int = 0, margin: float = 5.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Joints at least ``margin`` pixels within the map, and depths within a third of the range."""
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([SIZE[2], SIZE[1]]) - 1 - 2 * margin
    return margin + extent * torch.rand(2, 3, 2, generator=generator), 1.4 * torch.rand(2, 3, generator=generator) - 0.7


def volumes_of(volumes: PoseVolumes, uv_map: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Volumes of a perfect network."""
    target = volumes.targets(uv_map, depth, torch.ones_like(depth, dtype=torch.bool), SIZE)
    assert target.has_depth.all()
    factors = (
        target.along_z[..., :, None, None],
        target.along_v[..., None, :, None],
        target.along_u[..., None, None, :],
    )
    dense = math.prod(factors[1:], start=factors[0])
    return dense.clamp_min(1e-30).log() if volumes.volume_type == "softmax" else dense


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("volume_type", TYPES)
def test_encoded_joints_are_decoded(volume_type, decoding):
    volumes, (uv_map, depth) = codec(volume_type, decoding=decoding), poses()
    pose = volumes.decode(volumes_of(volumes, uv_map, depth))
    assert torch.allclose(pose.uv_map, uv_map, atol=0.01)
    assert torch.allclose(pose.relative_depth, depth, atol=0.01 * 4 / SIZE[0])
    assert (pose.confidence > 0.8).all()


@pytest.mark.parametrize("volume_type", TYPES)
def test_target_against_a_loop(volume_type):
    volumes, (uv_map, depth) = codec(volume_type), poses(seed=2)
    dense = volumes_of(volumes, uv_map, depth)
    u, v = uv_map[1, 2].tolist()
    w = (depth[1, 2].item() + 2) / 4 * SIZE[0] - 0.5  # the range of 4 bones in D bins
    expected = torch.zeros(SIZE, dtype=torch.float64)
    for i, j, k in itertools.product(*map(range, SIZE)):
        expected[i, j, k] = math.exp(-((i - w) ** 2 + (j - v) ** 2 + (k - u) ** 2) / (2 * 1.5**2))
    if volume_type == "softmax":
        expected = (expected / expected.sum()).clamp_min(1e-30).log()
    torch.testing.assert_close(dense[1, 2].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("volume_type", TYPES)
def test_labels_that_are_missing_or_outside(volume_type):
    uv_map = torch.tensor([[[-0.6, 5.0], [5.0, 23.4], [math.nan, 0.0], [5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]])
    depth = torch.tensor([[0.0, 0.0, 0.0, 2.01, math.nan, 0.3]])
    has_depth = torch.tensor([[True, True, True, True, True, False]])
    target = codec(volume_type).targets(uv_map, depth, has_depth, SIZE)
    assert target.inside.tolist() == [[False, True, False, True, True, True]]
    assert target.has_depth.tolist() == [[False, True, False, False, False, False]]
    assert target.along_u[0, [0, 2]].abs().max() == target.along_v[0, [0, 2]].abs().max() == 0
    assert target.along_z[0, [0, 2, 3, 4, 5]].abs().max() == 0
    assert all(factor.isfinite().all() for factor in (target.along_u, target.along_v, target.along_z))


def test_depth_and_bins():
    volumes = PoseVolumes(depth_bins=8, depth_range=2.0)
    assert volumes.bin_of_depth(torch.tensor([-2.0, 0.0, 2.0])).tolist() == [-0.5, 3.5, 7.5]
    depth = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(volumes.depth_of_bin(volumes.bin_of_depth(depth)), depth)


def slow_decode(volumes: PoseVolumes, volume: torch.Tensor) -> tuple[float, float, float, float]:
    """u, v, depth and confidence of one volume (D, h, w), by whole volumes in float64."""
    volume = volume.double()
    if volumes.volume_type == "peak":
        probability = (volume / volume.max().clamp_min(0.05)).clamp_min(0.01) ** volumes.peak_power
        probability /= probability.sum()
    else:
        probability = volume.flatten().softmax(0).view(volume.shape)
    if volumes.decoding == "mean":
        grids = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in volume.shape), indexing="ij")
        w, v, u = ((probability * grid).sum().item() for grid in grids)
    else:
        place = torch.unravel_index(volume.argmax(), volume.shape)
        refined = []
        for axis, at in enumerate(int(index) for index in place):
            # A parabola through logarithms; across a neighbour, the other axes' best are taken for u and v.
            line = volume.amax(0).select(2 - axis, int(place[3 - axis])) if axis else volume[:, place[1], place[2]]
            logs = line if volumes.volume_type == "softmax" else (line / line.max()).clamp_min(1e-6).log()
            logs = logs.clamp_min(logs.max() + math.log(1e-6))
            if 0 < at < len(line) - 1:
                low, high = logs[at - 1] - logs[at], logs[at + 1] - logs[at]
                refined.append(at + (0.5 * (low - high) / (low + high)).item())
            else:
                refined.append(float(at))
        w, v, u = refined
    if volumes.volume_type == "peak":
        confidence = volume.max().clamp(0, 1).item()
    else:
        radius, plane = round(2 * volumes.sigma), probability.sum(0)
        rows, columns = (slice(max(0, round(c) - radius), round(c) + radius + 1) for c in (v, u))
        confidence = plane[rows, columns].sum().item()
    depth = ((w + 0.5) / volume.shape[0] * 2 - 1) * volumes.depth_range
    return u, v, depth, confidence


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("volume_type", TYPES)
def test_decoding_against_a_slow_twin(volume_type, decoding):
    volumes = codec(volume_type, decoding=decoding)
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(6, 3, *SIZE, generator=generator)  # more images than are decoded at once
    clean = torch.cat([volumes_of(volumes, *poses(seed=seed)) for seed in (1, 2, 3)])
    given = clean + (0.5 if volume_type == "softmax" else 0.05) * noise
    pose = volumes.decode(given)
    for image, joint in itertools.product(range(6), range(3)):
        u, v, depth, confidence = slow_decode(volumes, given[image, joint])
        found = (*pose.uv_map[image, joint].tolist(), pose.relative_depth[image, joint].item())
        assert found == pytest.approx((u, v, depth), abs=2e-3)
        assert pose.confidence[image, joint].item() == pytest.approx(confidence, abs=1e-4)


def test_means_of_flat_volumes_are_in_the_middle():
    for volume_type, level in itertools.product(TYPES, (-1.0, 0.0, 0.3)):
        pose = codec(volume_type, decoding="mean").decode(torch.full((1, 2, *SIZE), level))
        torch.testing.assert_close(pose.uv_map, torch.tensor([9.5, 11.5]).expand(1, 2, 2))
        torch.testing.assert_close(pose.relative_depth, torch.zeros(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("volume_type", TYPES)
def test_decoding_leaves_volumes_as_they_are(volume_type, decoding):
    volumes = codec(volume_type, decoding=decoding)
    given = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    before = given.clone()
    volumes.decode(given)
    assert torch.equal(given, before)


def test_confidence_is_that_of_a_heat_map_with_the_same_marginal():
    volumes, maps = codec(decoding="maximum"), PoseMaps("softmax", 1.5)
    generator = torch.Generator().manual_seed(1)
    # Independent of depth, so that the highest voxel lies behind the marginal's highest pixel.
    heat, along = torch.randn(2, 3, *SIZE[1:], generator=generator), torch.randn(2, 3, SIZE[0], generator=generator)
    found = volumes.decode(heat[:, :, None] + along[..., None, None])
    expected = maps.decode(heat, torch.zeros_like(heat))
    torch.testing.assert_close(found.confidence, expected.confidence)
    torch.testing.assert_close(found.uv_map, expected.uv_map)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(TYPES),
    st.sampled_from(DECODINGS),
    st.floats(0, 1000),
    st.floats(-1000, 1000),
    st.integers(0, 10**6),
)
def test_any_finite_volume_is_decoded(volume_type, decoding, spread, offset, seed):
    volumes = codec(volume_type, decoding=decoding)
    given = offset + spread * torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(seed))
    pose = volumes.decode(given)
    assert ((pose.confidence >= 0) & (pose.confidence <= 1)).all()
    assert ((pose.uv_map >= -0.5) & (pose.uv_map <= torch.tensor([19.5, 23.5]))).all()
    assert (pose.relative_depth.abs() <= 2).all()
