"""Everyday poses match their names, and samples are plausible, distributed as given, and deterministic."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from bodies.anny_oracle import phenotypes
from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.body_articulation import BODY_ANGLE_LIMITS_DEG, BODY_ANGLE_NAMES, BodyAngles, pose_body
from posebridge.errors import InputError
from posebridge.synthesis.body_capsules import posed_capsules
from posebridge.synthesis.body_plausibility import penetration_m, support_margin_m
from posebridge.synthesis.body_poses import BodyPoseDistribution, implausibility_m, sample_body_poses
from posebridge.synthesis.everyday_poses import EVERYDAY_POSES, EXTERNALLY_SUPPORTED

NAMES = tuple(EVERYDAY_POSES)
QUIET = {"random_share": 0.0, "blend": 0.0, "noise_deg": 0.0}
FALLS = torch.tensor([True])


def _mean(count: int) -> torch.Tensor:
    return torch.zeros(count, len(anny_body().rig.vertex_basis_m))


def _sample(count: int = 500, seed: int = 0, **changes) -> BodyAngles:
    generator = torch.Generator().manual_seed(seed)
    return sample_body_poses(BodyPoseDistribution(**changes), anny_body(), _mean(count), generator)


def _everyday(*names: str) -> BodyAngles:
    return BodyAngles.from_degrees([EVERYDAY_POSES[name] for name in names])


@lru_cache
def _joints() -> dict[str, dict[str, np.ndarray]]:
    """H36M joints of every pose by name, from heads of bones, without the mesh."""
    bones = {"head": "head", "pelvis": "root", "neck": "neck01"} | {
        f"{side}_{joint}": f"{bone}.{side[0].upper()}"
        for side in ("left", "right")
        for joint, bone in {
            "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "hand": "finger3-1", "hip": "upperleg01",
            "knee": "lowerleg01", "ankle": "foot", "tip": "finger2-3", "toe": "toe3-1",
        }.items()
    }  # fmt: skip
    heads = pose_body(anny_body(), _everyday(*NAMES), _mean(len(NAMES))).heads_m.numpy()
    index = {joint: anny_body().rig.bones.index(bone) for joint, bone in bones.items()}
    return {name: {joint: heads[i, b] for joint, b in index.items()} for i, name in enumerate(NAMES)}


def test_everyday_poses_are_listed() -> None:
    assert len(NAMES) >= 24
    expected = {
        "stand",
        "contrapposto",
        "walk_contact",
        "run_flight",
        "sit",
        "sit_cross_legged",
        "squat",
        "kneel",
        "lunge",
    }
    expected |= {"touch_toes", "reach_up", "reach_forward", "wave", "phone_to_ear", "look_at_phone", "arms_crossed"}
    expected |= {"hands_on_hips", "point", "carry_box", "push", "throw", "kick", "jump", "tree", "warrior", "stretch"}
    assert expected | {"lie_on_back"} <= set(NAMES)
    assert set(NAMES) >= EXTERNALLY_SUPPORTED


def test_everyday_poses_are_within_limits() -> None:
    angles = _everyday(*NAMES)
    torch.testing.assert_close(angles.clamped().values, angles.values, atol=0.04, rtol=0)  # of levelled ankles, 2 deg


@pytest.mark.parametrize("name", NAMES)
def test_everyday_poses_of_the_mean_adult_are_plausible(name: str) -> None:
    capsules = posed_capsules(anny_body(), _everyday(name).clamped(), _mean(1))
    assert penetration_m(capsules).max() < BodyPoseDistribution().overlap_tolerance_m
    assert name in EXTERNALLY_SUPPORTED or support_margin_m(capsules).item() > 0


def test_hands_match_the_names_of_poses() -> None:
    joints = _joints()

    def distance(name: str, a: str, b: str) -> float:
        return float(np.linalg.norm(joints[name][a] - joints[name][b]))

    wave, stand = joints["wave"], joints["stand"]
    assert wave["right_hand"][1] > wave["right_shoulder"][1] + 0.2 > wave["left_hand"][1] + 0.6
    assert distance("phone_to_ear", "right_hand", "head") < 0.17 < 0.5 < distance("phone_to_ear", "left_hand", "head")
    assert distance("drink", "right_hand", "head") < 0.25
    assert distance("clap", "left_hand", "right_hand") < 0.08
    assert distance("tree", "left_hand", "right_hand") < 0.1
    for side, other in (("left", "right"), ("right", "left")):
        assert (
            distance("arms_crossed", f"{side}_hand", f"{other}_elbow")
            < distance("stand", f"{side}_hand", f"{other}_elbow") / 2
        )
        assert distance("hands_on_hips", f"{side}_hand", f"{side}_hip") < 0.2
        assert abs(joints["hands_on_hips"][f"{side}_elbow"][0]) > abs(stand[f"{side}_elbow"][0]) + 0.08
        assert distance("hands_behind_head", f"{side}_hand", "head") < 0.2
        assert joints["hands_behind_back"][f"{side}_hand"][2] < -0.1
        assert distance("touch_toes", f"{side}_hand", f"{side}_ankle") < 0.25
        assert joints["arms_out"][f"{side}_wrist"][1] == pytest.approx(
            joints["arms_out"][f"{side}_shoulder"][1], abs=0.05
        )
    pointing = joints["point"]["right_tip"] - joints["point"]["right_shoulder"]
    assert pointing[2] > 0.95 * np.linalg.norm(pointing)


def test_legs_match_the_names_of_poses() -> None:
    joints = _joints()
    for name in ("sit", "sit_typing", "sit_hands_in_lap"):
        thigh, shank = (
            joints[name][f"left_{b}"] - joints[name][f"left_{a}"] for a, b in (("hip", "knee"), ("knee", "ankle"))
        )
        assert thigh[2] > 0.95 * np.linalg.norm(thigh)
        assert shank[1] < -0.95 * np.linalg.norm(shank)
    step = joints["walk_contact"]
    assert step["left_ankle"][2] > 0.15 > -0.15 > step["right_ankle"][2]
    assert step["right_hand"][2] > step["left_hand"][2] + 0.2  # arms swing against the legs
    assert joints["squat"]["pelvis"][1] - joints["squat"]["left_ankle"][1] < 0.3
    assert joints["kneel"]["left_knee"][1] < joints["kneel"]["left_ankle"][1] + 0.1
    assert joints["kick"]["right_ankle"][2] > 0.5
    assert np.linalg.norm(joints["tree"]["right_ankle"] - joints["tree"]["left_knee"]) < 0.2
    for name in ("lie_on_back", "lie_on_front", "lie_on_side"):
        heights = [joints[name][joint][1] for joint in ("head", "pelvis", "left_knee", "right_ankle")]
        assert max(heights) - min(heights) < 0.3
        assert abs(joints[name]["head"] - joints[name]["pelvis"]).max() > 0.6


def test_samples_span_at_least_half_of_the_limits() -> None:
    degrees = np.rad2deg(_sample(1000, candidates=1).values.numpy())
    low, high = np.array(list(BODY_ANGLE_LIMITS_DEG.values())).T
    assert np.isfinite(degrees).all()
    assert (degrees >= low - 1e-3).all()
    assert (degrees <= high + 1e-3).all()
    assert (np.ptp(degrees, axis=0) > 0.5 * (high - low)).all()


def test_samples_depend_on_the_generator_state_only() -> None:
    first = _sample(20, seed=3).values
    torch.manual_seed(1)  # the global generator has no effect
    assert torch.equal(_sample(20, seed=3).values, first)
    assert not torch.equal(_sample(20, seed=4).values, first)


def test_without_noise_a_pose_is_itself_or_its_mirror_image() -> None:
    values = _sample(200, pose_weights={"throw": 1.0}, **QUIET).values
    pose = _everyday("throw").clamped()
    itself, mirrored = ((values - p.values).abs().amax(1) < 1e-5 for p in (pose, pose.mirrored()))
    assert (itself ^ mirrored).all()
    assert itself.float().mean() == pytest.approx(0.5, abs=0.1)


def test_pose_frequencies_match_their_weights() -> None:
    values = _sample(1000, pose_weights={"stand": 3.0, "sit": 1.0}, **QUIET).values
    sitting = values[:, BODY_ANGLE_NAMES.index("left_hip_flexion")] > 1
    assert sitting.float().mean() == pytest.approx(0.25, abs=0.05)


def test_rejection_leaves_few_implausible_samples() -> None:
    subjects = phenotypes(400, seed=1)
    subjects[:, 1] = 0.4 + 0.6 * subjects[:, 1]  # from school age
    coefficients = anny_body().shape_coefficients(subjects)
    accepted = {}
    for candidates in (1, 5):
        distribution = BodyPoseDistribution(
            candidates=candidates,
            pose_weights=dict.fromkeys(set(NAMES) - EXTERNALLY_SUPPORTED, 1.0),
            balance_share=1.0,
            random_share=0.0,
        )
        angles = sample_body_poses(distribution, anny_body(), coefficients, torch.Generator().manual_seed(0))
        excess_m = implausibility_m(
            anny_body(), angles, coefficients, FALLS.expand(400), distribution.overlap_tolerance_m
        )
        accepted[candidates] = (excess_m == 0).float().mean().item()
    assert accepted[5] > 0.9
    assert accepted[5] > accepted[1] + 0.15


def test_least_implausible_candidate_is_taken() -> None:
    """Without tolerance for penetration, sitting with crossed legs has no plausible candidate."""
    changes = {"pose_weights": {"sit_cross_legged": 1.0}, "random_share": 0.0, "overlap_tolerance_m": -1.0}
    excess_m = {
        candidates: implausibility_m(
            anny_body(), _sample(100, candidates=candidates, **changes), _mean(100), ~FALLS.expand(100), -1.0
        )
        for candidates in (1, 6)
    }
    assert excess_m[6].mean() < excess_m[1].mean() - 0.01


def test_noise_keeps_soles_level_and_bends_hips_with_knees() -> None:
    values = torch.rad2deg(
        _sample(1000, pose_weights={"half_squat": 1.0}, random_share=0.0, blend=0.0, noise_deg=5.0, candidates=1).values
    ).numpy()
    angle = {name: values[:, BODY_ANGLE_NAMES.index(name)] for name in BODY_ANGLE_NAMES}
    pitch = angle["pelvis_tilt"] - angle["left_hip_flexion"] + angle["left_knee_flexion"] - angle["left_ankle_flexion"]
    assert angle["left_knee_flexion"].std() > 4
    assert pitch.std() < 0.6 * angle["left_knee_flexion"].std()
    assert np.corrcoef(angle["left_hip_flexion"], angle["left_knee_flexion"])[0, 1] > 0.5
    assert np.corrcoef(angle["left_knee_flexion"], angle["right_knee_flexion"])[0, 1] > 0.5


def test_noise_keeps_lying_poses_lying() -> None:
    values = _sample(300, pose_weights={"lie_on_back": 1.0}, random_share=0.5, blend=0.5).values
    assert (values[:, BODY_ANGLE_NAMES.index("pelvis_tilt")] < -1.1).all()


def test_an_unknown_pose_is_refused() -> None:
    with pytest.raises(InputError, match="no everyday pose is called 'fly'; known are stand"):
        _sample(1, pose_weights={"fly": 1.0})
