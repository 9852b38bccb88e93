"""Skins and sleeves: physical ranges, and the given distribution."""

import numpy as np
import pytest
import torch

from posebridge.synthesis.skin import SkinDistribution, sample_skins

# What the columns of a surface point mean: rest (3), palm, nail, crease, tip, arm.
PALM, NAIL, CREASE, ARM = 3, 4, 5, 7


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _points(count: int, **columns: float) -> torch.Tensor:
    surface = torch.zeros(count, 8)
    surface[:, :3] = 0.1 * torch.rand(count, 3, generator=_generator(9))
    for name, value in columns.items():
        surface[:, globals()[name]] = value
    return surface


def _albedo(distribution: SkinDistribution, **columns: float) -> torch.Tensor:
    """One point of each of 2000 skins."""
    return sample_skins(distribution, 2000, _generator()).albedo(_points(2000, **columns), torch.arange(2000))


def test_skin_albedos_are_physical():
    for columns in ({}, {"PALM": 1.0}, {"NAIL": 1.0}, {"CREASE": 1.0}, {"ARM": 1.0}):
        albedo = _albedo(SkinDistribution(sleeve_share=0.5), **columns)
        assert torch.isfinite(albedo).all()
        assert albedo.min() >= 0.005
        assert albedo.max() <= 0.95


def test_skin_is_redder_than_it_is_blue():
    albedo = _albedo(SkinDistribution(texture=(0.0, 0.0), tone_jitter=0.0))
    assert (albedo[:, 0] > albedo[:, 1]).all()
    assert (albedo[:, 1] > albedo[:, 2]).all()


def test_tones_run_from_light_to_dark():
    plain = {"texture": (0.0, 0.0), "tone_jitter": 0.0}
    light, middle, dark = (_albedo(SkinDistribution(tone=(t, t), **plain)).mean(0).numpy() for t in (0.0, 0.5, 1.0))
    # The lightest and the darkest of the scale, from sRGB by its formula (IEC 61966-2-1).
    for tone, srgb in ((light, (0.96, 0.84, 0.77)), (dark, (0.31, 0.20, 0.16))):
        np.testing.assert_allclose(tone, ((np.array(srgb) + 0.055) / 1.055) ** 2.4, rtol=1e-4)
    assert (light > middle).all()
    assert (middle > dark).all()


def test_dark_hands_have_lighter_palms():
    dark = SkinDistribution(tone=(0.8, 1.0), texture=(0.0, 0.0))
    assert (_albedo(dark, PALM=1.0) > _albedo(dark)).all()


def test_texture_has_the_given_strength():
    skins = sample_skins(SkinDistribution(texture=(0.1, 0.1)), 1, _generator())
    albedo = skins.albedo(_points(5000), torch.zeros(5000, dtype=torch.long))
    relative = albedo.std(0) / albedo.mean(0)
    assert 0.04 < relative.min() < relative.max() < 0.1  # a sum of random waves of amplitude 0.1 varies by 0.07


def test_sleeves_begin_on_the_forearm():
    distribution = SkinDistribution(sleeve_share=0.5)
    skins = sample_skins(distribution, 2000, _generator())
    sleeved = skins.sleeve_from < 1
    assert sleeved.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert skins.sleeve_from.min() >= 0.02
    plain = sample_skins(SkinDistribution(sleeve_share=0.0), 2000, _generator())
    for arm in (0.0, 0.018):
        torch.testing.assert_close(
            _albedo(distribution, ARM=arm), plain.albedo(_points(2000, ARM=arm), torch.arange(2000))
        )
    bare = _albedo(SkinDistribution(sleeve_share=0.0), ARM=1.0)
    differs = (_albedo(distribution, ARM=1.0) - bare).abs().amax(-1) > 1e-6
    assert torch.equal(differs, sleeved)


def test_each_point_has_its_own_sample_of_skin():
    skins = sample_skins(SkinDistribution(), 3, _generator())
    points = _points(6)
    order = torch.tensor([2, 0, 1, 1, 0, 2])
    together = skins.albedo(points, order)
    for row, sample in enumerate(order.tolist()):
        alone = skins.albedo(points[row : row + 1], torch.tensor([sample]))
        torch.testing.assert_close(together[row], alone[0])


def test_skins_depend_on_the_generator_state_only():
    torch.manual_seed(1)
    first = sample_skins(SkinDistribution(), 5, _generator(3)).base
    torch.manual_seed(2)
    assert torch.equal(sample_skins(SkinDistribution(), 5, _generator(3)).base, first)
    assert not torch.equal(sample_skins(SkinDistribution(), 5, _generator(4)).base, first)
