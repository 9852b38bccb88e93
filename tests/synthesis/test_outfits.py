"""Outfits: coverage of garments, the given distribution, and colours of skin."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from posebridge.synthesis.body_surface import body_surface
from posebridge.synthesis.fabrics import plain
from posebridge.synthesis.garments import LAYERS, Cuts
from posebridge.synthesis.outfits import Outfit, OutfitDistribution, sample_outfits
from posebridge.synthesis.skin import SkinDistribution

# What the columns of a surface point mean.
ARM, HEIGHT, SCALP, LONG_HAIR, BEARD, LIPS, BROW, EYE, PALM = 3, 4, 7, 8, 9, 10, 11, 12, 13
BARE_SKIN = SkinDistribution(texture=(0.0, 0.0), tone_jitter=0.0)
NOTHING_OVER: dict[str, Any] = {"coat_share": 0.0, "bare_share": 0.0, "badge_share": 0.0}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _sample(count: int = 300, seed: int = 0, **settings: Any) -> Outfit:
    return sample_outfits(OutfitDistribution(**settings), count, _generator(seed))


def _worn(outfits: Outfit, surface: torch.Tensor) -> np.ndarray:
    """Names of the visible layers (B, N) at N points: each layer has its own grey."""
    B, N, L = len(outfits.cuts.sleeve), len(surface), len(LAYERS)
    dyes = torch.linspace(0.1, 0.9, L)[None, :, None].expand(B, L, 3)
    dyed = replace(outfits, fabrics=plain(dyes.contiguous()))
    albedo = dyed.albedo(surface.repeat(B, 1), torch.arange(B).repeat_interleave(N))
    index = (albedo[:, 0] - 0.1) / 0.8 * (L - 1)
    torch.testing.assert_close(index, index.round(), atol=1e-3, rtol=0)  # nothing between two layers
    return np.array(LAYERS)[index.round().long().view(B, N).numpy()]


def _point(**columns: float) -> torch.Tensor:
    """A point on the flank at the waist with the given changes of columns: no part of arm, head or hand."""
    point = torch.zeros(1, 14)
    point[0, :3] = torch.tensor([0.15, 0.1, 0.0])
    point[0, [ARM, HEIGHT, SCALP, LONG_HAIR, BEARD, LIPS, BROW]] = torch.tensor([-0.1, 0.2, -1, -1, -1, -1, -1])
    for name, value in columns.items():
        point[0, {"x": 0, "y": 1, "z": 2}.get(name, globals().get(name))] = value
    return point


@pytest.fixture(scope="module")
def vertices():
    return body_surface().stacked()


def test_albedos_are_physical(vertices):
    outfits = _sample(100)
    points = vertices[torch.randperm(len(vertices), generator=_generator())[:3000]]
    sample = torch.arange(100).repeat(30)
    albedo = outfits.albedo(points, sample)
    assert albedo.shape == (3000, 3)
    assert torch.isfinite(albedo).all()
    assert albedo.min() >= 0.005
    assert albedo.max() <= 0.95


def test_a_sleeve_ends_where_it_is_cut():
    outfits = _sample(**NOTHING_OVER)
    for arm in np.linspace(0.02, 1.2, 25):
        worn = _worn(outfits, _point(ARM=arm, HEIGHT=1.0, y=0.3, x=0.3))[:, 0]
        np.testing.assert_array_equal(worn == "top", (outfits.cuts.sleeve > arm).numpy())
        assert set(worn) <= {"top", "skin"}


def test_sleeves_cover_the_arm(vertices):
    arms = vertices[(vertices[:, ARM] > 0.05) & (vertices[:, ARM] < 0.98) & (vertices[:, PALM] == 0)][::7]
    hands = vertices[vertices[:, ARM] > 1.02][::7]
    bare, long = (_sample(30, sleeve=(s, s), skin=BARE_SKIN, **NOTHING_OVER) for s in (0.0, 1.0))
    assert (_worn(bare, arms) == "skin").all()
    assert (_worn(long, arms) == "top").all()
    assert (_worn(long, hands) == "skin").all()
    skin = bare.fabrics.first[:, LAYERS.index("skin")]
    one = torch.full((len(arms),), 7)
    torch.testing.assert_close(bare.albedo(arms, one), skin[7].expand(len(arms), 3))


def test_trousers_end_where_they_are_cut():
    outfits = _sample(shoe_share=0.0, sock_share=0.0, one_piece_share=0.0, leg=(0.2, 1.0), **NOTHING_OVER)
    for height in np.linspace(-1.05, -0.31, 15):  # below every shirt
        worn = _worn(outfits, _point(HEIGHT=height, y=-0.5))[:, 0]
        np.testing.assert_array_equal(worn == "bottom", (outfits.cuts.bottom_hem < height).numpy())
        assert set(worn) <= {"bottom", "skin"}
    hems = -outfits.cuts.bottom_hem
    assert hems.min() >= 0.2
    assert hems.max() <= 1.0
    assert (hems > 0.8).float().mean() > 0.5


def test_only_swimwear_uncovers_the_hips(vertices):
    hips = vertices[(vertices[:, HEIGHT].abs() < 0.02) & (vertices[:, ARM] < 0)]
    assert len(hips) > 30
    dressed = _worn(_sample(200, bare_share=0.0, leg=(0.2, 1.0)), hips)
    assert set(np.unique(dressed)) <= {"top", "bottom", "coat", "belt"}
    bathers = _sample(200, bare_share=1.0)
    chest = _point(y=0.15, HEIGHT=0.4)
    assert set(_worn(bathers, chest)[:, 0]) == {"skin"}
    assert set(np.unique(_worn(bathers, hips))) <= {"bottom", "skin", "belt"}  # briefs are cut high


def test_necklines_cover_the_shoulders_only(vertices):
    outfits = _sample(100, bare_share=0.0)
    head = vertices[vertices[:, 1] > 0.605]
    assert not np.isin(_worn(outfits, head[::20]), ["top", "coat", "badge"]).any()
    x, y, z = vertices[:, :3].T
    back = vertices[(y > 0.3) & (y < 0.52) & (x.abs() < 0.1) & (z < -0.04)]
    assert np.isin(_worn(outfits, back[::5]), ["top", "coat", "hair"]).mean() > 0.99
    front = _point(x=0.0, z=0.08, y=0.48, HEIGHT=0.85)
    bare = np.isin(_worn(_sample(400, **NOTHING_OVER), front)[:, 0], ["skin"]).mean()
    assert 0.1 < bare < 0.6  # some are cut low, some closed


def test_coats_are_open_in_front_only():
    coats = _sample(200, coat_share=1.0, bare_share=0.0, sleeve=(1.0, 1.0))
    behind = _worn(coats, _point(x=0.0, z=-0.1, y=0.3, HEIGHT=0.5))[:, 0]
    assert (behind == "coat").all()
    before = _worn(coats, _point(x=0.0, z=0.1, y=0.3, HEIGHT=0.5))[:, 0]
    np.testing.assert_array_equal(
        before != "coat", (coats.cuts.coat_open_m + 0.5 * coats.cuts.coat_flare_m > 0).numpy()
    )
    assert (before != "coat").mean() > 0.7


def test_clothes_are_symmetric(vertices):
    points = vertices[(vertices[:, 0] > 0.001)][::40]
    mirrored = points * torch.tensor([-1.0] + 13 * [1.0])
    outfits = _sample(60)
    np.testing.assert_array_equal(_worn(outfits, points), _worn(outfits, mirrored))


def test_shares_are_those_of_the_distribution():
    shares: dict[str, Any] = {
        "shoe_share": 0.7,
        "one_piece_share": 0.3,
        "coat_share": 0.4,
        "bald_share": 0.2,
        "hat_share": 0.0,
    }
    outfits = _sample(4000, bare_share=0.0, sock_share=0.0, beard_share=0.5, long_hair_share=0.0, **shares)
    crown, sole, face = (
        _point(SCALP=0.08, HEIGHT=1.2, y=0.84),
        _point(HEIGHT=-1.03, y=-0.94),
        _point(BEARD=0.03, HEIGHT=1.0, y=0.63),
    )
    back = _point(z=-0.1, y=0.3, HEIGHT=0.5)
    seen = {
        "shoe_share": np.isin(_worn(outfits, sole)[:, 0], ["shoe"]).mean(),
        "one_piece_share": (outfits.cuts.waist < 0).float().mean().item(),
        "coat_share": (_worn(outfits, back)[:, 0] == "coat").mean(),
        "bald_share": (_worn(outfits, crown)[:, 0] == "skin").mean(),
        "hat_share": 0.0,
    }
    assert seen == pytest.approx(shares, abs=0.03)
    assert (_worn(outfits, face)[:, 0] == "beard").mean() == pytest.approx(0.5, abs=0.03)
    assert (_worn(_sample(bare_share=1.0), sole)[:, 0] == "skin").all()


def test_eyes_lips_and_hair_are_visible(vertices):
    worn = _worn(_sample(20, hat_share=0.0, bald_share=0.0, long_hair_share=0.0), vertices[vertices[:, 1] > 0.61])
    assert set(np.unique(worn)) >= {"skin", "lips", "brow", "hair", "sclera", "iris"}
    for row in worn:
        assert {"lips", "brow", "hair", "sclera", "iris"} <= set(row)


def test_skin_darkens_with_the_tone():
    def brightness(tone: float) -> float:
        skin = replace(BARE_SKIN, tone=(tone, tone))
        return _sample(200, skin=skin, sleeve=(0.0, 0.0), **NOTHING_OVER).albedo(
            _point(ARM=0.6, HEIGHT=1.0).expand(200, -1), torch.arange(200)
        ).mean().item()  # fmt: skip

    levels = [brightness(tone) for tone in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.all(np.diff(levels) < -0.02)
    # The ends of the scale, from sRGB by its formula (IEC 61966-2-1).
    for level, srgb in ((levels[0], (0.96, 0.84, 0.77)), (levels[-1], (0.31, 0.20, 0.16))):
        assert level == pytest.approx((((np.array(srgb) + 0.055) / 1.055) ** 2.4).mean(), rel=1e-3)


def test_each_point_has_its_own_outfit(vertices):
    outfits, points = _sample(4), vertices[::500]
    sample = torch.randint(4, (len(points),), generator=_generator())
    together = outfits.albedo(points, sample)
    for i in range(len(points)):
        torch.testing.assert_close(together[i], outfits.albedo(points[i : i + 1], sample[i : i + 1])[0])


def test_outfits_depend_on_the_generator_state_only():
    torch.manual_seed(1)
    first = _sample(6, seed=3)
    torch.manual_seed(2)
    again, other = _sample(6, seed=3), _sample(6, seed=4)
    for f in fields(Cuts):
        assert torch.equal(getattr(first.cuts, f.name), getattr(again.cuts, f.name))
    assert torch.equal(first.fabrics.stacked(), again.fabrics.stacked())
    assert not torch.equal(first.fabrics.first, other.fabrics.first)
    assert first.fabrics.first.shape == (6, len(LAYERS), 3)
