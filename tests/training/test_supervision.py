from dataclasses import replace

import pytest
import torch

from posebridge.representations.heatmaps import image_from_map, map_from_image
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.training.supervision import depth_term, heat_term, supervised_terms, volume_term
from training.dots import MAPS, SIDE, SKELETON, dots

BATCH = dots(4, seed=3)
SIZE = (16, 16)


def outputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    heat, depth = (torch.randn(4, 3, *SIZE, generator=generator).requires_grad_() for _ in range(2))
    return heat, depth


def gradients(batch, maps=MAPS) -> tuple[torch.Tensor, torch.Tensor, dict]:
    heat, depth = outputs()
    terms = supervised_terms(maps, (heat, depth), batch, SKELETON)
    torch.stack(list(terms.values())).sum().backward()
    none = torch.zeros_like(heat)
    return none if heat.grad is None else heat.grad, none if depth.grad is None else depth.grad, terms


@pytest.mark.parametrize("reading", ["softmax", "peak"])
def test_heat_against_a_loop(reading):
    maps = PoseMaps(reading, sigma=1.2)
    heat = outputs()[0].detach()
    expected = []
    for sample in range(4):
        for joint in range(3):
            u, v = map_from_image(BATCH.uv_px[sample, joint], (SIDE, SIDE), SIZE).tolist()
            y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
            target = torch.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.2**2))
            if reading == "softmax":
                logs = heat[sample, joint] - heat[sample, joint].logsumexp((0, 1))
                expected.append(-(target / target.sum() * logs).sum())
            else:
                expected.append((heat[sample, joint] - target).norm())
    term = heat_term(maps, heat, BATCH.uv_px, SIDE, torch.ones(4, 3))
    assert term.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


@pytest.mark.parametrize("reading", ["softmax", "peak"])
def test_joints_without_a_label_and_off_the_map_get_no_gradient(reading):
    valid = torch.ones(4, 3, dtype=torch.bool)
    valid[1, 2] = False
    uv = BATCH.uv_px.clone()
    uv[1, 2] = torch.nan
    uv[2, 0] = torch.tensor([-3.0, 5.0])
    uv[3, 1] = torch.tensor([5.0, SIDE + 0.1])
    heat, _, terms = gradients(replace(BATCH, uv_px=uv, valid=valid, joints_m=None), PoseMaps(reading))
    touched = heat.abs().sum((2, 3)) > 0
    expected = valid.clone()
    expected[2, 0] = expected[3, 1] = False
    assert torch.equal(touched, expected)
    assert all(value.isfinite() for value in terms.values())


def test_joints_without_a_label_do_not_count_in_the_mean():
    half = torch.zeros(4, 3, dtype=torch.bool)
    half[:2] = True
    heat = outputs()[0].detach()
    _, _, terms = gradients(replace(BATCH, valid=half, joints_m=None))
    alone = heat_term(MAPS, heat[:2], BATCH.uv_px[:2], SIDE, torch.ones(2, 3))
    assert terms["heat"].item() == pytest.approx(alone.item(), rel=1e-6)


def test_without_labels_terms_are_zero():
    none = torch.zeros(4, 3, dtype=torch.bool)
    heat, depth, terms = gradients(replace(BATCH, valid=none))
    assert terms["heat"] == terms["depth"] == 0
    assert heat.abs().max() == depth.abs().max() == 0


def test_without_joints_in_space_depth_is_zero():
    _, depth, terms = gradients(replace(BATCH, joints_m=None))
    assert terms["depth"] == 0
    assert depth.abs().max() == 0


def test_depth_is_relative_to_the_root_in_reference_bones():
    heat, _ = outputs()
    red, green = BATCH.joints_m[:, 0], BATCH.joints_m[:, 1]
    truth = (BATCH.joints_m[..., 2] - red[:, 2:]) / (green - red).norm(dim=-1, keepdim=True)
    right = truth[:, :, None, None].expand(-1, -1, *SIZE)
    assert supervised_terms(MAPS, (heat, right), BATCH, SKELETON)["depth"].item() == pytest.approx(0, abs=1e-9)
    off = supervised_terms(MAPS, (heat, right + 1), BATCH, SKELETON)["depth"]
    assert off.item() == pytest.approx(1 - 0.05, rel=1e-4)  # smooth L1 of 1 with beta 0.1


def test_depth_needs_labels_of_the_root_and_the_reference_bone():
    for missing in (0, 1):
        valid = torch.ones(4, 3, dtype=torch.bool)
        valid[1, missing] = False
        joints = BATCH.joints_m.clone()
        joints[1, missing] = 0
        _, depth, terms = gradients(replace(BATCH, valid=valid, joints_m=joints))
        assert (depth.abs().sum((1, 2, 3)) > 0).tolist() == [True, False, True, True]
        assert terms["depth"].isfinite()


def test_the_depth_term_has_no_gradient_for_heat_maps():
    heat, depth = outputs()
    depth_term(MAPS, (heat, depth), torch.zeros(4, 3), torch.ones(4, 3)).backward()
    assert heat.grad is None
    assert depth.grad is not None


def test_unlabelled_samples_are_refused():
    with pytest.raises(ValueError, match="uv_px"):
        supervised_terms(MAPS, outputs(), replace(BATCH, uv_px=None), SKELETON)


def test_image_pixels_are_map_pixels_of_the_same_place():
    """A target heat map is decoded to the joint's position."""
    target, _ = MAPS.encode(map_from_image(BATCH.uv_px, (SIDE, SIDE), SIZE), *SIZE)
    read = MAPS.decode(target.clamp_min(1e-20).log(), torch.zeros_like(target))
    assert torch.allclose(image_from_map(read.uv_map, (SIDE, SIDE), SIZE), BATCH.uv_px, atol=0.02)


VOLUMES = {name: PoseVolumes(name, sigma=1.2, depth_bins=8, depth_range=2.0) for name in ("softmax", "peak")}


def volume_gradient(volumes: PoseVolumes, batch) -> tuple[torch.Tensor, torch.Tensor]:
    predicted = torch.randn(4, 3, 8, *SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    term = volume_term(volumes, predicted, batch, SKELETON)
    term.backward()
    assert predicted.grad is not None
    return term.detach(), predicted.grad


@pytest.mark.parametrize("volume_type", ["softmax", "peak"])
def test_volumes_against_a_loop(volume_type):
    volumes = VOLUMES[volume_type]
    predicted = torch.randn(4, 3, 8, *SIZE, generator=torch.Generator().manual_seed(1))
    grids = torch.meshgrid(torch.arange(8.0), torch.arange(16.0), torch.arange(16.0), indexing="ij")
    expected = []
    for sample in range(4):
        red, green = BATCH.joints_m[sample, :2]
        for joint in range(3):
            u, v = map_from_image(BATCH.uv_px[sample, joint], (SIDE, SIDE), SIZE).tolist()
            depth = ((BATCH.joints_m[sample, joint, 2] - red[2]) / (green - red).norm()).item()
            w = (depth + 2) * 2 - 0.5  # bins of half a bone from -2 on
            squared = sum((grid - at) ** 2 for grid, at in zip(grids, (w, v, u), strict=True))
            target = torch.exp(-squared / (2 * 1.2**2))
            if volume_type == "softmax":
                logs = predicted[sample, joint] - predicted[sample, joint].logsumexp((0, 1, 2))
                expected.append(-(target / target.sum() * logs).sum())
            else:
                expected.append((predicted[sample, joint] - target).square().mean())
    term, _ = volume_gradient(volumes, BATCH)
    assert term.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


@pytest.mark.parametrize("volume_type", ["softmax", "peak"])
def test_volumes_of_joints_without_labels(volume_type):
    valid = torch.ones(4, 3, dtype=torch.bool)
    valid[1, 2] = False
    uv, joints = BATCH.uv_px.clone(), BATCH.joints_m.clone()
    uv[1, 2] = joints[1, 2] = torch.nan
    uv[2, 0] = torch.tensor([-3.0, 5.0])  # outside
    joints[3, 2, 2] += 100  # beyond the range
    term, gradient = volume_gradient(VOLUMES[volume_type], replace(BATCH, uv_px=uv, valid=valid, joints_m=joints))
    assert term.isfinite()
    expected = valid.clone()
    expected[2, 0] = False
    if volume_type == "peak":
        expected[3, 2] = False
    assert torch.equal(gradient.abs().sum((2, 3, 4)) > 0, expected)


def test_volumes_without_joints_in_space_have_labels_of_their_marginals():
    term, gradient = volume_gradient(VOLUMES["softmax"], replace(BATCH, joints_m=None))
    assert term > 0
    predicted = torch.randn(4, 3, 8, *SIZE, generator=torch.Generator().manual_seed(1))
    marginal = predicted.logsumexp(2)
    assert term.item() == pytest.approx(
        heat_term(PoseMaps("softmax", 1.2), marginal, BATCH.uv_px, SIDE, torch.ones(4, 3)).item(), rel=1e-5
    )
    assert gradient.abs().max() > 0
    term, gradient = volume_gradient(VOLUMES["peak"], replace(BATCH, joints_m=None))
    assert term == gradient.abs().max() == 0


def test_volumes_need_labels_in_pixels():
    with pytest.raises(ValueError, match="uv_px"):
        volume_gradient(VOLUMES["softmax"], replace(BATCH, uv_px=None))
