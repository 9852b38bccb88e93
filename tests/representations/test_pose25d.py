import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posebridge.cameras.pinhole import Camera
from posebridge.representations.pose25d import (
    lift,
    lift_pose,
    lift_weak_perspective,
    reference_length,
    relative_depth,
)
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton


def random_pose(
    seed: int, skeleton: Skeleton, bone_m: float, distance_m: float, batch: int = 8, flatness: float = 0.0
) -> torch.Tensor:
    """Chains of bones in random directions, about ``distance_m`` in front of the camera; float64."""
    generator = np.random.default_rng(seed)
    joints = np.zeros((batch, len(skeleton), 3))
    order = sorted(skeleton.bones, key=lambda bone: _depth_in_tree(skeleton, bone[1]))
    for parent, child in order:
        direction = generator.normal(size=(batch, 3)) * (1, 1, 1 - flatness)
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        joints[:, child] = joints[:, parent] + bone_m * generator.uniform(0.5, 1.5, size=(batch, 1)) * direction
    centre = distance_m * (generator.uniform(-0.15, 0.15, size=(batch, 3)) + np.array([0, 0, 1]))
    return torch.from_numpy(joints + (centre - joints.mean(1))[:, None])


def _depth_in_tree(skeleton: Skeleton, joint: int) -> int:
    return 0 if joint == skeleton.root else 1 + _depth_in_tree(skeleton, skeleton.parents[joint])


def camera(focal: float, rotation: float, mirrored: bool, negative_fy: bool, batch: int, dtype: torch.dtype) -> Camera:
    """A pinhole whose image is cropped, rotated and possibly mirrored."""
    K = torch.tensor([[focal, 0, 128], [0, -focal if negative_fy else 1.02 * focal, 120], [0, 0, 1]])
    c, s = math.cos(rotation), math.sin(rotation)
    turn = torch.tensor([[c, -s, 31.0], [s, c, -7.0], [0, 0, 1]])
    flip = torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0, 1.0]))
    return Camera((turn @ flip @ K).to(dtype).expand(batch, 3, 3).clone())


def well_posed(joints: torch.Tensor, skeleton: Skeleton, least_share: float) -> torch.Tensor:
    """Whether the reference bone is not seen end-on and keeps its direction in perspective."""
    n, m = skeleton.reference
    rays = joints / joints[..., 2:]
    across = rays[:, n] - rays[:, m]
    bone = joints[:, n] - joints[:, m]
    share = across.norm(dim=-1) * joints[:, n, 2] / bone.norm(dim=-1)
    return ((across * bone).sum(-1) > 0) & (share > least_share)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@given(
    seed=st.integers(0, 100_000),
    focal=st.floats(200, 2000),
    rotation=st.floats(-3.2, 3.2),
    mirrored=st.booleans(),
    negative_fy=st.booleans(),
    known_length=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_lift_is_exact_on_hands(dtype, tolerance, seed, focal, rotation, mirrored, negative_fy, known_length):
    joints = random_pose(seed, HAND21, bone_m=0.03, distance_m=0.4)
    joints = joints[well_posed(joints, HAND21, least_share=0.2)].to(dtype)
    cam = camera(focal, rotation, mirrored, negative_fy, len(joints), dtype)
    length_m = reference_length(joints, HAND21)
    lifted, valid = lift(
        cam.project(joints), relative_depth(joints, HAND21), cam, HAND21, length_m if known_length else None
    )
    expected = joints if known_length else joints / length_m[:, None, None]
    assert lifted.dtype == dtype
    assert valid.all()
    error = (lifted - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.numel() == 0 or error.max() < tolerance


@given(seed=st.integers(0, 100_000), rotation=st.floats(-3.2, 3.2), mirrored=st.booleans())
@settings(max_examples=30, deadline=None)
def test_lift_is_exact_for_reference_bones_off_the_root(seed, rotation, mirrored):
    joints = random_pose(seed, H36M17, bone_m=0.25, distance_m=5.0)
    joints = joints[well_posed(joints, H36M17, least_share=0.2)]
    cam = camera(1145.0, rotation, mirrored, False, len(joints), joints.dtype)
    length_m = reference_length(joints, H36M17)
    lifted, valid = lift(cam.project(joints), relative_depth(joints, H36M17), cam, H36M17, length_m)
    assert valid.all()
    torch.testing.assert_close(lifted, joints, rtol=1e-8, atol=1e-8)


def test_lift_through_a_distorting_lens():
    joints = random_pose(1, HAND21, 0.03, 0.5)
    joints = joints[well_posed(joints, HAND21, 0.2)]
    plain = camera(600, 0.3, False, False, len(joints), joints.dtype)
    lens = torch.tensor([-0.2, 0.1, 1e-3, -2e-3, 0.0], dtype=joints.dtype).expand(len(joints), 5)
    cam = Camera(plain.K, lens)
    lifted, valid = lift(
        cam.project(joints), relative_depth(joints, HAND21), cam, HAND21, reference_length(joints, HAND21)
    )
    assert valid.all()
    torch.testing.assert_close(lifted, joints, rtol=1e-5, atol=1e-6)


def test_both_roots_of_an_ambiguous_pose_project_to_the_image():
    # The documented exception: a reference bone along the viewing ray of an off-centre hand.
    joints = random_pose(2, HAND21, 0.03, 0.4, batch=1)
    n, m = HAND21.reference
    joints = joints - joints[:, [n]] + torch.tensor([0.2, 0.0, 0.4])
    joints[:, m] = joints[:, n] + torch.tensor([0.01, 0.0, 0.04])
    assert not well_posed(joints, HAND21, 0.0).any()
    cam = camera(600, 0.0, False, False, 1, joints.dtype)
    uv, depth = cam.project(joints), relative_depth(joints, HAND21)
    lifted, valid = lift(uv, depth, cam, HAND21, reference_length(joints, HAND21))
    assert valid.all()
    assert (lifted - joints).norm(dim=-1).max() > 0.01
    torch.testing.assert_close(cam.project(lifted), uv)
    torch.testing.assert_close(relative_depth(lifted, HAND21), depth)
    torch.testing.assert_close(reference_length(lifted, HAND21), reference_length(joints, HAND21))


def unusual_inputs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    joints = random_pose(3, HAND21, 0.03, 0.4, batch=1).float()
    cam = camera(600, 0, False, False, 1, torch.float32)
    uv, depth = cam.project(joints), relative_depth(joints, HAND21)
    n, m = HAND21.reference
    end_on, no_root, behind = uv.clone(), depth.clone(), depth.clone()
    end_on[:, m] = end_on[:, n]
    no_root[:, m] = 1.5
    behind[:, 20] = -100
    return {
        "end on": (end_on, depth),
        "no real root": (uv, no_root),
        "behind the camera": (uv, behind),
        "all one pixel": (torch.zeros_like(uv), torch.zeros_like(depth)),
        "not a number": (uv * math.nan, depth),
        "infinite": (uv, depth + math.inf),
    }


@pytest.mark.parametrize("name", list(unusual_inputs()))
@pytest.mark.parametrize("perspective", [True, False])
def test_degenerate_poses_are_flagged_and_finite(name, perspective):
    uv, depth = (x.clone().requires_grad_() for x in unusual_inputs()[name])
    if perspective:
        joints, valid = lift(uv, depth, camera(600, 0, False, False, 1, torch.float32), HAND21)
    else:
        joints, valid = lift_weak_perspective(uv, depth, HAND21)
    if perspective or name != "behind the camera":  # without a camera no point is behind it
        assert not valid.any()
    assert joints.isfinite().all()
    if perspective and uv.isfinite().all() and depth.isfinite().all():
        assert (joints[..., 2] > 0).all()
    joints.sum().backward()
    assert uv.grad.isfinite().all()
    assert depth.grad.isfinite().all()


def test_lift_gradients_by_finite_differences():
    joints = random_pose(4, HAND21, 0.03, 0.4, batch=4, flatness=0.7)
    joints = joints[well_posed(joints, HAND21, 0.3)][:2]
    cam = camera(600, 0.5, True, False, len(joints), joints.dtype)
    uv = cam.project(joints).requires_grad_()
    depth = relative_depth(joints, HAND21).requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: lift(*x, cam, HAND21)[0], (uv, depth))
    assert torch.autograd.gradcheck(lambda *x: lift_weak_perspective(*x, HAND21)[0], (uv, depth))


def test_relative_depth_by_hand():
    joints = torch.zeros(1, 21, 3)
    joints[0, :, 2] = 0.5
    joints[0, HAND21.index("middle_1")] = torch.tensor([0.03, 0.0, 0.54])  # 0.05 m from the wrist
    joints[0, HAND21.index("index_4"), 2] = 0.4
    depth = relative_depth(joints, HAND21)
    assert depth[0, HAND21.root] == 0
    torch.testing.assert_close(depth[0, HAND21.index("middle_1")], torch.tensor(0.8))
    torch.testing.assert_close(depth[0, HAND21.index("index_4")], torch.tensor(-2.0))
    assert (relative_depth(torch.zeros(1, 21, 3), HAND21) == 0).all()  # no label at all


def test_weak_perspective_is_exact_for_a_parallel_projection():
    joints = random_pose(5, HAND21, 0.03, 0.4)
    n, m = HAND21.reference
    bone = joints[:, n] - joints[:, m]
    joints = joints[bone[:, :2].norm(dim=-1) > 0.2 * bone.norm(dim=-1)]
    uv = 700 * joints[..., :2] + torch.tensor([40.0, -3.0])
    lifted, valid = lift_weak_perspective(uv, relative_depth(joints, HAND21), HAND21, reference_length(joints, HAND21))
    # Depths are given in reference bones, so metres follow from its length.
    expected = joints - joints[:, [HAND21.root]]
    assert valid.all()
    torch.testing.assert_close(lifted, expected)


def test_weak_perspective_improves_with_distance():
    errors = []
    for distance_m in (0.4, 4.0, 40.0):
        joints = random_pose(6, HAND21, 0.03, 0.4, flatness=0.8) + torch.tensor([0.0, 0.0, distance_m - 0.4])
        cam = camera(1000 * distance_m, 0, False, False, len(joints), joints.dtype)
        K = cam.K.clone()
        K[:, 1, 1] = K[:, 0, 0]  # square pixels
        length_m = reference_length(joints, HAND21)
        lifted, _ = lift_weak_perspective(Camera(K).project(joints), relative_depth(joints, HAND21), HAND21, length_m)
        errors.append(float((lifted - (joints - joints[:, [HAND21.root]])).norm(dim=-1).median()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


LENS = [-0.2, 0.1, 1e-3, -2e-3, 0.01]


def seen_hands(mirrored: bool, distorted: bool, seed: int = 8) -> tuple[torch.Tensor, Camera]:
    """Hands of unit reference bone, and a camera of a rotated and possibly mirrored crop."""
    joints = random_pose(seed, HAND21, 0.03, 0.4)
    joints = joints[well_posed(joints, HAND21, 0.2)]
    cam = camera(600, 0.4, mirrored, False, len(joints), joints.dtype)
    lens = torch.tensor(LENS, dtype=joints.dtype).expand(len(joints), 5) if distorted else None
    return joints / reference_length(joints, HAND21)[:, None, None], Camera(cam.K, lens)


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("distorted", [True, False])
def test_lifted_poses_project_to_their_pixels(mirrored, distorted):
    joints, cam = seen_hands(mirrored, distorted)
    uv = cam.project(joints)
    space = lift_pose(uv, relative_depth(joints, HAND21), cam, HAND21)
    assert space.valid.all()
    torch.testing.assert_close(space.project(space.joints), uv, atol=1e-5, rtol=0)
    expected = joints * torch.tensor([-1.0, 1.0, 1.0]) if mirrored else joints
    torch.testing.assert_close(space.joints, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("distorted", [True, False])
def test_a_mirrored_left_hand_is_lifted_as_a_right_hand(distorted):
    """Against lifting the original image: the same hand, mirrored at the camera's vertical plane."""
    joints, cam = seen_hands(False, distorted)
    uv, depth = cam.project(joints), relative_depth(joints, HAND21)
    T_flip = torch.tensor([[[-1.0, 0, 255], [0, 1, 0], [0, 0, 1]]], dtype=uv.dtype)
    shown = torch.stack([255 - uv[..., 0], uv[..., 1]], dim=-1)
    plain, mirrored = lift_pose(uv, depth, cam, HAND21), lift_pose(shown, depth, cam.warped(T_flip), HAND21)
    torch.testing.assert_close(mirrored.joints, plain.joints * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-5, rtol=1e-5)
    assert torch.equal(side_of_thumb(mirrored.joints), -side_of_thumb(plain.joints))
    # Another pose projects to its mirrored pixels.
    moved = plain.joints + torch.tensor([0.1, -0.2, 0.3])
    u, v = plain.project(moved).unbind(-1)
    torch.testing.assert_close(
        mirrored.project(moved * torch.tensor([-1.0, 1.0, 1.0])), torch.stack([255 - u, v], dim=-1), atol=1e-5, rtol=0
    )


def side_of_thumb(joints: torch.Tensor) -> torch.Tensor:
    """The sign of a volume, which differs between mirror images."""
    edges = joints[:, [1, 5, 17]] - joints[:, [0]]
    return torch.linalg.det(edges).sign()


def test_weak_perspective_poses_project_to_their_pixels():
    joints, cam = seen_hands(False, False)
    n, m = HAND21.reference
    across = (joints[:, n] - joints[:, m])[:, :2].norm(dim=-1) > 0.2
    uv, depth = cam.project(joints)[across], relative_depth(joints, HAND21)[across]
    space = lift_pose(uv, depth, None, HAND21)
    assert space.valid.all()
    assert space.camera is None
    torch.testing.assert_close(space.project(space.joints), uv, atol=1e-5, rtol=0)
    bone = space.joints[:, n] - space.joints[:, m]
    torch.testing.assert_close(bone.norm(dim=-1), torch.ones(len(uv), dtype=uv.dtype))
    # A step of one reference bone parallel to the image is that many pixels.
    step = space.project(space.joints + torch.tensor([0.0, 1.0, 5.0])) - uv
    torch.testing.assert_close(step, torch.stack([0 * space.px_per_bone, space.px_per_bone], -1)[:, None].expand_as(uv))


@pytest.mark.parametrize("name", list(unusual_inputs()))
@pytest.mark.parametrize("perspective", [True, False])
def test_degenerate_poses_in_space_are_flagged(name, perspective):
    uv, depth = unusual_inputs()[name]
    space = lift_pose(uv, depth, camera(600, 0, True, False, 1, torch.float32) if perspective else None, HAND21)
    assert space.joints.isfinite().all()
    if perspective or name != "behind the camera":
        assert not space.valid.any()
