"""Surfaces in depth scenes: the hand's mesh, clutter, masks and visible joints."""

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from bodies.mano_file import write_mano
from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.mano import mano_hand
from posebridge.cameras.multiview import CameraRig
from posebridge.contracts.batch import LabelledBatch
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_clutter import ClutterDistribution
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, with_meshes
from synthesis.depth_sets import CLUTTERED, SETS, SIZE, VIEWS, render, to_world


def _surface(batch: LabelledBatch, i: int) -> np.ndarray:
    """The hand's pixels of sample i as points (N, 3) in the world."""
    v, u = batch.mask[i].numpy().nonzero()
    rays = np.linalg.solve(batch.camera.K[i].double().numpy(), np.stack([u, v, np.ones_like(u)]).astype(float)).T
    return to_world(batch, rays * batch.depth_m[i].double().numpy()[v, u][:, None], i)


def test_pixels_of_all_views_lie_on_the_labelled_mesh(studio):
    """The mesh is posed from the labels and aligned to the joints; pixels of every view lie on it."""
    model = anny_hand("right")
    angles = HandAngles.from_stacked(studio.angles_rad[::VIEWS])
    posed = pose_hand(model, angles, model.shape_coefficients(studio.phenotypes[::VIEWS]))
    vertices = posed.vertices_m()
    joints = posed.keypoints_m(vertices)
    for s in range(SETS):
        target = torch.tensor(to_world(studio, studio.joints_m[s * VIEWS].double().numpy(), s * VIEWS))[None]
        R, t = _rigid(joints[s].double().numpy(), target[0].numpy())
        corners = (vertices[s].double().numpy() @ R.T + t)[model.rig.faces.numpy()]  # F 3 3
        bary = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3])
        mesh = cKDTree(np.einsum("sk,fkc->fsc", bary, corners).reshape(-1, 3))
        for view in range(VIEWS):
            away, _ = mesh.query(_surface(studio, s * VIEWS + view))
            assert away.max() < 0.008  # to the nearest of a face's seven points; the forearm's are a centimetre long
            assert np.median(away) < 0.0025


def _rigid(points: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kabsch: the rigid transform of points onto targets, which must fit exactly."""
    a, b = points - points.mean(0), targets - targets.mean(0)
    U, _, Vt = np.linalg.svd(b.T @ a)
    R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    np.testing.assert_allclose(a @ R.T, b, atol=2e-5)
    return R, targets.mean(0) - R @ points.mean(0)


def test_depth_agrees_between_views(cluttered):
    """Points of one view, projected to another, are on its surface or behind it, including clutter."""
    rigs = CameraRig.from_sets(cluttered.camera, cluttered.T_world_cam, VIEWS)
    agreeing = 0
    measured = torch.where(cluttered.depth_m > 0, cluttered.depth_m, torch.inf)
    nearest = -torch.nn.functional.max_pool2d(-measured, 3, stride=1, padding=1)  # within a pixel
    for s in range(SETS):
        for a in range(VIEWS):
            depth = cluttered.depth_m[s * VIEWS + a]
            v, u = (depth > 0).nonzero().T
            rays = cluttered.camera[s * VIEWS + a : s * VIEWS + a + 1].rays(torch.stack([u, v], -1)[None].float())
            points = to_world(cluttered, (rays[0] * depth[v, u, None]).double().numpy(), s * VIEWS + a)
            seen = CameraRig(rigs.K[s], rigs.T_world_cam[s]).to_views(torch.tensor(points).float())
            for b in range(VIEWS):
                uv = cluttered.camera[s * VIEWS + b : s * VIEWS + b + 1].project(seen[b][None])[0].round().long()
                inside = ((uv >= 0) & (uv < SIZE)).all(-1)
                there = nearest[s * VIEWS + b][uv[inside, 1], uv[inside, 0]]
                behind = seen[b][inside, 2] - there
                assert (behind < -0.004).float().mean() < 0.02  # at outlines, by rounding to pixels
                agreeing += int((behind.abs() < 0.004).sum()) * (a != b)
    assert agreeing > 5000


def test_masks_are_the_visible_part_of_the_hand(cluttered):
    bare = render(replace(CLUTTERED, clutter=ClutterDistribution()))
    torch.testing.assert_close(cluttered.joints_m, bare.joints_m)
    nearer = (cluttered.depth_m > 0) & ((cluttered.depth_m < bare.depth_m) | (bare.depth_m == 0))
    assert torch.equal(bare.mask, bare.depth_m > 0)
    assert torch.equal(cluttered.mask, bare.mask & ~nearer)
    assert (bare.mask & nearer).flatten(1).any(1).float().mean() > 0.2
    assert ((cluttered.depth_m > 0) & ~cluttered.mask).flatten(1).any(1).float().mean() > 0.5
    assert (cluttered.visible <= bare.visible).all()
    assert cluttered.visible.float().mean() < bare.visible.float().mean()


def test_visible_joints_are_just_below_the_visible_surface(cluttered):
    u, v = cluttered.uv_px.round().long().clamp(0, SIZE - 1).unbind(-1)
    surface = cluttered.depth_m[torch.arange(len(u))[:, None], v, u]
    under = cluttered.joints_m[..., 2] - surface
    visible = cluttered.visible & (surface > 0)
    assert under[visible].max() < 0.022
    assert under[visible].quantile(0.1) > -0.01
    inside = ((cluttered.uv_px > 0) & (cluttered.uv_px < SIZE - 1)).all(-1) & (surface > 0)
    assert (under[inside & ~cluttered.visible] > 0.02).all()
    assert 0.4 < cluttered.visible.float().mean() < 0.9


def test_depth_of_mano_hands_matches_their_mesh(tmp_path):
    mano = write_mano(tmp_path / "mano.npz")
    batch = render(replace(DEPTH_STUDIO, mano=mano), sets=2)
    meshes = with_meshes(batch, mano)
    rig = mano_hand(mano).rig
    assert meshes.vertices_m.shape[1] == len(rig.vertices_m)
    raster = rasterise(meshes.vertices_m, rig.faces, batch.camera.K, SIZE, SIZE)
    assert (raster.mask | ~batch.mask).all()
    off_m = (raster.depth_m - batch.depth_m)[batch.mask].abs()
    assert off_m.median() < 1e-4
    # The size is a subject's, although the file's mean hand has another size.
    palm_m = (batch.joints_m[:, HAND21.index("middle_1")] - batch.joints_m[:, 0]).norm(dim=-1)
    assert palm_m.min() > 0.07
    assert palm_m.max() < 0.12
