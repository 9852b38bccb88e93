"""Errors of depth sensors, for planes, steps and balls with analytic results."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from meshes import pinhole, skewed_cameras
from posebridge.errors import InputError
from posebridge.synthesis.depth_sensor import CLEAN, CONSUMER, DepthSensorConfig, sense_depth

SIZE = 96


def _sense(depth_m: torch.Tensor, seed: int = 0, K: torch.Tensor | None = None, **config) -> torch.Tensor:
    K = pinhole(300.0, *depth_m.shape[1:], len(depth_m)).float() if K is None else K
    return sense_depth(depth_m, K, DepthSensorConfig(**config), torch.Generator().manual_seed(seed))


def _flat(*depths_m: float, size: int = SIZE) -> torch.Tensor:
    """Walls across the optical axis."""
    return torch.tensor(depths_m)[:, None, None].expand(-1, size, size).clone()


def _rays(K: torch.Tensor, size: int = SIZE) -> np.ndarray:
    """Directions (B, H, W, 3) with z = 1."""
    v, u = np.mgrid[:size, :size]
    return np.einsum("bij,hwj->bhwi", np.linalg.inv(K.double().numpy()), np.stack([u, v, np.ones_like(u)], -1))


def _ball(K: torch.Tensor, centre=(0.02, -0.03, 0.6), radius: float = 0.08) -> tuple[torch.Tensor, np.ndarray]:
    """True depth of a ball, and the angle of the line of sight to its normal in degrees (NaN off the ball)."""
    rays, centre = _rays(K), np.array(centre)
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    with np.errstate(invalid="ignore"):
        z = (b - np.sqrt(b * b - a * c)) / a
        normal = (z[..., None] * rays - centre) / radius
        cosine = -(normal * rays).sum(-1) / np.sqrt(a)
        return torch.tensor(np.nan_to_num(z)).float(), np.degrees(np.arccos(cosine.clip(-1, 1)))


def _step(near_m: float = 0.5, far_m: float = 0.8, count: int = 1) -> torch.Tensor:
    """A wall with a nearer square before its middle."""
    depth_m = _flat(*[far_m] * count)
    depth_m[:, 32:64, 40:60] = near_m
    return depth_m


def test_a_clean_sensor_changes_nothing():
    depth_m, _ = _ball(skewed_cameras(SIZE, SIZE))
    assert (depth_m > 0).flatten(1).sum(1).min() > 100
    depth_m = torch.cat([depth_m, _flat(0.7)])
    K = torch.cat([skewed_cameras(SIZE, SIZE), pinhole(300.0, SIZE, SIZE)]).float()
    assert torch.equal(sense_depth(depth_m, K, CLEAN, torch.Generator()), depth_m)


@pytest.mark.parametrize("threshold", [40.0, 60.0, 75.0])
def test_depth_beyond_the_grazing_angle_is_missing(threshold):
    """All depth beyond the angle to the ball's normal is missing, and none below it, in any crop."""
    K = skewed_cameras(SIZE, SIZE).float() * torch.tensor([3.0, 3.0, 1.0])[:, None]
    K[0, 1, 1] *= -1  # NYU's negative focal length
    K[:, :2, 2] = (SIZE - 1) / 2
    depth_m, angle_deg = _ball(K, centre=(0.005, -0.008, 0.6))
    lost = ((_sense(depth_m, K=K, grazing_deg=threshold, grazing_holes=1.0) == 0) & (depth_m > 0)).numpy()
    on_ball = depth_m.numpy() > 0
    assert on_ball.sum() > 4000
    assert lost[on_ball & (angle_deg > threshold + 5)].mean() > 0.97
    assert lost[on_ball & (angle_deg < threshold - 5)].mean() < 0.01


def test_holes_at_grazing_angles_have_the_given_frequency():
    """Walls rotated by 75 and by 65 degrees."""
    rays = _rays(pinhole(1000.0, SIZE, SIZE))[0]
    walls = [0.7 / (1 - rays[..., 0] * math.tan(math.radians(angle))) for angle in (65, 75)]
    sensed = _sense(
        torch.tensor(np.stack(walls)).float(),
        K=pinhole(1000.0, SIZE, SIZE, 2).float(),
        grazing_deg=70.0,
        grazing_holes=0.4,
        edge_jump_m=1.0,
    )
    lost = (sensed == 0).float().mean((1, 2))
    assert lost[0] == 0
    assert lost[1].item() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("step_m", [0.003, 0.02])
def test_disparity_steps_grow_with_the_square_of_the_depth(step_m):
    ramp = torch.linspace(0.4, 2.0, SIZE * SIZE).view(1, SIZE, SIZE)
    sensed = _sense(ramp, disparity_step_m=step_m)
    levels = sensed.unique().double()
    at = (levels[1:] + levels[:-1]) / 2
    np.testing.assert_allclose(levels.diff()[3:-3].numpy(), (step_m * at**2)[3:-3].numpy(), rtol=0.02)
    assert ((sensed - ramp).abs() <= 0.52 * step_m * ramp**2).all()  # the nearest level


def test_fixed_steps():
    ramp = torch.linspace(0.4, 0.9, SIZE * SIZE).view(1, SIZE, SIZE)
    sensed = _sense(ramp, fixed_step_m=0.004).double().numpy()
    np.testing.assert_allclose(sensed / 0.004, np.round(sensed / 0.004), atol=1e-4)
    assert np.abs(sensed - ramp.numpy()).max() < 0.00201


@pytest.mark.parametrize("window", [1, 3])
def test_noise_has_the_deviation_of_the_formula(window):
    depths = (0.4, 0.8, 1.6)
    config = {"noise_m": 0.001, "noise_growth": 0.002, "noise_from_m": 0.4, "noise_window": window}
    error = _sense(_flat(*depths, size=256), **config) - _flat(*depths, size=256)
    for z, e in zip(depths, error, strict=True):
        sigma = 0.001 + 0.002 * (z - 0.4) ** 2
        assert e.std().item() == pytest.approx(sigma, rel=0.04)
        assert abs(e.mean().item()) < 0.05 * sigma
        neighbours = np.corrcoef(e[:, 1:].flatten(), e[:, :-1].flatten())[0, 1]
        assert neighbours == pytest.approx((window - 1) / window, abs=0.03)  # windows with one new column each


@pytest.mark.parametrize("focal", [585.0, 292.5])
def test_lateral_noise_is_in_sensor_pixels(focal):
    """Depth encodes its column and row; pixels of the crop are as large as the sensor's, or twice as large."""
    size = 200
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    K = pinhole(focal, size, size).float()
    for place in (u, v):
        moved = _sense((1 + 1e-3 * place)[None].float(), K=K, lateral_px=3.0) - (1 + 1e-3 * place)
        inner = 1e3 * moved[0, 20:-20, 20:-20]
        expected = math.sqrt((3.0 * focal / 585.0) ** 2 + 1 / 12)  # rounding to whole pixels
        assert inner.std().item() == pytest.approx(expected, rel=0.03)
        assert abs(inner.mean().item()) < 0.1


def test_edges_lose_pixels_and_surfaces_keep_theirs():
    depth_m = _step(count=40)
    lost = (_sense(depth_m, edge_holes=0.3) == 0).float().mean(0)
    rim = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    rim[32:64, 40:60] = True
    rim[33:63, 41:59] = False  # the outermost pixels of the square,
    for shift, dim in ((1, 0), (-1, 0), (1, 1), (-1, 1)):  # and those beside it
        square = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        square[32:64, 40:60] = True
        rim |= square.roll(shift, dim) & ~square
    assert lost[rim].mean().item() == pytest.approx(0.3, abs=0.03)
    assert lost[~rim].max() == 0
    assert (_sense(_step(0.79, 0.8), edge_holes=1.0) > 0).all()  # a small step is no edge
    silhouette = _step(far_m=0.0)
    assert (_sense(silhouette, edge_holes=1.0) > 0).sum() == 30 * 18


@pytest.mark.parametrize("mirrored", [False, True])
def test_depth_in_the_shadow_of_the_projector_is_missing(mirrored):
    depth_m = _step()
    K = pinhole(300.0, SIZE, SIZE).float()
    K[:, 0, 0] *= -1 if mirrored else 1
    lost = (_sense(depth_m, K=K, projector_m=0.05) == 0)[0]
    width = 300 * 0.05 * (1 / 0.5 - 1 / 0.8)  # the difference of the disparities: 11.25 px
    row = lost[48].nonzero()[:, 0].tolist()
    assert row == list(range(40 - math.floor(width), 40))  # left of the square, up to its edge
    assert not lost[:32].any()
    assert not lost[64:].any()
    assert not (_sense(_ball(K)[0], K=K, projector_m=0.01) == 0)[_ball(K)[0] > 0].any()  # a ball hardly shadows itself
    assert not (_sense(_flat(0.7), projector_m=0.1) == 0).any()


def test_flying_pixels_lie_between_two_surfaces():
    depth_m = _step(count=20)

    def between(share: float) -> float:
        sensed = _sense(depth_m, lateral_px=2.0, mix_share=share)
        assert (sensed > 0.5 - 1e-6).all()
        assert (sensed < 0.8 + 1e-6).all()
        changed = (sensed - depth_m).abs() > 1e-6
        return ((sensed[changed] > 0.5001) & (sensed[changed] < 0.7999)).float().mean().item()

    assert between(0.0) == 0
    assert between(0.25) == pytest.approx(0.25, abs=0.03)
    silhouette = _sense(_step(far_m=0.0), lateral_px=2.0, mix_share=1.0)
    assert set(silhouette.unique().tolist()) == {0.0, 0.5}  # missing depth is not mixed


def test_dropout_removes_cells():
    sensed = _sense(_flat(*[0.7] * 20), dropout=0.1, hole_cell=3)
    lost = sensed == 0
    assert lost.float().mean().item() == pytest.approx(0.1, abs=0.01)
    blocks = lost.view(20, SIZE // 3, 3, SIZE // 3, 3).float().mean((2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}


def test_missing_regions():
    sensed = _sense(_flat(*[0.7] * 400), region_share=0.3, region_size=(0.2, 0.4))
    area = (sensed == 0).float().mean((1, 2))
    assert (area > 0).float().mean().item() == pytest.approx(0.3, abs=0.06)
    present = area[area > 0]
    assert math.pi / 4 * 0.2**2 * 0.95 < present.min()
    assert present.max() < math.pi / 4 * 0.4**2 * 1.05


def test_missing_depth_stays_missing():
    assert not sense_depth(_flat(0.0, 0.0), pinhole(300.0, SIZE, SIZE, 2).float(), CONSUMER, torch.Generator()).any()


def test_a_consumer_sensor_keeps_most_of_a_ball_where_it_is():
    K = pinhole(400.0, SIZE, SIZE, 8).float()
    depth_m, angle_deg = _ball(K)
    sensed = sense_depth(depth_m, K, replace(CONSUMER, region_share=0.0), torch.Generator().manual_seed(0)).numpy()
    facing = angle_deg < 45
    assert (sensed[facing] > 0).mean() > 0.99
    assert 0.3 < (sensed[angle_deg > 75] > 0).mean() < 0.8
    error = np.abs(sensed - depth_m.numpy())[facing & (sensed > 0)]
    assert 0.0003 < np.median(error) < 0.002
    assert np.isfinite(sensed).all()


def test_depth_depends_on_the_generator_state_only():
    depth_m, K = _step(count=3), pinhole(300.0, SIZE, SIZE, 3).float()
    torch.manual_seed(1)
    first = sense_depth(depth_m, K, CONSUMER, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    assert torch.equal(sense_depth(depth_m, K, CONSUMER, torch.Generator().manual_seed(3)), first)
    assert not torch.equal(sense_depth(depth_m, K, CONSUMER, torch.Generator().manual_seed(4)), first)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise_m", -0.001),
        ("disparity_step_m", float("nan")),
        ("edge_holes", 1.2),
        ("grazing_deg", 95.0),
        ("focal_px", 0.0),
        ("noise_window", 2),
        ("hole_cell", 0),
        ("region_size", (0.3, 0.1)),
    ],
)
def test_impossible_sensors_are_refused(field, value):
    with pytest.raises(InputError, match=rf"^{field}=.* of a depth sensor .*: give"):
        DepthSensorConfig(**{field: value})
