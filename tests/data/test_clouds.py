"""Clouds of the visible surface, against projection."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.clouds import draw_clouds

SIDE = 24


def drawn(batch: LabelledBatch, count: int = 32, seed: int = 0):
    return draw_clouds(batch, count, torch.Generator().manual_seed(seed))


def tilted_planes(hand: Tensor) -> LabelledBatch:
    """A plane at depth 0.5 m + 1 mm for each column, seen under different cameras; ``hand`` (B, S, S) is its mask."""
    batch = len(hand)
    depth_m = (0.5 + 0.001 * torch.arange(SIDE)).expand(batch, SIDE, SIDE)
    K = torch.tensor([[60.0, 0, 10], [0, 60, 14], [0, 0, 1]]).repeat(batch, 1, 1)
    K[1:, 0, 0] = -60  # mirrored crops
    return LabelledBatch(
        image=torch.zeros(batch, 3, SIDE, SIDE),
        key=tuple(map(str, range(batch))),
        camera=Camera(K),
        hand_mask=hand,
        depth_label_m=depth_m.clone(),
    )


@pytest.fixture
def planes() -> LabelledBatch:
    hand = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    hand[0, 4:14, 6:20] = hand[1, 2:12, 3:9] = True
    return tilted_planes(hand)


def pixels_of(batch: LabelledBatch, points_m: Tensor) -> Tensor:
    assert batch.camera is not None
    uv = batch.camera.project(points_m)
    torch.testing.assert_close(uv, uv.round(), atol=1e-3, rtol=0)
    return uv.round().long()


def test_points_lie_on_the_hand_at_its_depth(planes):
    clouds = drawn(planes)
    assert clouds.present.all()
    uv = pixels_of(planes, clouds.points_m)
    for b in range(2):
        assert planes.hand_mask[b, uv[b, :, 1], uv[b, :, 0]].all()
        torch.testing.assert_close(clouds.points_m[b, :, 2], 0.5 + 0.001 * uv[b, :, 0])
        assert len(uv[b].unique(dim=0)) == 32  # none twice: both hands have more pixels


def test_draws_are_functions_of_the_generator(planes):
    assert torch.equal(drawn(planes).points_m, drawn(planes).points_m)
    assert not torch.equal(drawn(planes).points_m, drawn(planes, seed=1).points_m)


def test_all_pixels_are_drawn_alike(planes):
    counts = torch.zeros(SIDE, SIDE)
    for seed in range(300):
        u, v = pixels_of(planes, drawn(planes, 30, seed).points_m)[1].unbind(-1)
        counts[v, u] += 1
    inside = counts[planes.hand_mask[1]]  # 60 pixels, of which each draw takes half
    assert counts.sum() == inside.sum() == 300 * 30
    assert (inside - 150).abs().max() < 5 * (300 * 0.25) ** 0.5


def test_small_hands_repeat_their_points_equally_often(planes):
    """60 pixels for 150 points: each is taken twice or three times."""
    uv = pixels_of(planes, drawn(planes, 150).points_m)[1]
    _, counts = uv.unique(dim=0, return_counts=True)
    assert sorted(counts.tolist()) == [2] * 30 + [3] * 30


def test_more_points_than_pixels_of_the_crop(planes):
    assert len(pixels_of(planes, drawn(planes, SIDE * SIDE + 10).points_m)[0].unique(dim=0)) == 140


@pytest.mark.parametrize("unknown", [0.0, float("nan"), float("inf")])
def test_pixels_without_depth_are_left_out(planes, unknown):
    planes.depth_label_m[:, :, :12] = unknown
    clouds = drawn(planes)
    assert clouds.present.tolist() == [True, False]
    assert (pixels_of(planes[:1], clouds.points_m[:1])[..., 0] >= 12).all()
    assert not clouds.points_m[1].any()


@pytest.mark.parametrize(("pixels", "present"), [(15, False), (16, True)])
def test_hands_of_few_pixels_have_no_cloud(pixels, present):
    hand = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    hand[0, 0, :pixels] = True
    assert drawn(tilted_planes(hand)).present.item() is present


@pytest.mark.parametrize("label", ["depth_label_m", "hand_mask", "camera"])
def test_clouds_need_their_labels(planes, label):
    with pytest.raises(ValueError, match="clouds need"):
        drawn(replace(planes, **{label: None}))
