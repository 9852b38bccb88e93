"""Depth pictures of hands by calibrated rigs: labels, views and pixels are of one hand in one world."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from bodies.mano_file import write_mano
from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.mano import mano_hand
from posebridge.cameras.cube import normalise_depth
from posebridge.cameras.multiview import CameraRig
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import open_samples
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_clutter import ClutterDistribution
from posebridge.synthesis.depth_scene import (
    DEPTH_BARE,
    DEPTH_STREET,
    DEPTH_STUDIO,
    DepthHandDomain,
    RigDistribution,
    render_depth_hands,
    sample_rigs,
    with_meshes,
)
from posebridge.synthesis.depth_sensor import CLEAN
from posebridge.synthesis.hand_poses import PoseDistribution
from posebridge.synthesis.viewpoints import ViewpointDistribution

SIZE, SETS, VIEWS = 64, 8, 3
CLUTTERED = replace(DEPTH_STREET, sensor=CLEAN, clutter=ClutterDistribution(background_share=0.7, occluder_share=0.7))


def _render(domain: DepthHandDomain, sets: int = SETS, seed: int = 0, size_px: int = SIZE) -> LabelledBatch:
    return render_depth_hands(domain, sets, size_px, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def studio():
    return _render(DEPTH_STUDIO)


@pytest.fixture(scope="module")
def street():
    return _render(DEPTH_STREET)


@pytest.fixture(scope="module")
def cluttered():
    return _render(CLUTTERED)


def _world(batch: LabelledBatch, points_m: np.ndarray, i: int) -> np.ndarray:
    """Points (N, 3) of sample i's camera in its world."""
    T = batch.T_world_cam[i].double().numpy()
    return points_m @ T[:3, :3].T + T[:3, 3]


def _surface(batch: LabelledBatch, i: int) -> np.ndarray:
    """The hand's pixels of sample i as points (N, 3) in the world."""
    v, u = batch.mask[i].numpy().nonzero()
    rays = np.linalg.solve(batch.camera.K[i].double().numpy(), np.stack([u, v, np.ones_like(u)]).astype(float)).T
    return _world(batch, rays * batch.depth_m[i].double().numpy()[v, u][:, None], i)


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
    assert batch.phenotypes.shape == (n, 6)
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
            here, there = (_world(batch, points[k].double().numpy(), k) for k in (i, first))
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


def test_all_views_see_the_labelled_surface(studio):
    """The mesh is posed anew from the labels and put to the joints; every view's pixels lie on it."""
    model = anny_hand("right")
    angles = HandAngles.from_stacked(studio.angles_rad[::VIEWS])
    posed = pose_hand(model, angles, model.shape_coefficients(studio.phenotypes[::VIEWS]))
    vertices = posed.vertices_m()
    joints = posed.keypoints_m(vertices)
    for s in range(SETS):
        target = torch.tensor(_world(studio, studio.joints_m[s * VIEWS].double().numpy(), s * VIEWS))[None]
        R, t = _rigid(joints[s].double().numpy(), target[0].numpy())
        corners = (vertices[s].double().numpy() @ R.T + t)[model.rig.faces.numpy()]  # F 3 3
        bary = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3])
        mesh = cKDTree(np.einsum("sk,fkc->fsc", bary, corners).reshape(-1, 3))
        for view in range(VIEWS):
            away, _ = mesh.query(_surface(studio, s * VIEWS + view))
            assert away.max() < 0.008  # to the nearest of a face's seven points; the forearm's are a centimetre long
            assert np.median(away) < 0.0025


def _rigid(points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kabsch: the motion that takes points onto targets, which must fit."""
    a, b = points - points.mean(0), targets - targets.mean(0)
    U, _, Vt = np.linalg.svd(b.T @ a)
    R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    np.testing.assert_allclose(a @ R.T, b, atol=2e-5)
    return R, targets.mean(0) - R @ points.mean(0)


def test_no_view_sees_a_surface_before_what_another_view_sees(cluttered):
    """Points of one view, seen from another, are on its surface or hidden behind it: clutter is one world, too."""
    rigs = CameraRig.from_sets(cluttered.camera, cluttered.T_world_cam, VIEWS)
    agreeing = 0
    measured = torch.where(cluttered.depth_m > 0, cluttered.depth_m, torch.inf)
    nearest = -torch.nn.functional.max_pool2d(-measured, 3, stride=1, padding=1)  # within a pixel
    for s in range(SETS):
        for a in range(VIEWS):
            depth = cluttered.depth_m[s * VIEWS + a]
            v, u = (depth > 0).nonzero().T
            rays = cluttered.camera[s * VIEWS + a : s * VIEWS + a + 1].rays(torch.stack([u, v], -1)[None].float())
            points = _world(cluttered, (rays[0] * depth[v, u, None]).double().numpy(), s * VIEWS + a)
            seen = CameraRig(rigs.K[s], rigs.T_world_cam[s]).to_views(torch.tensor(points).float())
            for b in range(VIEWS):
                uv = cluttered.camera[s * VIEWS + b : s * VIEWS + b + 1].project(seen[b][None])[0].round().long()
                inside = ((uv >= 0) & (uv < SIZE)).all(-1)
                there = nearest[s * VIEWS + b][uv[inside, 1], uv[inside, 0]]
                behind = seen[b][inside, 2] - there
                assert (behind < -0.004).float().mean() < 0.02  # outlines, rounded to pixels
                agreeing += int((behind.abs() < 0.004).sum()) * (a != b)
    assert agreeing > 5000


def test_bare_domain_is_the_street_without_clutter(street):
    bare = _render(DEPTH_BARE)
    torch.testing.assert_close(bare.joints_m, street.joints_m)
    near = torch.nn.functional.max_pool2d(bare.mask[:, None].float(), 5, 1, 2)[:, 0] > 0  # the sensor's ragged outline
    assert not ((bare.depth_m > 0) & ~near).any()
    assert ((street.depth_m > 0) & ~near).flatten(1).any(1).float().mean() > 0.3
    assert 0.02 < ((bare.depth_m == 0) & bare.mask).sum() / bare.mask.sum() < 0.5  # and its holes


def test_masks_are_what_is_seen_of_the_hand(cluttered):
    bare = _render(replace(CLUTTERED, clutter=ClutterDistribution()))
    torch.testing.assert_close(cluttered.joints_m, bare.joints_m)
    nearer = (cluttered.depth_m > 0) & ((cluttered.depth_m < bare.depth_m) | (bare.depth_m == 0))
    assert torch.equal(bare.mask, bare.depth_m > 0)
    assert torch.equal(cluttered.mask, bare.mask & ~nearer)
    assert (bare.mask & nearer).flatten(1).any(1).float().mean() > 0.2
    assert ((cluttered.depth_m > 0) & ~cluttered.mask).flatten(1).any(1).float().mean() > 0.5
    assert (cluttered.visible <= bare.visible).all()
    assert cluttered.visible.float().mean() < bare.visible.float().mean()


def test_visible_joints_lie_just_under_the_surface_that_is_seen(cluttered):
    u, v = cluttered.uv_px.round().long().clamp(0, SIZE - 1).unbind(-1)
    surface = cluttered.depth_m[torch.arange(len(u))[:, None], v, u]
    under = cluttered.joints_m[..., 2] - surface
    visible = cluttered.visible & (surface > 0)
    assert under[visible].max() < 0.022
    assert under[visible].quantile(0.1) > -0.01
    inside = ((cluttered.uv_px > 0) & (cluttered.uv_px < SIZE - 1)).all(-1) & (surface > 0)
    assert (under[inside & ~cluttered.visible] > 0.02).all()
    assert 0.4 < cluttered.visible.float().mean() < 0.9


def test_only_the_street_has_missing_depth(studio, street):
    assert torch.equal(studio.depth_m > 0, studio.mask)
    lost = (street.mask & (street.depth_m == 0)).sum() / street.mask.sum()
    assert 0.03 < lost < 0.3


def test_straight_palms_face_view_0():
    straight = ViewpointDistribution(1.0, turn_deg=0.0, tilt_deg=0.0, roll_deg=0.0, uniform_rotation_share=0.0)
    poses = PoseDistribution({"open": 1.0}, random_share=0.0, blend=0.0, noise_deg=0.0, wrist_deg=(0.0, 0.0))
    level = RigDistribution(baseline_deg=(50.0, 50.0), elevation_deg=0.0, roll_deg=0.0, aim_m=0.0)
    batch = _render(replace(DEPTH_STUDIO, viewpoints=straight, poses=poses, rigs=level))
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
    batch = _render(replace(DEPTH_STREET, rigs=replace(DEPTH_STREET.rigs, views=views)), sets=2)
    assert len(batch) == 2 * views
    assert batch.view.tolist() == list(range(views)) * 2
    assert (batch.mask.flatten(1).sum(1) > 50).all()


def test_one_generator_state_one_batch(street):
    torch.manual_seed(1)
    again, other = _render(DEPTH_STREET), _render(DEPTH_STREET, seed=1)
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


def test_manos_hand_is_shown_where_its_mesh_is(tmp_path):
    mano = write_mano(tmp_path / "mano.npz")
    batch = _render(replace(DEPTH_STUDIO, mano=mano), sets=2)
    meshes = with_meshes(batch, mano)
    rig = mano_hand(mano).rig
    assert meshes.vertices_m.shape[1] == len(rig.vertices_m)
    raster = rasterise(meshes.vertices_m, rig.faces, batch.camera.K, SIZE, SIZE)
    assert (raster.mask | ~batch.mask).all()
    off_m = (raster.depth_m - batch.depth_m)[batch.mask].abs()
    assert off_m.median() < 1e-4
    # Of a real subject's size, though the file's mean hand is another one's.
    palm_m = (batch.joints_m[:, HAND21.index("middle_1")] - batch.joints_m[:, 0]).norm(dim=-1)
    assert palm_m.min() > 0.07
    assert palm_m.max() < 0.12


def test_colour_has_no_mano(tmp_path):
    with pytest.raises(InputError, match="leave MANO out, or take hand-depth"):
        open_samples(RenderConfig("studio", 3, mano=write_mano(tmp_path / "mano.npz")))
