import pytest
import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import warp_batch, warp_points
from posebridge.data.perturbations import PerturbationConfig, draw_perturbations
from posebridge.errors import InputError

SIDE = 16


DEFAULT = PerturbationConfig()


def drawn(config: PerturbationConfig = DEFAULT, count: int = 3000, seed: int = 0) -> torch.Tensor:
    return draw_perturbations(config, count, SIDE, torch.Generator().manual_seed(seed))


def test_each_view_is_a_shift_a_small_rotation_or_a_quarter_turn():
    views = drawn()
    linear, centre = views[:, :2, :2], torch.full((2,), (SIDE - 1) / 2)
    assert torch.allclose(linear @ linear.mT, torch.eye(2).expand_as(linear), atol=1e-6)
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    moved = (linear @ centre + views[:, :2, 2] - centre).abs()
    shifted, turned = moved.amax(1) > 1e-4, angle.abs() > 45
    rotated = ~shifted & ~turned
    assert not (shifted & (angle != 0)).any()
    assert 0.3 < shifted.float().mean() < 0.37
    assert 0.3 < turned.float().mean() < 0.37
    assert moved.max() <= SIDE * 5 / 64
    assert moved.max() > 0.95 * SIDE * 5 / 64
    assert angle[rotated].abs().max() <= 2
    assert angle[rotated].abs().max() > 1.9
    quarters, counts = angle[turned].abs().round().unique(return_counts=True)
    assert quarters.tolist() == [90, 180]
    assert abs(counts[0] / turned.sum() - 2 / 3) < 0.05  # 90 and 270
    assert not (drawn(PerturbationConfig(quarter_turns=False))[:, 0, 0] < 0.9).any()


def test_quarter_turns_move_pixels_onto_pixels():
    image = torch.rand(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    views = drawn(PerturbationConfig(translation=0, rotation_deg=0), 64)
    warped = warp_batch(LabelledBatch(image, tuple(map(str, range(64)))), views).rgb
    for before, after, view in zip(image, warped, views, strict=True):
        turns = {(1, 0): 0, (0, 1): 3, (-1, 0): 2, (0, -1): 1}[(int(view[0, 0]), int(view[1, 0]))]
        assert torch.allclose(after, torch.rot90(before, turns, (1, 2)), atol=1e-5)
    corner = warp_points(torch.zeros(64, 1, 2), views)
    assert ((corner - corner.round()).abs() < 1e-5).all()


def test_views_are_a_function_of_the_generator_alone():
    assert torch.equal(drawn(seed=3), drawn(seed=3))
    assert not torch.equal(drawn(seed=3), drawn(seed=4))


@pytest.mark.parametrize("values", [{"translation": 0.5}, {"translation": -0.1}, {"rotation_deg": 45.0}])
def test_ranges_without_sense_are_refused(values):
    with pytest.raises(InputError, match="too large: give"):
        PerturbationConfig(**values)
