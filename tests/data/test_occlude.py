"""Adaptive occlusion, checked pixel by pixel on images whose pixels are all different."""

import pytest
import torch

from posebridge.data.occlude import OcclusionConfig, adaptive_occlusion
from posebridge.errors import InputError

ALWAYS = OcclusionConfig(probability=1.0)


def _unique_pixels(count: int, height: int, width: int) -> torch.Tensor:
    return torch.arange(count * height * width, dtype=torch.float64).view(count, 1, height, width).expand(-1, 3, -1, -1)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 64), (96, 160)])
def test_one_box_of_the_same_image_covers_a_confident_joint(height, width):
    count, joints = 60, 5
    images = _unique_pixels(count, height, width)
    uv_px = torch.rand(count, joints, 2, generator=_generator(1)) * torch.tensor([width - 1.0, height - 1.0])
    confidence = torch.rand(count, joints, generator=_generator(2)) * 0.6 + 0.4
    before = images.clone()
    occluded, hit = adaptive_occlusion(images, uv_px, confidence, ALWAYS, _generator())
    assert torch.equal(images, before)
    largest = round(height * 20 / 256)
    for i in range(count):
        v, u = (occluded[i, 0] != images[i, 0]).nonzero(as_tuple=True)
        if not (confidence[i] >= 0.9).any():
            assert len(v) == 0
            assert not hit[i].any()
            continue
        tall, wide = int(v.max() - v.min()) + 1, int(u.max() - u.min()) + 1
        assert len(v) == tall * wide  # a full box
        assert largest / 2 - 1 <= min(tall, wide) <= max(tall, wide) <= largest
        source = occluded[i, 0, v, u].long() - i * height * width
        away_v, away_u = source // width - v, source % width - u
        assert len(away_v.unique()) == len(away_u.unique()) == 1  # the same box, moved
        assert away_v.abs()[0] >= tall
        assert away_u.abs()[0] >= wide
        rounded = uv_px[i].round().long()
        expected = [(int(y), int(x)) in set(zip(v.tolist(), u.tolist(), strict=True)) for x, y in rounded]
        assert hit[i].tolist() == expected
        assert (hit[i] & (confidence[i] >= 0.9)).any()


def test_half_of_the_images_and_all_confident_joints_are_occluded():
    images = torch.rand(2000, 1, 32, 32, generator=_generator(3))
    uv_px = torch.tensor([[4.0, 4.0], [16.0, 16.0], [28.0, 28.0], [4.0, 28.0]]).repeat(2000, 1, 1)
    confidence = torch.tensor([0.95, 0.91, 0.5, 0.99]).repeat(2000, 1)
    _, hit = adaptive_occlusion(images, uv_px, confidence, OcclusionConfig(), _generator())
    assert abs(hit.any(1).float().mean() - 0.5) < 0.04
    assert (hit.float().mean(0)[[0, 1, 3]] - 1 / 6).abs().max() < 0.03
    assert not hit[:, 2].any()


def test_joints_off_the_image_or_unknown_are_never_chosen():
    images = torch.rand(8, 3, 64, 64)
    uv_px = torch.tensor([[-5.0, 10.0], [float("nan"), 3.0], [70.0, 70.0]]).repeat(8, 1, 1)
    same, hit = adaptive_occlusion(images, uv_px, torch.ones(8, 3), ALWAYS, _generator())
    assert torch.equal(same, images)
    assert not hit.any()


def test_occlusions_depend_on_the_generator():
    images, uv_px, confidence = torch.rand(4, 3, 64, 64), torch.rand(4, 21, 2) * 64, torch.ones(4, 21)
    runs = [adaptive_occlusion(images, uv_px, confidence, ALWAYS, _generator(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("wrong", [{"probability": 1.5}, {"largest_side": 0.5}, {"smallest_side": 0.2}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        OcclusionConfig(**wrong)
