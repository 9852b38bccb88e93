import pytest
import torch
from torch.nn import functional as F

from posebridge.contracts.batch import LabelledBatch
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.representations.heatmaps import map_from_image
from posebridge.representations.pose25d import relative_depth
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_domains import STUDIO
from posebridge.synthesis.stream import Samples
from posebridge.training.multi_task import SoftPose, SurfaceDepth, labelled_terms, mask_term, reduced, reduced_depth


def maps_at(uv_map: torch.Tensor, depth: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose distribution is a Gaussian, and maps of constant depth."""
    heat, _ = PoseMaps(sigma=1.0).encode(uv_map, side, side)
    return heat.clamp_min(1e-30).log(), depth[..., None, None].expand_as(heat)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_positions_count_in_pixels_of_a_map_of_64(side):
    uv_px = torch.tensor([[[40.0, 50.0], [60.0, 31.5]]])
    depth = torch.tensor([[0.25, -0.5]])
    pose = SoftPose.of_maps(PoseMaps(), *maps_at(map_from_image(uv_px, (96, 96), (side, side)), depth, side))
    assert torch.allclose(pose.uv, (uv_px + 0.5) * 64 / 96 - 0.5, atol=1e-3)
    assert torch.allclose(pose.uv_px(96), uv_px, atol=1e-3)
    assert torch.allclose(pose.depth, depth, atol=1e-4)
    assert torch.allclose(SoftPose.of_image(uv_px, depth, 96).uv, pose.uv, atol=1e-3)


def test_distance_is_squared_pixels_and_weighted_squared_depth():
    a = SoftPose(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[0.5]]))
    b = SoftPose(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[0.3]]))
    assert a.distance(b).item() == pytest.approx(25 + 50 * 0.04)
    assert a.distance(b, depth_weight=0).item() == 25


def test_distance_moves_the_mean_of_heat_maps():
    heat = torch.zeros(1, 1, 16, 16, requires_grad=True)
    target = SoftPose(torch.tensor([[[50.0, 31.5]]]), torch.zeros(1, 1))
    SoftPose.of_maps(PoseMaps(), heat, torch.zeros(1, 1, 16, 16)).distance(target).sum().backward()
    assert heat.grad is not None
    assert (heat.grad[..., -1] < 0).all()
    assert (heat.grad[..., 0] > 0).all()


def test_masks_are_compared_by_mean_absolute_error_at_the_size_of_the_maps():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :, :3] = True
    small = reduced(mask, 4)
    assert torch.equal(small[0, 0], torch.tensor([1.0, 0.5, 0, 0]))
    logits = torch.randn(1, 4, 4)
    assert mask_term(logits, mask).item() == pytest.approx(F.l1_loss(torch.sigmoid(logits), small).item())


def labelled(
    joints_m: torch.Tensor, uv_px: torch.Tensor, valid: torch.Tensor, mask: torch.Tensor | None
) -> LabelledBatch:
    return LabelledBatch(
        torch.zeros(len(uv_px), 3, 64, 64),
        tuple(map(str, range(len(uv_px)))),
        uv_px=uv_px,
        valid=valid,
        joints_m=joints_m,
        hand_mask=mask,
    )


def test_terms_of_labels_are_those_of_eq_6_2_and_6_3_over_labelled_joints_and_stacks():
    generator = torch.Generator().manual_seed(0)
    joints_m = torch.randn(2, 21, 3, generator=generator) * 0.05 + torch.tensor([0.0, 0.0, 0.6])
    uv_px, valid = 10 + 40 * torch.rand(2, 21, 2, generator=generator), torch.ones(2, 21, dtype=torch.bool)
    valid[0, 7], valid[1, HAND21.root] = False, False
    mask = torch.rand(2, 64, 64, generator=generator) < 0.4
    stacks = [
        MultiTaskMaps(*(torch.randn(2, 21, 16, 16, generator=generator) for _ in range(2)), torch.randn(2, 16, 16))
        for _ in range(2)
    ]
    batch = labelled(joints_m, uv_px, valid, mask)
    terms = labelled_terms(PoseMaps(), stacks, batch, HAND21, depth_weight=50.0)
    depth, expected = relative_depth(joints_m, HAND21), []
    for stack in stacks:
        pose = SoftPose.of_maps(PoseMaps(), stack.heat, stack.depth)
        across = [(pose.uv[i, j] - uv_px[i, j]).square().sum() for i, j in valid.nonzero().tolist()]
        along = [(pose.depth[0, j] - depth[0, j]).square() for j in range(21) if j != 7]  # no depth without the root
        expected.append(torch.stack(across).mean() + 50 * torch.stack(along).mean())
    assert terms["pose"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)
    of_masks = torch.stack([mask_term(s.mask, mask) for s in stacks if s.mask is not None])
    assert terms["mask"].item() == pytest.approx(of_masks.mean().item())
    assert terms.keys() == {"pose", "heat", "mask"}
    with pytest.raises(ValueError, match="without its forearm"):
        labelled_terms(PoseMaps(), stacks, labelled(joints_m, uv_px, valid, None), HAND21, 50.0)


def test_depth_maps_of_rendered_hands():
    """At visible joints, the surface lies before the joint, by less than a finger's width of 0.35 reference bones."""
    batch = Samples(STUDIO, 64, seed=3).samples(0, 32)
    depth = SurfaceDepth.of(batch, HAND21)
    assert (depth.values[~batch.hand_mask] == 0).all()
    assert (depth.values[batch.hand_mask & (batch.depth_label_m > 0)] > 0).all()
    behind = (0.5 - depth.values) * 2 * PoseVolumes.depth_range
    relative, before = relative_depth(batch.joints_m, HAND21), []
    for i, j in batch.visible.nonzero().tolist():
        u, v = batch.uv_px[i, j].round().long().clamp(0, 63).tolist()
        if batch.hand_mask[i, v, u]:
            before.append((relative[i, j] - behind[i, v, u]).item())
    before = torch.tensor(before)
    assert len(before) > 200
    assert ((before > -0.05) & (before < 0.35)).float().mean() > 0.97
    assert before.mean() > 0.02


def test_reduced_depth_against_a_loop():
    """The mean of the hand's known pixels where half of a pixel is hand, and no weight where nothing is known."""
    generator = torch.Generator().manual_seed(0)
    hand = torch.rand(3, 8, 8, generator=generator) < 0.5
    joints_m = torch.zeros(3, 21, 3)
    joints_m[:, :, 2] = 0.5
    joints_m[:, HAND21.reference[1], 1] = 0.1
    depth_m = 0.4 + 0.2 * torch.rand(3, 8, 8, generator=generator)
    depth_m[torch.rand(3, 8, 8, generator=generator) < 0.4] = 0  # unknown
    valid = torch.ones(3, 21, dtype=torch.bool)
    valid[2, HAND21.root] = False
    image = torch.zeros(3, 3, 8, 8)
    batch = LabelledBatch(image, ("a", "b", "c"), valid=valid, joints_m=joints_m, hand_mask=hand, depth_label_m=depth_m)
    found, weight = reduced_depth(SurfaceDepth.of(batch, HAND21), 4)
    for i in range(3):
        for row in range(4):
            for column in range(4):
                cell = [(2 * row + a, 2 * column + b) for a in (0, 1) for b in (0, 1)]
                inside = [p for p in cell if hand[i][p]]
                known = [depth_m[i][p].item() for p in inside if depth_m[i][p] > 0]
                value, counts = 0.0, i != 2
                if len(inside) >= 2:
                    counts = counts and bool(known)
                    value = sum(0.5 - (z - 0.5) / 0.1 / (2 * 2.25) for z in known) / max(1, len(known))
                assert weight[i, row, column].item() == counts
                if counts:
                    assert found[i, row, column].item() == pytest.approx(value, abs=1e-5)
    assert (weight[:2] == 0).any()
    assert (weight[2] == 0).all()
    with pytest.raises(ValueError, match="need joints_m, valid, hand_mask and depth_label_m"):
        SurfaceDepth.of(labelled(joints_m, torch.zeros(3, 21, 2), valid, hand), HAND21)


def test_the_term_of_depth_maps_is_a_mean_over_known_pixels():
    batch = Samples(STUDIO, 64, seed=3).samples(0, 4)
    batch.valid[1, HAND21.root] = False
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(4, 21, 16, 16, generator=generator) for _ in range(2)]
    stack = MultiTaskMaps(*maps, depth_map=torch.rand(4, 16, 16, generator=generator))
    terms = labelled_terms(PoseMaps(), [stack], batch, HAND21, 50.0)
    target, weight = reduced_depth(SurfaceDepth.of(batch, HAND21), 16)
    known = weight.bool()
    assert not known[1].any()
    assert known[0].all()
    assert terms["depth_map"].item() == pytest.approx((stack.depth_map - target).abs()[known].mean().item(), rel=1e-5)
    assert terms.keys() == {"pose", "heat", "depth_map"}
