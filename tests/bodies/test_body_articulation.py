"""Joint angles of the body: against directions derived by hand, scipy's rotations, and the rest pose of the mesh."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.body_articulation import (
    BODY_ANGLE_LIMITS_DEG,
    BODY_ANGLE_NAMES,
    MIRROR,
    BodyAngles,
    body_rotations,
    pose_body,
)
from posebridge.bodies.rig import PosedRig
from posebridge.errors import InputError

SIDES = ("left", "right")
LEFT, UP, FRONT = np.eye(3)


def _posed(**degrees: float) -> PosedRig:
    model = anny_body()
    return pose_body(model, BodyAngles.from_degrees([degrees]), torch.zeros(1, len(model.rig.vertex_basis_m)))


def _head(posed: PosedRig, bone: str) -> np.ndarray:
    return posed.heads_m[0, anny_body().rig.bones.index(bone)].numpy()


def _along(posed: PosedRig, side: str, start: str, end: str) -> np.ndarray:
    """The unit direction of a segment, with x to the body's outside."""
    suffix, outwards = (".L", 1.0) if side == "left" else (".R", -1.0)
    bone = _head(posed, end + suffix) - _head(posed, start + suffix)
    return bone / np.linalg.norm(bone) * [outwards, 1, 1]


def _palm(posed: PosedRig, side: str) -> np.ndarray:
    """The direction that the palm faces, with x to the body's outside."""
    fingers, thumbwards = _along(posed, side, "wrist", "finger3-1"), _along(posed, side, "finger5-1", "finger2-1")
    normal = np.cross(fingers, thumbwards)  # of a left hand, and of a right one that is mirrored
    return normal / np.linalg.norm(normal)


def _close(direction: np.ndarray, expected: np.ndarray, degrees: float = 0.1) -> bool:
    expected = np.asarray(expected, float) / np.linalg.norm(expected)
    return np.rad2deg(np.arctan2(np.linalg.norm(np.cross(direction, expected)), direction @ expected)) < degrees


@pytest.mark.parametrize("side", SIDES)
def test_zero_angles_stand_straight_with_arms_at_the_sides(side: str) -> None:
    posed = _posed()
    for start, end in (("upperarm01", "lowerarm01"), ("lowerarm01", "wrist"), ("wrist", "finger3-1")):
        assert _close(_along(posed, side, start, end), -UP), start
    for start, end in (("upperleg01", "lowerleg01"), ("lowerleg01", "foot")):
        assert _close(_along(posed, side, start, end), -UP), start
    assert _close(_palm(posed, side), -LEFT)
    suffix = side[0].upper()
    wrist, hip = _head(posed, f"wrist.{suffix}"), _head(posed, f"upperleg01.{suffix}")
    assert wrist[1] < hip[1]
    assert abs(wrist[0] - hip[0]) < 0.1  # beside the thigh
    vertices = posed.vertices_m()[0].numpy()
    foot = vertices[anny_body().rig.weights[:, anny_body().rig.bones.index(f"foot.{suffix}")].numpy() > 0.9]
    heel, ball = foot[foot[:, 2] < np.quantile(foot[:, 2], 0.2)], foot[foot[:, 2] > np.quantile(foot[:, 2], 0.8)]
    assert abs(heel[:, 1].min() - ball[:, 1].min()) < 0.012  # flat on the ground
    assert abs(heel[:, 1].min() - vertices[:, 1].min()) < 0.012


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("shoulder", "elbow", "expected"),
    [
        ((0, 0, 0), 90, (0, 0, 1)),  # forearm to the front
        ((90, 0, 0), 90, (0, 1, 0)),  # arm to the front, forearm up
        ((0, 90, 0), 90, (0, 0, 1)),  # arm to the side, forearm to the front
        ((0, 90, -90), 90, (0, 1, 0)),  # turned outwards it goes up
        ((0, 0, 60), 90, (-math.sin(math.pi / 3), 0, 0.5)),  # turned inwards it crosses the belly
        ((0, 0, 0), 60, (0, -0.5, math.sin(math.pi / 3))),
    ],
)
def test_elbow_flexion_moves_the_forearm(side, shoulder, elbow, expected) -> None:
    flexion, abduction, turn = shoulder
    angles = {"shoulder_flexion": flexion, "shoulder_abduction": abduction, "shoulder_turn": turn}
    posed = _posed(**{f"{side}_{name}": angle for name, angle in (angles | {"elbow_flexion": elbow}).items()})
    assert _close(_along(posed, side, "lowerarm01", "wrist"), expected)


@pytest.mark.parametrize("side", SIDES)
def test_arms_and_legs_rotate_as_in_scipy(side: str) -> None:
    """Within about a degree: a rotation is distributed over two bones, and the second starts beside the limb's axis."""
    generator = np.random.default_rng(0)
    for _ in range(4):
        flexion, abduction, turn, bend = generator.uniform([-40, -20, -40, 10], [90, 45, 40, 100])
        angles = {"shoulder_flexion": flexion, "shoulder_abduction": abduction, "shoulder_turn": turn}
        angles |= {"hip_flexion": flexion, "hip_abduction": abduction, "hip_turn": turn}
        angles |= {"elbow_flexion": bend, "knee_flexion": bend}
        posed = _posed(**{f"{side}_{name}": angle for name, angle in angles.items()})
        twist = Rotation.from_euler("y", -turn, degrees=True)
        arm = Rotation.from_rotvec([-flexion, 0, abduction], degrees=True) * twist
        leg = Rotation.from_euler("XZ", [-flexion, abduction], degrees=True) * twist
        assert _close(_along(posed, side, "upperarm01", "lowerarm01"), arm.apply(-UP), 0.3)
        assert _close(_along(posed, side, "upperleg01", "lowerleg01"), leg.apply(-UP), 1.5)
        elbow, knee = (Rotation.from_euler("x", angle, degrees=True) for angle in (-bend, bend))
        assert _close(_along(posed, side, "lowerarm01", "wrist"), (arm * elbow).apply(-UP))
        assert _close(_along(posed, side, "lowerleg01", "foot"), (leg * knee).apply(-UP), 1.5)


@pytest.mark.parametrize("side", SIDES)
def test_forearm_and_wrist_angles_move_the_hand(side: str) -> None:
    at_table = {f"{side}_elbow_flexion": 90}
    assert _close(
        _palm(_posed(**at_table, **{f"{side}_forearm_turn": 80}), side), Rotation.from_euler("z", 80, True).apply(-LEFT)
    )
    flexed = _posed(**at_table, **{f"{side}_wrist_flexion": 40})
    assert _close(
        _along(flexed, side, "wrist", "finger3-1"), (-math.sin(math.radians(40)), 0, math.cos(math.radians(40)))
    )
    deviated = _posed(**at_table, **{f"{side}_wrist_deviation": 20})
    assert _close(
        _along(deviated, side, "wrist", "finger3-1"), (0, math.sin(math.radians(20)), math.cos(math.radians(20)))
    )
    curled = _posed(**at_table, **{f"{side}_fingers_curl": 70})
    assert _along(curled, side, "finger3-1", "finger3-3")[0] < -0.8  # from straight ahead towards the palm


@pytest.mark.parametrize("side", SIDES)
def test_the_ankle_lifts_the_toes_and_turns_the_sole_inwards(side: str) -> None:
    rest = _along(_posed(), side, "foot", "toe3-1")
    up = _along(_posed(**{f"{side}_ankle_flexion": 20}), side, "foot", "toe3-1")
    assert _close(up, Rotation.from_euler("x", -20, degrees=True).apply(rest))
    inner, outer = (
        _along(_posed(**{f"{side}_ankle_inversion": angle}), side, "toe5-1", "toe1-1")[1] for angle in (20, 0)
    )
    assert inner > outer + 0.3  # the big toe's side comes up


def test_angles_of_spine_and_neck_are_distributed_over_bones() -> None:
    degrees = {"spine_flexion": 30, "spine_side": 20, "spine_turn": -25, "neck_flexion": -10, "neck_turn": 40}
    posed = _posed(**degrees)
    spine, neck = Rotation.from_rotvec([30, -25, -20], degrees=True), Rotation.from_rotvec([-10, 40, 0], degrees=True)
    for bone, expected in (("spine01", spine), ("head", spine * neck)):
        R = posed.R_world_rest[0, anny_body().rig.bones.index(bone)]
        np.testing.assert_allclose(R, expected.as_matrix(), atol=1e-5)
    bones = ("spine05", "spine04", "spine03", "spine02", "spine01")
    turns = [
        Rotation.from_matrix(posed.R_world_rest[0, anny_body().rig.bones.index(b)].numpy()).magnitude() for b in bones
    ]
    assert sorted(turns) == turns  # each bone adds to the rotation


def test_pelvis_angles_rotate_the_whole_body() -> None:
    standing, bent, listing = _posed(), _posed(pelvis_tilt=30), _posed(pelvis_list=30)
    for posed, turn in ((bent, Rotation.from_euler("x", 30, True)), (listing, Rotation.from_euler("z", -30, True))):
        np.testing.assert_allclose(posed.heads_m[0], turn.apply(standing.heads_m[0].numpy()), atol=1e-5)
    assert _head(bent, "head")[2] > 0.3
    assert _head(listing, "head")[0] > 0.3


def test_rest_angles_give_the_rest_mesh() -> None:
    """Angles of the rest pose, from the inverse of the forward chain, give the rest pose."""
    rig = anny_body().rig
    at = {bone: rig.heads_m[i].numpy().astype(float) for i, bone in enumerate(rig.bones)}
    upper, fore = at["lowerarm01.L"] - at["upperarm01.L"], at["wrist.L"] - at["lowerarm01.L"]
    upper, fore = upper / np.linalg.norm(upper), fore / np.linalg.norm(fore)
    axis = np.cross(-UP, upper)
    swing = axis / np.linalg.norm(axis) * np.arccos(-UP @ upper)
    x, y, z = Rotation.from_rotvec(swing).inv().apply(fore)
    flexion, abduction = np.rad2deg([-swing[0], swing[2]])
    turn, elbow = np.rad2deg([np.arctan2(-x, z), np.arccos(-y)])
    angles = {
        "shoulder_flexion": flexion,
        "shoulder_abduction": abduction,
        "shoulder_turn": turn,
        "elbow_flexion": elbow,
    }
    posed = _posed(**{f"{side}_{name}": angle for side in SIDES for name, angle in angles.items()})
    for bone in ("shoulder01", "upperarm01", "upperarm02", "lowerarm01", "wrist"):
        for suffix in (".L", ".R"):
            assert np.linalg.norm(_head(posed, bone + suffix) - at[bone + suffix]) < 0.002, bone


def test_the_shoulder_rises_with_the_arm() -> None:
    height = {
        name: _head(_posed(**{f"left_shoulder_{name}": 170}), "upperarm01.L")[1] for name in ("flexion", "abduction")
    }
    hanging = _head(_posed(), "upperarm01.L")
    for raised in height.values():
        assert 0.03 < raised - hanging[1] < 0.12
    assert _head(_posed(left_shoulder_flexion=90), "upperarm01.L")[2] > hanging[2] + 0.01  # and reaches forwards


def _random(count: int, seed: int) -> BodyAngles:
    noise = torch.randn(count, len(BODY_ANGLE_NAMES), generator=torch.Generator().manual_seed(seed))
    return BodyAngles(0.8 * noise).clamped()


def test_a_mirrored_pose_is_the_mirror_image() -> None:
    model, angles = anny_body(), _random(6, seed=0)
    bones = model.rig.bones
    partner = [bones.index(b[:-1] + {"L": "R", "R": "L"}[b[-1]] if b[-2:] in (".L", ".R") else b) for b in bones]
    flip = torch.tensor([-1.0, 1, 1])
    mirrored = body_rotations(model, angles.mirrored())
    torch.testing.assert_close(
        mirrored, flip[:, None] * body_rotations(model, angles)[:, partner] * flip, atol=1e-5, rtol=0
    )
    zero = torch.zeros(6, len(model.rig.vertex_basis_m))
    heads, other = (pose_body(model, a, zero).heads_m for a in (angles, angles.mirrored()))
    assert (heads[:, partner] * flip - other).norm(dim=-1).max() < 0.003  # the mesh itself is not quite symmetric
    assert torch.equal(angles.mirrored().mirrored().values, angles.values)
    assert not torch.equal(angles.mirrored().values, angles.values)
    assert sorted(column for column, _ in MIRROR) == list(range(len(BODY_ANGLE_NAMES)))


def test_clamped_angles_and_their_interpolations_are_within_limits() -> None:
    low, high = np.array(list(BODY_ANGLE_LIMITS_DEG.values())).T
    a, b = _random(500, seed=1).values * 3, _random(500, seed=2).values * 3
    a, b = BodyAngles(a).clamped().values, BodyAngles(b).clamped().values
    for share in (0.0, 0.3, 0.5):
        blend = BodyAngles(torch.lerp(a, b, share))
        degrees = np.rad2deg(blend.values.numpy())
        assert (degrees > low - 1e-3).all()
        assert (degrees < high + 1e-3).all()
        torch.testing.assert_close(blend.clamped().values, blend.values)
    straight_up = BodyAngles.from_degrees([{"left_shoulder_flexion": 170, "left_shoulder_abduction": 170}]).clamped()
    assert torch.hypot(straight_up.angle("left_shoulder_flexion"), straight_up.angle("left_shoulder_abduction")) < 3.06


def test_joints_are_differentiable_in_the_angles() -> None:
    model = anny_body()
    values = _random(1, seed=3).values.double().requires_grad_()
    rotations = body_rotations(model, BodyAngles(values))
    pick = torch.randn(rotations.shape, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    (gradient,) = torch.autograd.grad((rotations * pick).sum(), values)
    for column in (0, BODY_ANGLE_NAMES.index("left_shoulder_flexion"), BODY_ANGLE_NAMES.index("right_knee_flexion")):
        step = torch.zeros_like(values)
        step[0, column] = 1e-5
        ahead, behind = ((body_rotations(model, BodyAngles(values.detach() + s)) * pick).sum() for s in (step, -step))
        assert gradient[0, column].item() == pytest.approx(((ahead - behind) / 2e-5).item(), rel=1e-3, abs=1e-4)


def test_unknown_angles_are_refused() -> None:
    with pytest.raises(InputError, match="no angle 'tail_flexion'; its angles are pelvis_tilt"):
        BodyAngles.from_degrees([{"tail_flexion": 1.0}])
