"""Depth scenes of hands by calibrated rigs: sets of views, camera rigs, missing depth and determinism."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posebridge.cameras.cube import normalise_depth
from posebridge.data.depth_centre import BlobConfig, depth_centre
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import (
    DEPTH_BARE,
    DEPTH_STREET,
    DEPTH_STUDIO,
    DEPTH_VARIED,
    RigDistribution,
    render_depth_hands,
    sample_rigs,
)
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution
from synthesis.depth_sets import SETS, SIZE, VIEWS, render, to_world


@pytest.mark.parametrize("name", ["studio", "street"])
def test_sets_of_views(name, request):
    batch = request.getfixturevalue(name)
    n = SETS * VIEWS
    assert batch.image is None
    assert batch.depth_m.shape == batch.mask.shape == (n, SIZE, SIZE)
    assert torch.isfinite(batch.depth_m).all()
    assert batch.key == tuple(str(i) for i in range(n))
    assert batch.view.tolist() == [0, 1, 2] * SETS
    assert batch.frame.tolist() == [i // VIEWS for i in range(n)]
    assert batch.sequence[:4] == ("set-00000000",) * 3 + ("set-00000001",)
    assert batch.uv_px.shape == (n, 21, 2)
    assert batch.valid.all()
    assert batch.angles_rad.shape == (n, 22)
    assert batch.phenotypes.shape == (n, 11)
    for tensor in (batch.angles_rad, batch.phenotypes):
        assert torch.equal(tensor[0::3], tensor[1::3])
        assert torch.equal(tensor[0::3], tensor[2::3])
        assert not torch.equal(tensor[0], tensor[3])
    assert not torch.equal(batch.depth_m[0], batch.depth_m[1])


@pytest.mark.parametrize("name", ["studio", "street"])
def test_views_agree_on_joints_and_centre_in_the_world(name, request):
    batch = request.getfixturevalue(name)
    for i in range(SETS * VIEWS):
        first = i - i % VIEWS
        for points in (batch.joints_m, batch.centre_m[:, None]):
            here, there = (to_world(batch, points[k].double().numpy(), k) for k in (i, first))
            np.testing.assert_allclose(here, there, atol=1e-5)
    T = batch.T_world_cam.double().numpy()
    np.testing.assert_allclose(T[:, :3, :3] @ T[:, :3, :3].transpose(0, 2, 1), np.eye(3)[None].repeat(24, 0), atol=1e-5)


@pytest.mark.parametrize("name", ["studio", "street"])
def test_pixels_are_projected_joints_and_the_crop_is_the_cube(name, request):
    batch = request.getfixturevalue(name)
    joints, K = batch.joints_m.double().numpy(), batch.camera.K.double().numpy()
    seen = np.einsum("bij,bnj->bni", K, joints)
    np.testing.assert_allclose(batch.uv_px.numpy(), seen[..., :2] / seen[..., 2:], atol=1e-3)
    centre = batch.centre_m.double().numpy()
    corners = centre[:, None] + 0.125 * np.array([[0, 0, 0], [-1, -1, 0], [1, 1, 0]])
    seen = np.einsum("bij,bnj->bni", K, corners)
    expected = np.array([[SIZE / 2 - 0.5] * 2, [-0.5] * 2, [SIZE - 0.5] * 2])[None].repeat(24, 0)
    np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], expected, atol=1e-2)
    offset = (centre - joints.mean(1))[::VIEWS]
    assert np.abs(offset).max() < 5 * 0.02
    assert np.abs(offset).min(1).max() > 1e-4


def test_varied_centres_spread_as_those_of_the_nearest_blob():
    """Towards the wrist and across it, compared with blobs in whole frames; within a second or two."""
    crops = render_depth_hands(DEPTH_VARIED, 400, 8, generator_for(0, 1))
    whole = replace(DEPTH_VARIED, cube_m=0.8, centre_jitter_m=0.0, towards_wrist_m=None)
    frames = render_depth_hands(whole, 40, 128, generator_for(1, 1))
    blobs_m = torch.stack(
        [
            torch.from_numpy(depth_centre(depth_m.numpy(), K.double().numpy(), BlobConfig(min_area_m2=15e-4))).float()
            for depth_m, K in zip(frames.depth_m, frames.camera.K, strict=True)
        ]
    )
    on_hand = (blobs_m - frames.joints_m.mean(1)).norm(dim=1) < 0.1  # elsewhere another thing is nearest
    towards_mm, across_mm = wrist_offsets_mm(crops.centre_m, crops.joints_m)
    blob_towards_mm, blob_across_mm = wrist_offsets_mm(blobs_m[on_hand], frames.joints_m[on_hand])
    assert on_hand.sum() > 30
    assert abs(towards_mm.mean() - blob_towards_mm.mean()) < 10
    assert abs(across_mm.mean() - blob_across_mm.mean()) < 6
    assert 20 < towards_mm.mean() < 35


def wrist_offsets_mm(points_m, joints_m):
    """Offsets from the joints' mean: along the direction to the wrist, and the distance across it."""
    middle_m = joints_m.mean(1)
    wrist = torch.nn.functional.normalize(joints_m[:, HAND21.root] - middle_m, dim=1)
    offset_mm = 1000 * (points_m - middle_m)
    towards_mm = (offset_mm * wrist).sum(1)
    return towards_mm, (offset_mm - towards_mm[:, None] * wrist).norm(dim=1)


def test_bare_domain_is_the_street_without_clutter(street):
    bare = render(DEPTH_BARE)
    torch.testing.assert_close(bare.joints_m, street.joints_m)
    near = torch.nn.functional.max_pool2d(bare.mask[:, None].float(), 5, 1, 2)[:, 0] > 0  # the sensor's ragged outline
    assert not ((bare.depth_m > 0) & ~near).any()
    assert ((street.depth_m > 0) & ~near).flatten(1).any(1).float().mean() > 0.3
    assert 0.02 < ((bare.depth_m == 0) & bare.mask).sum() / bare.mask.sum() < 0.5  # and its holes


def test_only_the_street_has_missing_depth(studio, street):
    assert torch.equal(studio.depth_m > 0, studio.mask)
    lost = (street.mask & (street.depth_m == 0)).sum() / street.mask.sum()
    assert 0.03 < lost < 0.3


def test_straight_palms_face_view_0():
    straight = ViewpointDistribution(1.0, turn_deg=0.0, tilt_deg=0.0, roll_deg=0.0, uniform_rotation_share=0.0)
    poses = PoseDistribution({"open": 1.0}, random_share=0.0, blend=0.0, noise_deg=0.0, wrist_deg=(0.0, 0.0))
    level = RigDistribution(baseline_deg=(50.0, 50.0), elevation_deg=0.0, roll_deg=0.0, aim_m=0.0)
    batch = render(replace(DEPTH_STUDIO, viewpoints=straight, poses=poses, rigs=level))
    (u, v), z = batch.uv_px.unbind(-1), batch.joints_m[..., 2]
    thumb, pinky, middle, wrist = (HAND21.index(name) for name in ("thumb_4", "pinky_4", "middle_4", "wrist"))
    assert (v[:, middle] < v[:, wrist] - 20).all()  # fingers up, in every view
    assert (u[:, thumb] > u[:, pinky] + 5).all()
    front, right, left = ((u[i::VIEWS, thumb] - u[i::VIEWS, pinky]) for i in range(VIEWS))
    assert (torch.maximum(right, left) < 0.9 * front).all()  # foreshortened
    thumb_behind = z[:, thumb] - z[:, pinky]  # the thumb is on the right, and so next to the camera there
    assert (thumb_behind[1::VIEWS] < -0.02).all()
    assert (thumb_behind[2::VIEWS] > 0.02).all()


def test_rigs():
    distribution = RigDistribution(
        views=5, baseline_deg=(20.0, 30.0), elevation_deg=0.0, roll_deg=0.0, distance_m=(0.6, 0.8), aim_m=0.0
    )
    rigs = sample_rigs(distribution, 50, torch.Generator().manual_seed(0))
    assert rigs.num_views == 5
    x, y, z = rigs.T_world_cam[..., :3, 3].double().numpy().transpose(2, 0, 1)
    assert np.abs(y).max() < 1e-6
    distance = np.hypot(x, z)
    assert 0.6 <= distance.min() < distance.max() <= 0.8
    azimuth = np.degrees(np.arctan2(x, -z))
    np.testing.assert_allclose(azimuth[:, 0], 0, atol=1e-4)
    for view, (low, high) in {1: (20, 30), 2: (-30, -20), 3: (40, 60), 4: (-60, -40)}.items():
        assert low < azimuth[:, view].min() < azimuth[:, view].max() < high
    uv = rigs.project(torch.zeros(1, 3).expand(50, 1, 3))
    torch.testing.assert_close(uv, torch.tensor([319.5, 239.5]).expand(50, 5, 1, 2), atol=1e-2, rtol=0)
    with pytest.raises(InputError, match="views=0 of a rig"):
        RigDistribution(views=0)


@pytest.mark.parametrize("views", [1, 5])
def test_any_number_of_views(views):
    batch = render(replace(DEPTH_STREET, rigs=replace(DEPTH_STREET.rigs, views=views)), sets=2)
    assert len(batch) == 2 * views
    assert batch.view.tolist() == list(range(views)) * 2
    assert (batch.mask.flatten(1).sum(1) > 50).all()


def test_batches_depend_on_the_generator_state_only(street):
    torch.manual_seed(1)
    again, other = render(DEPTH_STREET), render(DEPTH_STREET, seed=1)
    for name in ("depth_m", "uv_px", "centre_m", "T_world_cam", "mask", "visible", "angles_rad", "phenotypes"):
        assert torch.equal(getattr(again, name), getattr(street, name))
        assert not torch.equal(getattr(other, name), getattr(street, name))


# Normalised depth of the crops of the first two sets of seed 0, and the mean of their joints' (u, v). These numbers
# change only with a new version of the benchmark: results of SynthShift before and after can't be compared.
FINGERPRINTS = {
    "studio": ([0.727, 0.729, 0.799, 0.782, 0.889, 0.665], (14.26, 12.77)),
    "street": ([0.733, 0.755, 0.863, 0.826, 0.926, 0.722], (14.68, 13.64)),
}


@pytest.mark.parametrize("domain", [DEPTH_STUDIO, DEPTH_STREET], ids=lambda domain: domain.name)
def test_synthshift_is_frozen(domain):
    depths, middle = FINGERPRINTS[domain.name]
    batch = render_depth_hands(domain, 2, 32, generator_for(0, 0))
    normalised = normalise_depth(batch.depth_m, batch.centre_m, domain.cube_m).mean((1, 2))
    torch.testing.assert_close(normalised, torch.tensor(depths), atol=0.005, rtol=0)
    torch.testing.assert_close(batch.uv_px.mean((0, 1)), torch.tensor(middle), atol=0.05, rtol=0)
