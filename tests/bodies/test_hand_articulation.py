"""Joint angles of both hands: straight at zero, closed by flexion, spread towards the thumb."""

import pytest
import torch

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import HandAngles, bone_rotations, pose_hand, rest_angles
from posebridge.skeletons.hand import HAND21

SIDES = ("left", "right")
FOUR = ("index", "middle", "ring", "pinky")


def _angles(count: int = 1) -> HandAngles:
    return HandAngles(torch.zeros(count, 4, 4), torch.zeros(count, 4), torch.zeros(count, 2))


def _joints(side: str, angles: HandAngles) -> torch.Tensor:
    model = anny_hand(side)
    coefficients = torch.zeros(len(angles.fingers), len(model.rig.vertex_basis_m))
    posed = pose_hand(model, angles, coefficients)
    return posed.keypoints_m(posed.vertices_m())


def _bend_deg(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b).norm(), a @ b)).item()


def _tip(joints: torch.Tensor, finger: str) -> torch.Tensor:
    return joints[0, HAND21.index(f"{finger}_4")]


@pytest.mark.parametrize("side", SIDES)
def test_zero_angles_give_straight_and_parallel_fingers(side: str) -> None:
    """Straight within a degree seen from the side; seen from above, the fingers of the mesh are slightly bent."""
    joints = _joints(side, _angles())[0]
    ahead, sideways = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    for finger in FOUR:
        chain = torch.stack([joints[HAND21.index(f"{finger}_{k}")] for k in (1, 2, 3, 4)])
        phalanges = chain[1:] - chain[:-1]
        for before, after in ((ahead, phalanges[0]), (phalanges[0], phalanges[1]), (phalanges[1], phalanges[2])):
            assert _bend_deg(before * sideways, after * sideways) < 1
            assert _bend_deg(before, after) < 4


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("joint", [0, 2, 3])
def test_flexion_closes_every_finger_towards_the_palm(side: str, joint: int) -> None:
    straight = _joints(side, _angles())
    angles = _angles()
    angles.fingers[..., joint] = 0.5
    bent = _joints(side, angles)
    for finger in FOUR:
        assert _tip(bent, finger)[2] > _tip(straight, finger)[2] + 0.005  # z points out of the palm
        assert _tip(bent, finger).norm() < _tip(straight, finger).norm()


@pytest.mark.parametrize("side", SIDES)
def test_a_fist_brings_the_tips_to_the_palm(side: str) -> None:
    angles = _angles()
    angles.fingers[..., [0, 2, 3]] = torch.deg2rad(torch.tensor([80.0, 100.0, 60.0]))
    joints = _joints(side, angles)
    for finger in FOUR:
        knuckle = joints[0, HAND21.index(f"{finger}_1")]
        assert (_tip(joints, finger) - knuckle).norm() < 0.05
        assert _tip(joints, finger)[1] < knuckle[1]


@pytest.mark.parametrize("side", SIDES)
def test_spread_moves_the_finger_towards_the_thumb(side: str) -> None:
    towards_thumb = 1.0 if side == "right" else -1.0
    straight = _joints(side, _angles())
    angles = _angles()
    angles.fingers[..., 1] = 0.3
    spread = _joints(side, angles)
    for finger in FOUR:
        moved = _tip(spread, finger) - _tip(straight, finger)
        assert towards_thumb * moved[0] > 0.01
        assert abs(moved[2]) < 0.004  # in the plane of the palm


@pytest.mark.parametrize("side", SIDES)
def test_angles_are_measured_back_from_the_joints(side: str) -> None:
    angles = _angles()
    angles.fingers[..., 2] = torch.tensor([[0.3, 0.6, 0.9, 1.2]])
    angles.fingers[..., 3] = 0.4
    joints = _joints(side, angles)[0]
    for f, finger in enumerate(FOUR):
        chain = torch.stack([joints[HAND21.index(f"{finger}_{k}")] for k in (1, 2, 3, 4)])
        phalanges = chain[1:] - chain[:-1]
        assert _bend_deg(phalanges[0], phalanges[1]) == pytest.approx(
            torch.rad2deg(angles.fingers[0, f, 2]).item(), abs=3
        )
        assert _bend_deg(phalanges[1], phalanges[2]) == pytest.approx(
            torch.rad2deg(angles.fingers[0, f, 3]).item(), abs=3
        )


@pytest.mark.parametrize("side", SIDES)
def test_thumb_angles_move_the_thumb_across_and_out_of_the_palm(side: str) -> None:
    towards_thumb = 1.0 if side == "right" else -1.0
    rest = _tip(_joints(side, _angles()), "thumb")
    for joint in (0, 2, 3):
        angles = _angles()
        angles.thumb[:, joint] = 0.5
        moved = _tip(_joints(side, angles), "thumb") - rest
        assert towards_thumb * moved[0] < -0.003
    angles = _angles()
    angles.thumb[:, 1] = 0.3
    assert (_tip(_joints(side, angles), "thumb") - rest)[2] > 0.005


@pytest.mark.parametrize("side", SIDES)
def test_wrist_angles_rotate_the_forearm_and_not_the_hand(side: str) -> None:
    towards_thumb = 1.0 if side == "right" else -1.0
    model = anny_hand(side)
    coefficients = torch.zeros(1, len(model.rig.vertex_basis_m))
    forearm = model.rig.weights[:, model.rig.bones.index("forearm")] == 1
    straight = pose_hand(model, _angles(), coefficients).vertices_m()[0, forearm].mean(0)
    flexed, deviated = _angles(), _angles()
    flexed.wrist[:, 0], deviated.wrist[:, 1] = 0.5, 0.3
    moved = pose_hand(model, flexed, coefficients)
    # A hand that is flexed towards its palm has the forearm on the palmar side of its axis.
    assert moved.vertices_m()[0, forearm].mean(0)[2] > straight[2] + 0.02
    torch.testing.assert_close(_joints(side, flexed), _joints(side, _angles()), atol=1e-4, rtol=0)
    # A hand that is bent towards its thumb has the forearm on the thumb's side.
    sideways = pose_hand(model, deviated, coefficients).vertices_m()[0, forearm].mean(0)
    assert towards_thumb * (sideways[0] - straight[0]) > 0.01


def test_left_and_right_are_mirror_images_in_any_pose() -> None:
    generator = torch.Generator().manual_seed(0)
    angles = HandAngles(
        0.4 * torch.randn(3, 4, 4, generator=generator),
        0.3 * torch.randn(3, 4, generator=generator),
        0.3 * torch.randn(3, 2, generator=generator),
    )
    mirrored = _joints("left", angles) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirrored, _joints("right", angles), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", SIDES)
def test_rest_angles_give_the_rest_mesh(side: str) -> None:
    model = anny_hand(side)
    flexion, spread = rest_angles(model)
    angles = _angles()
    angles.fingers[0, :, [0, 2, 3]] = flexion
    angles.fingers[0, :, 1] = spread
    identity = torch.eye(3).expand(1, len(model.rig.bones), 3, 3)
    torch.testing.assert_close(bone_rotations(model, angles), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        pose_hand(model, angles, torch.zeros(1, len(model.rig.vertex_basis_m))).vertices_m()[0],
        model.rig.vertices_m,
        atol=1e-5,
        rtol=0,
    )
