"""MANO's hand against MANO's formula in its own frame, and files that are read without executing them."""

import pickle
import sys
import types

import numpy as np
import pytest
import roma
import scipy.sparse
import torch

from bodies.mano_file import PARENTS, mano_arrays, write_mano
from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.bodies.mano import load_hand_model, mano_hand
from posebridge.bodies.parametric_hand import RiggedHand
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return mano_arrays()


@pytest.fixture(scope="module")
def model(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("mano") / "mano.npz"
    np.savez(path, **arrays)
    return mano_hand(path)


def mano_forward(arrays: dict[str, np.ndarray], shape: np.ndarray, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints of one hand in MANO's frame, by the formula of the SMPL family (Loper et al. 2015)."""
    shaped = arrays["v_template"] + arrays["shapedirs"] @ shape
    joints = arrays["J_regressor"] @ shaped
    posed = shaped + arrays["posedirs"] @ (local[1:] - np.eye(3)).ravel()
    G = np.zeros((16, 4, 4))
    for j, parent in enumerate(PARENTS):
        own = np.eye(4)
        own[:3, :3], own[:3, 3] = local[j], joints[j] - (joints[parent] if parent >= 0 else 0)
        G[j] = own if parent < 0 else G[parent] @ own
    placed = G[:, :3, 3].copy()
    A = G.copy()
    A[:, :3, 3] -= np.einsum("jab,jb->ja", G[:, :3, :3], joints)
    T = np.einsum("vj,jab->vab", arrays["weights"], A)
    return np.einsum("vab,vb->va", T[:, :3, :3], posed) + T[:, :3, 3], placed


def test_rig_matches_mano(arrays, model):
    """Up to the frame, and to the skin behind the wrist, which moves with our forearm."""
    rng = np.random.default_rng(1)
    shape = rng.normal(size=10)
    local = roma.rotvec_to_rotmat(torch.from_numpy(0.5 * rng.normal(size=(16, 3)))).numpy()
    vertices, joints = mano_forward(arrays, shape, local)
    # The frame is fitted to the two rest poses.
    rest, rest_joints = mano_forward(arrays, np.zeros(10), np.tile(np.eye(3), (16, 1, 1)))
    rig = model.rig
    own = (rig.heads_m[:16] - rig.heads_m[0]).double().numpy()
    U, _, Vt = np.linalg.svd(own.T @ (rest_joints - rest_joints[0]))
    R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt  # hand frame <- MANO's
    np.testing.assert_allclose(rig.vertices_m[:778], (rest - rest_joints[0]) @ R.T, atol=3e-6)

    turned = torch.from_numpy(np.concatenate([R @ local @ R.T, np.eye(3)[None]])).float()
    posed = rig.shaped(torch.from_numpy(shape).float()[None]).posed(turned[None])
    start = (arrays["J_regressor"] @ (arrays["v_template"] + arrays["shapedirs"] @ shape))[0]
    np.testing.assert_allclose(posed.heads_m[0, :16], (joints - start) @ R.T, atol=2e-6)
    fingers = (arrays["v_template"] - rest_joints[0]) @ R.T[:, 1] > 0.02  # beyond the skin of the wrist
    found = posed.vertices_m()[0, :778].numpy()
    assert fingers.sum() > 500
    np.testing.assert_allclose(found[fingers], ((vertices - start) @ R.T)[fingers], atol=5e-6)


def test_keypoints_are_the_joints_and_manos_finger_tips(model):
    keypoints = model.rig.shaped(torch.zeros(1, 10)).keypoints_m()[0]
    anny = anny_hand("right").rig
    expected = anny.shaped(torch.zeros(1, len(anny.vertex_basis_m))).keypoints_m()[0]  # where the file has them
    assert model.rig.joints == HAND21.joints
    torch.testing.assert_close(torch.cdist(keypoints, keypoints), torch.cdist(expected, expected), atol=1e-5, rtol=0)
    assert keypoints[0].norm() < 1e-6
    assert (keypoints - expected).norm(dim=-1).max() < 0.003  # Anny's y runs to the web beside the middle knuckle


def test_flexed_fingers_match_anny(model):
    """The file's joints are those of Anny, so the same angles give nearly the same hand."""
    generator = torch.Generator().manual_seed(0)
    angles = HandAngles(
        torch.rand(8, 4, 4, generator=generator), 0.4 * torch.rand(8, 4, generator=generator), torch.zeros(8, 2)
    )
    anny = anny_hand("right")
    joints = []
    for m in (model, anny):
        posed = pose_hand(m, angles, torch.zeros(8, len(m.rig.vertex_basis_m)))
        joints.append(posed.keypoints_m(posed.vertices_m()))
    off = (joints[0] - joints[1]).norm(dim=-1)
    at_rest = anny.rig.shaped(torch.zeros(8, len(anny.rig.vertex_basis_m))).keypoints_m()
    moved = (joints[1] - at_rest).norm(dim=-1)
    knuckles = [i for i, name in enumerate(HAND21.joints) if name[-1] in "123"]
    assert moved[:, knuckles].mean() > 0.015
    assert off[:, knuckles].mean() < 0.003
    assert off[:, knuckles].max() < 0.012


def test_shapes_have_bone_lengths_of_annys_subjects(model):
    generator = torch.Generator().manual_seed(0)
    phenotypes = torch.rand(16, 6, generator=generator)
    phenotypes[:, 1] = 0.4 + 0.6 * phenotypes[:, 1]
    shapes = model.shape_coefficients(phenotypes)
    assert shapes.shape == (16, 10)
    assert shapes.abs().max() <= 3

    def lengths(rig, coefficients):
        joints = rig.shaped(coefficients).keypoints_m()
        parents, children = torch.tensor(HAND21.bones).T
        return (joints[:, children] - joints[:, parents]).norm(dim=-1)

    expected = lengths(anny_hand("right").rig, anny_hand("right").shape_coefficients(phenotypes))
    off = (lengths(model.rig, shapes) - expected).abs().mean()
    assert off < 0.35 * (lengths(model.rig, torch.zeros_like(shapes)) - expected).abs().mean()


def test_the_mean_adult_is_manos_mean_hand_wherever_its_joints_lie(tmp_path, arrays):
    """MANO's knuckles lie elsewhere within the skin than Anny's."""
    regressor = arrays["J_regressor"].copy()
    regressor[1:13:3] = 0.9 * regressor[1:13:3] + 0.1 * regressor[2:13:3]  # a tenth of the proximal phalanx to the tips
    np.savez(tmp_path / "a.npz", **{**arrays, "J_regressor": regressor})
    moved = mano_hand(tmp_path / "a.npz")
    adults = torch.tensor([[0.5, 2 / 3, 0.5, 0.5, 0.5, 0.5], [0.5, 2 / 3, 0.5, 0.5, 0.9, 0.5]])
    mean, tall = moved.shape_coefficients(adults)
    torch.testing.assert_close(mean, torch.zeros(10), atol=0.02, rtol=0)
    assert tall[0] > 0.1  # the first shape is the size


def test_parametric_hand_of_mano(model):
    rigged = RiggedHand(model, shapes=6)
    pose = torch.zeros(2, rigged.pose_size, requires_grad=True)
    found = rigged.in_hand_frame(pose, torch.randn(2, 6))
    assert found.joints.shape == (2, 21, 3)
    assert found.vertices.shape[1] == len(model.rig.vertices_m) > 778  # with the forearm's
    found.joints.square().sum().backward()
    assert pose.grad is not None
    assert pose.grad[:, :20].abs().min() > 0
    with pytest.raises(InputError, match="has 10 shapes, not 11"):
        RiggedHand(model, shapes=11)


def test_the_mirrored_rig_gives_the_mirrored_hand(model):
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    rotations = roma.rotvec_to_rotmat(
        torch.randn(1, len(model.rig.bones), 3, generator=torch.Generator().manual_seed(3))
    )
    shape = torch.randn(1, 10, generator=torch.Generator().manual_seed(4))
    right = model.rig.shaped(shape).posed(rotations).vertices_m()
    left = model.rig.mirrored().shaped(shape).posed(flip @ rotations @ flip).vertices_m()
    torch.testing.assert_close(left, right @ flip, atol=1e-5, rtol=0)


def wrapped(arrays: dict[str, np.ndarray], protocol: int, monkeypatch) -> bytes:
    """A pickle in the release's layout: arrays of chumpy's classes and a sparse matrix of scipy's."""
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def wrap(module: str, name: str, **content: object) -> object:
        kind = type(name, (), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, kind, raising=False)
        made = kind()
        made.__dict__.update(content)
        return made

    order = np.random.default_rng(0).permutation(arrays["shapedirs"].size)
    flat = np.empty(arrays["shapedirs"].size)
    flat[order] = arrays["shapedirs"].ravel()
    inner = wrap("chumpy.ch", "Ch", x=flat, _dirty_vars=set())
    shapedirs = wrap("chumpy.reordering", "Select", a=inner, idxs=order, preferred_shape=arrays["shapedirs"].shape)
    content = {**arrays, "shapedirs": shapedirs, "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}
    data = pickle.dumps({**content, "bs_type": "lrotmin"}, protocol=protocol)
    monkeypatch.undo()
    assert "chumpy" not in sys.modules
    return data


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_release_pickle_is_read_without_its_libraries(tmp_path, arrays, model, monkeypatch, protocol):
    path = tmp_path / f"MANO_RIGHT_{protocol}.pkl"
    path.write_bytes(wrapped(arrays, protocol, monkeypatch))
    mano_hand.cache_clear()
    found = mano_hand(path)
    torch.testing.assert_close(found.rig.vertex_basis_m, model.rig.vertex_basis_m)
    torch.testing.assert_close(found.rig.heads_m, model.rig.heads_m)


class Attack:
    def __reduce__(self):
        return (open, ("OWNED", "w"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("a.npz", {"weights": np.zeros((5, 16))}, r"weights has the shape \[5, 16\], but MANO's is \[778, 16\]"),
        ("a.npz", {"v_template": None}, "is not a MANO hand"),
        ("a.npz", {"v_template": 1000 * mano_arrays()["v_template"]}, "look like millimetres: multiply them by 0.001"),
        ("MANO_LEFT.npz", {}, "is a left hand"),
        ("nowhere.pkl", None, "no such file; give MANO_RIGHT.pkl"),
        ("a.pkl", {"v_template": Attack()}, "the pickle refers to"),
    ],
)
def test_other_files_are_refused(tmp_path, monkeypatch, arrays, name, changes, message):
    monkeypatch.chdir(tmp_path)
    content = {k: v for k, v in {**arrays, **(changes or {})}.items() if v is not None}
    if changes is not None and name.endswith("npz"):
        np.savez(tmp_path / name, **content)
    elif changes is not None:
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        mano_hand(tmp_path / name)
    assert not (tmp_path / "OWNED").exists()


def test_default_hand_is_annys(tmp_path):
    assert load_hand_model(None) is anny_hand("right")
    assert load_hand_model(write_mano(tmp_path / "m.npz")).rig.bones[1] == "finger2-1"
