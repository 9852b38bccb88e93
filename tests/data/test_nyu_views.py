import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from data.depth_releases import write_nyu
from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import concatenate
from posebridge.data.crops import CubeCropConfig, LabelledCrops
from posebridge.data.datasets.nyu_views import NYUViews
from posebridge.data.multiview_stream import moments_of
from posebridge.errors import InputError


@pytest.fixture
def root(tmp_path):
    write_nyu(tmp_path, frames=4)
    return tmp_path


def test_camera_poses_are_fitted_to_the_joints(root):
    """The hand is 3 cm further right in each view's own frame, so each camera stands 3 cm further left."""
    views = NYUViews(root, "test")
    for v in range(3):
        T = views[v].T_world_cam
        np.testing.assert_allclose(T[:3, :3], np.eye(3), atol=1e-6)
        np.testing.assert_allclose(T[:3, 3], [-0.03 * v, 0, 0], atol=1e-6)


def test_a_rotated_camera_pose_is_fitted(root):
    """The second view's joints, rotated about the optical axis and translated, still agree in the world."""
    path = root / "test" / "joint_data.mat"
    content = loadmat(path)
    xyz = content["joint_xyz"].astype(float)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    xyz[1] = xyz[0] @ turn.T + [10, 20, 30]
    savemat(path, {"joint_uvd": content["joint_uvd"], "joint_xyz": xyz})
    views = NYUViews(root, "test")
    for moment in range(4):
        here, there = (views.labels(3 * moment + v).joints_m for v in (0, 1))
        T = torch.from_numpy(views[3 * moment + 1].T_world_cam)[None]
        np.testing.assert_allclose(transform(T, torch.from_numpy(there)[None].double())[0], here, atol=1e-5)


def test_views_of_a_moment_are_adjacent(root):
    (root / "test" / "depth_2_0000003.png").unlink()
    views = NYUViews(root, "test")
    assert [views[i].key for i in range(4)] == [
        *("depth_1_0000001", "depth_2_0000001", "depth_3_0000001", "depth_1_0000002")
    ]
    assert len(views) == 9  # without the third moment
    crops = LabelledCrops(views, CubeCropConfig(32))
    batch = concatenate([crops[i] for i in range(9)])
    assert [own.tolist() for own in moments_of(batch)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_inconsistent_joints_are_refused(root):
    path = root / "test" / "joint_data.mat"
    content = loadmat(path)
    xyz = content["joint_xyz"].astype(float)
    xyz[1, :, :, 2] *= -1  # mirrored
    xyz[1, :, :, 2] += 1300
    xyz[1] += np.random.default_rng(0).normal(0, 60, xyz[1].shape)
    savemat(path, {"joint_uvd": content["joint_uvd"], "joint_xyz": xyz})
    with pytest.raises(
        InputError, match="mm apart at best, so the cameras can't be calibrated by them; take --views 1"
    ):
        NYUViews(root, "test")
