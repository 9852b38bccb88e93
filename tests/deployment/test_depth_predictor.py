import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import trimesh
from torch.nn import functional as F

from data.rendered_depth import SIDE, hands
from deployment.depth_hands import SPEC, predictor, save_small, true_hands
from posebridge.cameras.crop import flip_map
from posebridge.cameras.multiview import transform
from posebridge.cameras.pinhole import Camera
from posebridge.data.cube_views import CubeViews
from posebridge.deployment.depth_overlay import hand_panels
from posebridge.deployment.depth_predictor import depth_fit, keypoints_of
from posebridge.deployment.mesh_files import open_meshes, ply, save_meshes
from posebridge.deployment.mesh_set import join_meshes
from posebridge.deployment.model_file import kind_of_model, load_model
from posebridge.deployment.model_kinds import DEPTH_HAND, POSE
from posebridge.errors import InputError
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.skeletons.hand import HAND21
from training.hands import CUBE_M

MIRROR = torch.tensor([-1.0, 1, 1])
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def batch():
    return hands()


@pytest.fixture(scope="module")
def ours():
    return predictor()


def left_of(batch):
    """Left hands, the mirror images of the right ones, in mirrored crops as a reader makes them."""
    K = batch.camera.K * torch.tensor([[-1.0, 1, 1], [1, 1, 1], [1, 1, 1]])
    T = flip_map(batch.depth_m.shape[-1]).expand(len(batch), 3, 3)
    return replace(batch, camera=Camera(K), T_crop_file=T, centre_m=batch.centre_m * MIRROR)


def test_true_meshes_fit_their_depth(batch):
    views, faces = CubeViews.of(batch, CUBE_M), predictor().hand.faces(torch.device("cpu"))
    error_m, explained = depth_fit(views, batch.vertices_m, faces)
    assert error_m.max() < 5e-4
    assert explained.min() > 0.97
    behind = batch.vertices_m * (1 + 0.02 / batch.centre_m[:, None, 2:])  # 2 cm along the rays
    error_m, explained = depth_fit(views, behind, faces)
    np.testing.assert_allclose(error_m, 0.02, atol=3e-3)
    assert explained.max() < 0.1
    beside = batch.vertices_m + torch.tensor([1.0, 0, 0])
    error_m, explained = depth_fit(views, beside, faces)
    assert error_m.isnan().all()
    assert explained.max() == 0


def test_hands_are_in_camera_coordinates_in_metres(batch, ours):
    hands = ours(batch, fused=False)
    # Predictions lie in the cube for any weights.
    for points in (hands.joints_m, hands.pixel_joints_m):
        assert ((points - batch.centre_m[:, None]).norm(dim=-1) < CUBE_M).all()
    assert (hands.joints_m.mean(1) - hands.vertices_m.mean(1)).norm(dim=1).max() < 0.06
    keypoints = keypoints_of(ours, batch, hands)
    np.testing.assert_allclose(keypoints.xyz_mm, 1000 * hands.joints_m, rtol=1e-5)
    rays = torch.einsum("bij,bnj->bni", batch.camera.K, hands.joints_m)
    np.testing.assert_allclose(keypoints.uv_px, rays[..., :2] / rays[..., 2:], atol=1e-3)
    assert ((keypoints.confidence >= 0) & (keypoints.confidence <= 1)).all()


def test_left_hands_are_predicted_as_mirrored_right_hands(batch, ours):
    right, left = ours(batch, fused=False), ours(left_of(batch), fused=False)
    for name in ("joints_m", "pixel_joints_m", "vertices_m"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name) * MIRROR, atol=1e-5)
    np.testing.assert_allclose(left.depth_error_m, right.depth_error_m, atol=1e-4)
    uv_right, uv_left = (keypoints_of(ours, b, h).uv_px for b, h in ((batch, right), (left_of(batch), left)))
    np.testing.assert_allclose(uv_left[..., 0], SIDE - 1 - uv_right[..., 0], atol=1e-2)
    np.testing.assert_allclose(uv_left[..., 1], uv_right[..., 1], atol=1e-2)


def test_fitting_explains_more_depth(batch, ours):
    fitting = replace(ours, fitting=HandFittingConfig(steps=12))
    before, after = ours(batch, fused=False), fitting(batch, fused=False)
    assert (after.explained_frac >= before.explained_frac - 0.02).all()
    assert after.explained_frac.mean() > before.explained_frac.mean() + 0.05
    torch.testing.assert_close(after.pixel_joints_m, before.pixel_joints_m)
    left = fitting(left_of(batch), fused=False)
    assert (left.joints_m - after.joints_m * MIRROR).norm(dim=-1).median() < 0.01
    some = fitting(batch.take(torch.tensor([4, 0, 2, 1])))  # one moment of three views and one of one
    world = transform(batch.T_world_cam[[0, 2, 1]], some.vertices_m[1:])
    assert (world - world[:1]).norm(dim=-1).max() < 1e-5


@pytest.mark.parametrize("fitting", [None, HandFittingConfig(steps=2)])
def test_views_of_a_moment_have_one_hand(batch, ours, fitting):
    ours = replace(ours, fitting=fitting)
    apart, together = (ours(batch, fused=fused) for fused in (False, True))

    def spread(points_m):
        world = transform(batch.T_world_cam, points_m).unflatten(0, (2, 3))
        return (world - world.mean(1, keepdim=True)).norm(dim=-1).amax((1, 2))

    for name in ("joints_m", "pixel_joints_m", "vertices_m"):
        assert spread(getattr(apart, name)).min() > 1e-2
        assert spread(getattr(together, name)).max() < 1e-5


def test_single_views_are_not_fused(batch, ours):
    """A batch mixes a moment of three views with one of a single view."""
    some = batch.take(torch.tensor([4, 0, 2, 1]))
    found, whole = ours(some), ours(batch[:3])
    np.testing.assert_allclose(found.joints_m[[1, 3, 2]], whole.joints_m, atol=1e-5)
    np.testing.assert_allclose(found.joints_m[0], ours(batch[4:5], fused=False).joints_m[0], atol=1e-5)


def test_files_of_meshes(batch, ours, tmp_path):
    meshes = ours.mesh_set(batch, true_hands(batch))
    joined = join_meshes([meshes, meshes])
    assert len(joined) == 2 * len(batch)
    save_meshes(meshes, tmp_path)
    saved = np.load(tmp_path / "meshes.npz")
    np.testing.assert_allclose(saved["vertices_mm"], 1000 * batch.vertices_m, rtol=1e-6)
    files = [tmp_path / "meshes" / f"{key}.ply" for key in batch.key]
    with open_meshes(tmp_path, "ply") as opened:
        opened.add(meshes)
        assert opened.finish() == {*files}
    read = trimesh.load(files[2], process=False)
    np.testing.assert_allclose(read.vertices, meshes.vertices_mm[2], rtol=1e-6)
    np.testing.assert_array_equal(read.faces, meshes.faces)


def test_faces_point_outwards_for_both_hands(batch, ours):
    right = ours.mesh_set(batch, true_hands(batch))
    left = ours.mesh_set(left_of(batch), replace(true_hands(batch), vertices_m=batch.vertices_m * MIRROR))
    for meshes in (right, left):
        a, b, c = (meshes.vertices_mm[0][meshes.faces[:, i]] for i in range(3))
        outwards = np.einsum("fc,fc->f", np.cross(b - a, c - a), (a + b + c) / 3 - meshes.vertices_mm[0].mean(0))
        assert (outwards > 0).mean() > 0.7
    assert ply(right.vertices_mm[0], right.faces) != ply(right.vertices_mm[0], left.faces)


def test_panels_show_the_hand_at_its_position(batch, ours):
    true = true_hands(batch)
    drawn = hand_panels(batch, true, 0, ours.hand.faces(torch.device("cpu")), HAND21, CUBE_M)
    assert drawn.shape == (320, 960, 3)
    depth, mesh, side = np.split(drawn.astype(int), 3, axis=1)
    true_mask = F.interpolate(batch.mask[:1, None].float(), (320, 320))[0, 0].numpy() > 0.5
    shown = mesh.sum(-1) > 150
    assert (shown & true_mask).sum() / (shown | true_mask).sum() > 0.9
    assert (depth.max(-1) != depth.min(-1)).sum() > 1_000  # colours of the skeleton over grey
    # From the side some points lie beside the mesh, as the sensor measured one side of it.
    measured = (side == (90, 220, 255)).all(-1)
    hand = cv2.dilate(((side.sum(-1) > 150) & ~measured).astype(np.uint8), np.ones((9, 9))) > 0
    assert measured.sum() > 300
    assert hand[measured].mean() > 0.9


def test_models_with_other_shape_parameters_are_refused(tmp_path):
    """Those of earlier versions have six."""
    save_small(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    content["network"]["shape_size"] = 6
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="hands have 6 shape parameters, those of this version 8: train the model"):
        load_model(tmp_path)


def test_saved_models_predict_the_same(batch, tmp_path):
    saved = save_small(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.spec == SPEC
    assert loaded.kind is kind_of_model(tmp_path) is DEPTH_HAND
    again = loaded.predictor()
    assert torch.equal(saved(batch).vertices_m, again(batch).vertices_m)
    with pytest.raises(InputError, match="a model of kind depth-hand, and one of kind pose is needed"):
        load_model(tmp_path, POSE)
