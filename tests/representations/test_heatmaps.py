import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.subpix import spatial_expectation2d, spatial_softmax2d

from posebridge.representations.heatmaps import (
    decode_argmax,
    encode_gaussian,
    expectation,
    image_from_map,
    map_from_image,
    spatial_softmax,
)

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "oracles" / "heatmap_cases.json"


@pytest.fixture(scope="module")
def oracle() -> dict:
    if not ORACLES.exists():
        pytest.skip("../shared/data is absent")
    return json.loads(ORACLES.read_text())


def soft_argmax(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    return expectation(spatial_softmax(logits, temperature))


def normalised(uv_map: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Half-pixel convention: the map's outer borders are -1 and 1."""
    return (2 * uv_map + 1) / torch.tensor([width, height]) - 1


def random_positions(generator: torch.Generator, margin: float, height: int = 64, width: int = 48) -> torch.Tensor:
    size = torch.tensor([width - 1 - 2 * margin, height - 1 - 2 * margin])
    return margin + size * torch.rand(8, 21, 2, generator=generator)


def test_expectation_of_the_published_case_in_both_conventions(oracle):
    case = oracle["dsnt_expectation"]
    uv = expectation(torch.tensor(case["heatmap"], dtype=torch.float32)[None, None])
    torch.testing.assert_close(uv[0, 0].tolist(), case["expected_xy_pixel"])
    expected = case["expected_xy_normalised_half_pixel_convention"]
    torch.testing.assert_close(normalised(uv, 5, 5)[0, 0], torch.tensor(expected))


def test_gradient_of_a_coordinate_loss_is_the_published_one(oracle):
    case = oracle["dsnt_mse_grad"]
    heatmap = torch.tensor(oracle["dsnt_expectation"]["heatmap"], requires_grad=True)
    mass = heatmap.sum()  # one, but with a gradient: coordinates of the published case are weighted sums
    xy = (2 * expectation(heatmap[None, None]) + mass) / 5 - mass
    (xy - torch.tensor(case["target_xy_normalised"])).square().mean().backward()
    torch.testing.assert_close(heatmap.grad, torch.tensor(case["expected_dloss_dheatmap"]))


def test_gaussian_is_the_published_one(oracle):
    maps, inside = encode_gaussian(torch.tensor([[[2.0, 2.0]]]), 5, 5, sigma=1.0, normalise="sum")
    expected = torch.tensor(oracle["gaussian_normalised_5x5_sigma1_centre"])
    torch.testing.assert_close(maps[0, 0], expected, atol=1e-6, rtol=0)
    assert inside.all()


def test_one_hot_map_matches_kornia(oracle):
    logits = torch.full((1, 1, 2, 3), -1e4)
    logits[0, 0, 1, 2] = 0
    assert soft_argmax(logits)[0, 0].tolist() == oracle["kornia_pixel_one_hot_bottom_right_of_2x3"]


def test_normalised_pixels_of_the_published_case(oracle):
    for case in oracle["normalised_pixel_maps"]:
        # An image of one pixel covers the map: their centres are the same.
        uv = map_from_image(torch.tensor(case["xy_norm"]) / 2, image_size=(1, 1), map_size=(5, 2))
        assert uv.tolist() == case["expected_pixel"]


def test_softmax_and_expectation_agree_with_kornia():
    logits = torch.randn(3, 5, 12, 17, generator=torch.Generator().manual_seed(0))
    probability = spatial_softmax(logits, temperature=0.5)
    torch.testing.assert_close(probability, spatial_softmax2d(logits, temperature=0.5))
    expected = spatial_expectation2d(probability, normalized_coordinates=False)
    torch.testing.assert_close(expectation(probability), expected)
    torch.testing.assert_close(soft_argmax(logits, 0.5), expected)


def test_gaussian_against_a_loop():
    uv = torch.tensor([[[3.2, 1.7], [0.0, 5.0]]], dtype=torch.float64)
    maps, _ = encode_gaussian(uv, 6, 9, sigma=1.3)
    for joint in range(2):
        for v in range(6):
            for u in range(9):
                distance2 = (u - float(uv[0, joint, 0])) ** 2 + (v - float(uv[0, joint, 1])) ** 2
                assert float(maps[0, joint, v, u]) == pytest.approx(np.exp(-distance2 / (2 * 1.3**2)), abs=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 2.0, 50.0])
def test_sum_one_wherever_the_joint_is_on_the_map(sigma):
    uv = torch.tensor([[[-0.5, -0.5], [8.5, 5.5], [3.5, 2.5], [4.0, 2.0]]])
    maps, inside = encode_gaussian(uv, 6, 9, sigma, normalise="sum")
    assert inside.all()
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(1, 4))


@pytest.mark.parametrize("normalise", ["peak", "sum"])
def test_joints_off_the_map_give_zeros_and_false(normalise):
    nan, inf = float("nan"), float("inf")
    uv = torch.tensor([[[-0.6, 2.0], [9.0, 2.0], [2.0, 6.0], [nan, 1.0], [1.0, inf], [2.0, 2.0]]])
    maps, inside = encode_gaussian(uv, 6, 9, 2.0, normalise)
    assert inside[0].tolist() == [False] * 5 + [True]
    assert (maps[0, :5] == 0).all()
    assert maps[0, 5].max() > 0


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma"):
        encode_gaussian(torch.zeros(1, 1, 2), 4, 4, sigma=0.0)


@pytest.mark.parametrize("normalise", ["peak", "sum"])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_round_trip_has_subpixel_accuracy(sigma, normalise):
    uv = random_positions(torch.Generator().manual_seed(1), margin=2)
    maps, _ = encode_gaussian(uv, 64, 48, sigma, normalise)
    decoded, peak = decode_argmax(maps)
    assert (decoded - uv).norm(dim=-1).max() < 0.02
    torch.testing.assert_close(peak, maps.amax((-2, -1)))


@pytest.mark.parametrize(("refine", "worst"), [("none", 0.5), ("quarter", 0.2501)])
def test_coarser_decodings_stay_within_their_bounds(refine, worst):
    uv = random_positions(torch.Generator().manual_seed(2), margin=2)
    decoded, _ = decode_argmax(encode_gaussian(uv, 64, 48, 2.0)[0], refine)
    assert (decoded - uv).abs().max() <= worst


def test_quadratic_refinement_is_best_under_noise():
    generator = torch.Generator().manual_seed(3)
    uv = random_positions(generator, margin=8)
    maps, _ = encode_gaussian(uv, 64, 48, 2.0)
    noisy = maps + 0.05 * torch.randn(maps.shape, generator=generator)
    quadratic, quarter, none = (
        float((decode_argmax(noisy, refine)[0] - uv).norm(dim=-1).median())
        for refine in ("quadratic", "quarter", "none")
    )
    assert quadratic < quarter < none


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]))
@settings(max_examples=40, deadline=None)
def test_decoded_positions_are_within_half_a_pixel_of_the_maximum(seed, scale):
    maps = scale * torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(seed))
    decoded, peak = decode_argmax(maps)
    rows, columns = np.unravel_index(maps.flatten(2).numpy().argmax(-1), (7, 5))
    offset = decoded - torch.tensor(np.stack([columns, rows], -1))
    assert offset.abs().max() <= 0.5
    np.testing.assert_array_equal(peak.numpy(), maps.flatten(2).numpy().max(-1))


def test_flat_and_zero_maps_decode_to_something_finite():
    for value in (0.0, 1.0, -3.0):
        decoded, peak = decode_argmax(torch.full((1, 2, 4, 4), value))
        assert decoded.isfinite().all()
        assert (peak == value).all()


def test_border_peaks_are_refined_along_the_border_only():
    uv = torch.tensor([[[0.0, 10.3], [20.4, 0.0]]])
    decoded, _ = decode_argmax(encode_gaussian(uv, 32, 32, 1.5)[0])
    torch.testing.assert_close(decoded, uv, atol=1e-3, rtol=0)


def test_soft_argmax_sharpens_to_argmax():
    logits = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(4))
    sharp = soft_argmax(logits, temperature=1e-4)
    torch.testing.assert_close(sharp, decode_argmax(logits, "none")[0], atol=1e-3, rtol=0)


def test_soft_argmax_gradient_by_finite_differences():
    logits = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, 0.7), logits)


def test_map_and_image_cover_the_same_area():
    image_size, map_size = (256, 192), (64, 48)
    corners = torch.tensor([[-0.5, -0.5], [191.5, 255.5]])
    torch.testing.assert_close(
        map_from_image(corners, image_size, map_size), torch.tensor([[-0.5, -0.5], [47.5, 63.5]])
    )
    # The centre of the map's first pixel is the middle of the image's first 4 x 4 pixels.
    torch.testing.assert_close(image_from_map(torch.zeros(2), image_size, map_size), torch.tensor([1.5, 1.5]))
    uv = 100 * torch.rand(7, 2, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(image_from_map(map_from_image(uv, image_size, map_size), image_size, map_size), uv)


def test_map_from_image_matches_average_pooling():
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8:12, 20:24] = 1  # exactly the pixel (5, 2) of the quarter-size map
    pooled = torch.nn.functional.avg_pool2d(image, 4)
    centre = map_from_image(torch.tensor([21.5, 9.5]), (32, 32), (8, 8))
    torch.testing.assert_close(decode_argmax(pooled, "none")[0][0, 0], centre)


def test_mixed_precision_keeps_subpixel_positions():
    uv = random_positions(torch.Generator().manual_seed(8), margin=6)
    maps, _ = encode_gaussian(uv, 64, 48, 2.0, "sum")
    with torch.autocast("cpu", torch.bfloat16):
        soft, (hard, _) = soft_argmax(maps.log()), decode_argmax(encode_gaussian(uv, 64, 48, 2.0)[0])
    torch.testing.assert_close(soft, uv, atol=2e-2, rtol=0)
    torch.testing.assert_close(hard, uv, atol=2e-2, rtol=0)
    half, _ = decode_argmax(encode_gaussian(uv, 64, 48, 2.0)[0].bfloat16())
    assert half.dtype == torch.float32
    assert (half - uv).norm(dim=-1).median() < 0.1
