"""Materials: patterns of the second colour by hand, palettes and frequencies."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from posebridge.synthesis.fabrics import (
    PatternShares,
    fabric_albedo,
    plain,
    sample_cloth,
    sample_from_palette,
    stack,
    where,
)

BLACK, WHITE = torch.tensor([0.1, 0.1, 0.1]), torch.tensor([0.8, 0.7, 0.6])
PLAIN = PatternShares(0.0, 0.0, 0.0, 0.0, 0.0)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _patterned(mix, threshold=0.0, around_stripe=(0.0, 0.0), along_stripe=(0.0, 0.0)):
    return replace(
        plain(BLACK[None]),
        second=WHITE[None],
        mix=torch.tensor([mix]),
        threshold=torch.tensor([[threshold]]),
        sharpness=torch.tensor([[1e4]]),
        around_stripe=torch.tensor([around_stripe]),
        along_stripe=torch.tensor([along_stripe]),
    )


def _colours(fabrics, along_m, around_rad: torch.Tensor | float = 0.0, palm: torch.Tensor | float = 0.0, rest_m=None):
    along_m = torch.as_tensor(along_m)
    rows = fabrics.stacked().expand(-1, len(along_m)).contiguous()
    rest_m = torch.zeros(3, len(along_m)) if rest_m is None else rest_m
    around, palms = (torch.as_tensor(v).expand(len(along_m)).contiguous() for v in (around_rad, palm))
    return fabric_albedo(rows, rest_m, along_m, around, palms)


def test_plain_cloth_has_one_colour():
    rest_m = torch.rand(3, 50, generator=_generator())
    torch.testing.assert_close(_colours(plain(WHITE[None]), rest_m[0], rest_m=rest_m), WHITE.expand(50, 3))


def test_stripes_around_repeat_along_the_limb():
    stripes_around = _patterned([1.0, 0.0, 0.0, 0.0], around_stripe=(2 * math.pi / 0.08, 0.0))
    # Of a period of 8 cm the first half is white.
    along = torch.tensor([0.01, 0.03, 0.05, 0.07, 0.09, 0.13, -0.01])
    white = torch.tensor([True, True, False, False, True, False, False])
    for around in (0.0, 2.0):
        torch.testing.assert_close(_colours(stripes_around, along, around), torch.where(white[:, None], WHITE, BLACK))


def test_stripes_along_repeat_around_it_without_a_seam():
    stripes_along = _patterned([0.0, 1.0, 0.0, 0.0], along_stripe=(6.0, 0.3))
    angles = torch.linspace(-math.pi + 1e-3, math.pi - 1e-3, 4001)
    shown = _colours(stripes_along, torch.linspace(0, 1, 4001), angles)[:, 0] > 0.5
    assert (shown[1:] != shown[:-1]).sum() == 12
    assert shown[0] == shown[-1]
    assert shown.float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_dots_are_islands_of_the_second_colour():
    dots = _patterned([1.0, 1.0, 0.0, 0.0], 1.2, around_stripe=(2 * math.pi / 0.1, 0.0), along_stripe=(10.0, 0.0))
    n = 100
    along, around = torch.meshgrid(torch.linspace(0, 0.2, n), torch.linspace(0, 0.4 * math.pi, n), indexing="ij")
    shown = (_colours(dots, along.flatten(), around.flatten())[:, 0] > 0.5).view(n, n)
    assert shown[12, 12]  # both crests, a quarter of a period in
    assert not shown[n // 2].any()
    assert not shown[:, n // 2].any()
    assert 0.05 < shown.float().mean() < 0.25


def test_palms_are_blended_towards_the_second_colour():
    skin = replace(_patterned([0.0, 0.0, 0.0, 1.0], 0.5), sharpness=torch.ones(1, 1))
    palm = torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(_colours(skin, torch.zeros(3), palm=palm), torch.lerp(BLACK, WHITE, palm[:, None]))


def test_relief_has_the_given_strength():
    cloth = sample_cloth(PLAIN, (0.2, 0.8), 0.0, 300, _generator())
    rest_m = torch.rand(3, 3000, generator=_generator(1))
    for i in range(0, 300, 60):
        one = replace(plain(WHITE[None]), relief=torch.tensor([[0.1]]), **{
            name: getattr(cloth, name)[i : i + 1] for name in ("wave_vectors", "wave_phases")
        })  # fmt: skip
        relative = _colours(one, torch.zeros(3000), rest_m=rest_m) / WHITE
        assert relative.std(0).mean().item() == pytest.approx(0.1, rel=0.35)  # 4 waves scaled to deviation 1
        assert relative.mean().item() == pytest.approx(1.0, abs=0.06)


def test_pattern_frequencies_match_their_shares():
    shares = PatternShares(stripes_around=0.3, stripes_along=0.0, checks=0.1, dots=0.2, prints=0.15)
    cloth = sample_cloth(shares, (0.2, 0.8), 0.1, 4000, _generator())
    kinds, counts = np.unique(cloth.mix.numpy(), axis=0, return_counts=True)
    seen = {tuple(kind): count / 4000 for kind, count in zip(kinds.tolist(), counts, strict=True)}
    expected = {(1, 0, 0, 0): 0.3, (0.5, 0.5, 0, 0): 0.1, (1, 1, 0, 0): 0.2, (0, 0, 1, 0): 0.15, (0, 0, 0, 0): 0.25}
    assert seen.keys() == expected.keys()
    for kind, share in expected.items():
        assert seen[kind] == pytest.approx(share, abs=0.03)
    assert torch.equal(cloth.along_stripe[:, 0], cloth.along_stripe[:, 0].round())  # so that stripes close
    assert shares.scaled(0.5).dots == pytest.approx(0.1)


def test_saturation_is_that_of_the_free_colours():
    grey = sample_cloth(PLAIN, (0.0, 0.0), 0.0, 3000, _generator()).first
    vivid = sample_cloth(PLAIN, (1.0, 1.0), 0.0, 3000, _generator()).first
    # A fully saturated colour has one channel at zero; the least albedo is 0.005.
    pure = (vivid.amin(1) < 0.0051) & (vivid.amax(1) > 0.019)  # and is not black
    assert pure.float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert vivid[pure].argmax(1).bincount(minlength=3).min() > 0.25 * pure.sum()  # all hues
    neutral = grey.amax(1) - grey.amin(1) < 1e-3
    assert neutral.float().mean().item() == pytest.approx(0.4, abs=0.05)


def test_denim_is_blue():
    denim = sample_cloth(PLAIN, (0.2, 0.8), 1.0, 500, _generator()).first
    assert (denim[:, 2] > denim[:, 0]).float().mean() > 0.98


def test_palette_lies_between_its_anchors():
    drawn = sample_from_palette(((0.2, 0.2, 0.2), (0.8, 0.4, 0.2)), 2000, _generator())
    srgb = np.where(drawn <= 0.0031308, 12.92 * drawn, 1.055 * drawn.numpy() ** (1 / 2.4) - 0.055)
    assert srgb[:, 0].mean() == pytest.approx(0.5, abs=0.02)
    assert srgb[:, 1].mean() == pytest.approx(0.3, abs=0.02)
    assert np.corrcoef(srgb[:, 0], srgb[:, 1])[0, 1] > 0.9
    assert np.abs(srgb[:, 2] - 0.2).max() < 0.1


def test_rows_and_layers():
    a, b = plain(BLACK.expand(3, 3)), plain(WHITE.expand(3, 3))
    mixed = where(torch.tensor([True, False, True]), a, b)
    torch.testing.assert_close(mixed.first, torch.stack([BLACK, WHITE, BLACK]))
    both = stack([a, b])
    assert both.first.shape == (3, 2, 3)
    torch.testing.assert_close(both.stacked()[:3, :, 1], WHITE[:, None].expand(3, 3))
