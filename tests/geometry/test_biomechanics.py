import math
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geometry.degenerate_hands import degenerate_hands
from geometry.gradients import assert_gradients_match
from geometry.source_poses import SKELETONS, source_poses
from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, pose_hand
from posebridge.geometry.biomechanics import JointAngles, joint_angles, neutral_directions, pose_from_angles
from posebridge.geometry.kinematics import Kinematics
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of

# A root, two joints that span its axes, and a chain of three bones along the y axis from the first of them.
CHAIN = Kinematics(
    parents=(-1, 0, 0, 1, 3, 4),
    along=((0,), (1,)),
    across=((2,), (1,)),
    moving=frozenset({1, 3, 4}),
    straight=frozenset({3, 4, 5}),
)
STRAIGHT = torch.tensor([[0, 0, 0], [0, 1, 0], [-1, 1, 0], [0, 2, 0], [0, 3, 0], [0, 4, 0]], dtype=torch.float64)
NEUTRAL = torch.tensor([[0, 1, 0], [-1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=torch.float64)


def bent(joint: int, rotation: Rotation) -> torch.Tensor:
    """The straight chain with all bones below a joint rotated about it."""
    points = STRAIGHT.numpy().copy()
    points[joint + 1 :] = points[joint] + rotation.apply(points[joint + 1 :] - points[joint])
    return torch.from_numpy(points)[None]


@pytest.mark.parametrize("degrees", [-150, -30, 0, 1e-5, 20, 90, 179])
@pytest.mark.parametrize("joint", [3, 4])
def test_one_bent_joint_has_that_angle_and_no_other(joint, degrees):
    # About x, from y to z: out of the front. About -z: from y to x, across.
    for axis, column in (([1, 0, 0], 0), ([0, 0, -1], 1)):
        pose = bent(joint, Rotation.from_rotvec(np.array(axis) * degrees, degrees=True))
        expected = torch.zeros(1, 5, 2, dtype=torch.float64)
        expected[0, joint, column] = math.radians(degrees)
        found = joint_angles(pose, CHAIN, NEUTRAL)
        assert found.valid.all()
        torch.testing.assert_close(found.angles_rad, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.lengths, torch.tensor([[1, 2**0.5, 1, 1, 1]]).double())


@settings(max_examples=50, deadline=None)
@given(st.floats(-2.2, 2.2), st.floats(-2.2, 2.2))
def test_angles_are_the_rotation_vector_of_the_shortest_rotation(flexion, abduction):
    found = joint_angles(bent(4, Rotation.from_rotvec([flexion, 0, -abduction])), CHAIN, NEUTRAL)
    torch.testing.assert_close(
        found.angles_rad[0, 4], torch.tensor([flexion, abduction], dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_angles_of_a_sideways_arm_are_well_conditioned():
    sideways = Rotation.from_rotvec([0, 0, -90], degrees=True)
    moved = bent(3, Rotation.from_rotvec([0.01, 0, 0]) * sideways)
    found, before = (joint_angles(pose, CHAIN, NEUTRAL).angles_rad for pose in (moved, bent(3, sideways)))
    assert (found - before).abs().max() < 0.02


def test_reversed_bones_have_a_flexion_of_pi():
    pose = bent(3, Rotation.from_rotvec([np.pi, 0, 0]))
    found = joint_angles(pose, CHAIN, NEUTRAL)
    torch.testing.assert_close(found.angles_rad[0, 3].abs(), torch.tensor([math.pi, 0]).double())
    torch.testing.assert_close(found.angles_rad[0, 4], torch.zeros(2).double())
    torch.testing.assert_close(pose_from_angles(found, CHAIN, NEUTRAL, pose[:, 0]), pose)


def shortest(a: np.ndarray, b: np.ndarray) -> Rotation:
    axis = np.cross(a, b)
    norm = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / norm * math.atan2(norm, a @ b) if norm > 1e-12 else np.zeros(3))


def angles_one_by_one(points: np.ndarray, kinematics: Kinematics, neutral: np.ndarray) -> np.ndarray:
    """Angles of one pose, bone by bone, by rotation objects of scipy."""
    mean = {key: [points[list(side)].mean(0) for side in getattr(kinematics, key)] for key in ("along", "across")}
    y = mean["along"][1] - mean["along"][0]
    y = y / np.linalg.norm(y)
    x = mean["across"][1] - mean["across"][0]
    x = x - (x @ y) * y
    x = x / np.linalg.norm(x)
    frames = {kinematics.root: Rotation.from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))}
    found = {}
    while len(found) < len(kinematics.end_joints):
        for bone, joint in enumerate(kinematics.end_joints):
            parent = kinematics.parents[joint]
            if joint in found or parent not in frames:
                continue
            direction = frames[parent].inv().apply(points[joint] - points[parent])
            direction = direction / np.linalg.norm(direction)
            turn = shortest(neutral[bone], direction)
            up = np.array([0.0, -1.0 if neutral[bone, 1] < -0.5 else 1.0, 0.0])
            to_bone = shortest(up, neutral[bone])
            flexed = np.cross(neutral[bone], to_bone.apply([0, 0, 1.0]))
            abducted = np.cross(neutral[bone], to_bone.apply([1.0, 0, 0]))
            found[joint] = [turn.as_rotvec() @ flexed, turn.as_rotvec() @ abducted]
            frames[joint] = frames[parent] * turn if joint in kinematics.moving else frames[parent]
    return np.array([found[joint] for joint in kinematics.end_joints])


@pytest.mark.parametrize("name", SKELETONS)
def test_angles_match_a_loop_and_reproduce_the_pose(name):
    kinematics = kinematics_of(SKELETONS[name])
    joints = source_poses(name)[:6].double()
    neutral = neutral_directions(source_poses(name).double(), kinematics)
    found = joint_angles(joints, kinematics, neutral)
    assert found.valid.all()
    expected = np.stack([angles_one_by_one(pose, kinematics, neutral.numpy()) for pose in joints.numpy()])
    np.testing.assert_allclose(found.angles_rad.numpy(), expected, atol=1e-9)
    made = pose_from_angles(found, kinematics, neutral, joints[:, kinematics.root])
    torch.testing.assert_close(made, joints, rtol=0, atol=1e-13)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_hand_made_from_angles_has_these_angles(seed):
    generator = torch.Generator().manual_seed(seed)
    kinematics, joints = kinematics_of(HAND21), source_poses("hand21")[:8].double()
    neutral = neutral_directions(joints, kinematics)
    pose = joint_angles(joints, kinematics, neutral)
    fingers = torch.tensor([kinematics.parents[end] != kinematics.root for end in kinematics.end_joints])
    drawn = torch.randn(8, 20, 2, generator=generator, dtype=torch.float64)
    drawn = drawn * (3.1 / drawn.norm(dim=-1, keepdim=True)).clamp_max(1)  # beyond pi the other way round is shorter
    pose = replace(pose, angles_rad=torch.where(fingers[:, None], drawn, pose.angles_rad))
    again = joint_angles(pose_from_angles(pose, kinematics, neutral, joints[:, 0]), kinematics, neutral)
    torch.testing.assert_close(again.angles_rad, pose.angles_rad, rtol=0, atol=1e-9)
    torch.testing.assert_close(again.lengths, pose.lengths)


def test_flexion_of_the_rigs_fingers_is_recovered():
    model = anny_hand("right")
    bends = torch.deg2rad(torch.tensor([10.0, 30, 50, 70, 90]))
    fingers = torch.zeros(5, 4, 4)
    fingers[..., 2], fingers[..., 3] = bends[:, None], 0.5 * bends[:, None]
    angles = HandAngles(fingers, torch.zeros(5, 4), torch.zeros(5, 2))
    posed = pose_hand(model, angles, torch.zeros(5, len(model.rig.vertex_basis_m)))
    kinematics = kinematics_of(HAND21)
    neutral = neutral_directions(source_poses("hand21"), kinematics)
    found = joint_angles(posed.keypoints_m(posed.vertices_m()), kinematics, neutral).angles_rad
    for finger in ("index", "middle", "ring", "pinky"):
        for part, expected in ((3, bends), (4, 0.5 * bends)):
            bone = kinematics.end_joints.index(HAND21.index(f"{finger}_{part}"))
            difference = found[1:, bone, 0] - found[:1, bone, 0]
            # The rig's hinges are up to ten degrees off the flexion axis, and tips lie in soft skin.
            torch.testing.assert_close(difference, expected[1:] - expected[0], rtol=0.06, atol=math.radians(1.0))


@pytest.mark.parametrize("name", ["hand21", "h36m17", "smpl24"])
def test_angles_are_invariant_to_similarity_transforms(name):
    kinematics, joints = kinematics_of(SKELETONS[name]), source_poses(name)[:50].double()
    neutral = neutral_directions(joints, kinematics)
    moved = 1000 * joints @ roma.random_rotmat(50, dtype=torch.float64) + torch.randn(50, 1, 3).double()
    found, before = (joint_angles(pose, kinematics, neutral) for pose in (moved, joints))
    torch.testing.assert_close(found.angles_rad, before.angles_rad, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.lengths, 1000 * before.lengths)
    torch.testing.assert_close(neutral_directions(moved, kinematics), neutral)


def test_left_hands_have_flexions_of_the_opposite_sign():
    kinematics, joints = kinematics_of(HAND21), source_poses("hand21")[:50].double()
    neutral = neutral_directions(joints, kinematics)
    left = joints * torch.tensor([-1.0, 1.0, 1.0])
    found = joint_angles(left, kinematics, neutral * torch.tensor([1.0, 1.0, -1.0])).angles_rad
    expected = joint_angles(joints, kinematics, neutral).angles_rad * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_neutral_directions_are_means_or_those_of_parents():
    kinematics, joints = kinematics_of(SKELETONS["h36m17"]), source_poses("h36m17").double()
    bone = {SKELETONS["h36m17"].joints[end]: i for i, end in enumerate(kinematics.end_joints)}
    neutral = neutral_directions(joints, kinematics)
    pose = joint_angles(joints, kinematics, neutral)
    thigh = joints[:, SKELETONS["h36m17"].index("left_knee")] - joints[:, SKELETONS["h36m17"].index("left_hip")]
    mean = (pose.R_root_world @ torch.nn.functional.normalize(thigh, dim=-1)[..., None])[..., 0].mean(0)
    torch.testing.assert_close(neutral[bone["left_knee"]], mean / mean.norm())
    torch.testing.assert_close(neutral[bone["left_ankle"]], neutral[bone["left_knee"]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_broken_poses_give_finite_values_and_gradients(dtype):
    kinematics = kinematics_of(HAND21)
    neutral = neutral_directions(source_poses("hand21").to(dtype), kinematics)
    joints = degenerate_hands(dtype).requires_grad_()
    found = joint_angles(joints, kinematics, neutral)
    made = pose_from_angles(found, kinematics, neutral, joints[:, 0].nan_to_num(0, 0, 0))
    for values in (found.angles_rad, found.lengths, found.R_root_world, made):
        assert values.isfinite().all()
        (gradient,) = torch.autograd.grad(values.clamp(-10, 10).sum(), joints, retain_graph=True)
        assert gradient.isfinite().all()
    assert (found.angles_rad[~found.valid] == 0).all()
    assert found.valid[:2000].all()
    assert not found.valid[2000:2700, 0].any()  # joint 1, at the end of bone 0, is not a number
    assert found.valid[2000:2700, 4:].all()  # and other fingers are not affected
    assert not found.valid[4100:6200].any()
    assert neutral_directions(joints.detach(), kinematics).isfinite().all()


def test_bones_without_length_have_no_angles():
    pose = STRAIGHT.clone()
    pose[4] = pose[3]
    found = joint_angles(pose[None], CHAIN, NEUTRAL)
    assert found.valid.tolist() == [[True, True, True, False, False]]
    rigid = replace(CHAIN, moving=frozenset({1, 3}))  # the bone to joint 4 doesn't carry the frame, so joint 5 has one
    assert joint_angles(pose[None], rigid, NEUTRAL).valid.tolist() == [[True, True, True, False, True]]


@pytest.mark.parametrize("name", ["hand21", "h36m17"])
def test_gradients_match_finite_differences(name):
    kinematics = kinematics_of(SKELETONS[name])
    joints = source_poses(name)[:2].double()
    neutral = neutral_directions(source_poses(name).double(), kinematics)
    pose = joint_angles(joints, kinematics, neutral)
    assert_gradients_match(lambda x: joint_angles(x, kinematics, neutral).angles_rad, joints, rtol=1e-4)

    def posed(angles_rad, lengths, R_root_world, root):
        valid = torch.ones_like(lengths, dtype=torch.bool)
        return pose_from_angles(JointAngles(angles_rad, lengths, R_root_world, valid), kinematics, neutral, root)

    assert_gradients_match(posed, pose.angles_rad, pose.lengths, pose.R_root_world, joints[:, 0], rtol=1e-4)


def test_gradients_work_after_inference_mode():
    tree = replace(CHAIN, straight=frozenset({5}))  # a new skeleton, whose tree is cached here
    with torch.inference_mode():
        joint_angles(STRAIGHT[None], tree, NEUTRAL)
    joints = bent(3, Rotation.from_rotvec([0.3, 0, 0])).requires_grad_()
    joint_angles(joints, tree, NEUTRAL).angles_rad.sum().backward()
    assert joints.grad is not None
    assert joints.grad.isfinite().all()


def test_straight_bones_at_the_root_are_refused():
    with pytest.raises(ValueError, match=r"\[1\] are children of the root"):
        replace(CHAIN, straight=frozenset({1, 3}))
