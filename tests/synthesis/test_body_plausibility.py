"""Penetration and balance, against brute force, scipy's hulls, the skinned mesh and simple cases."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from bodies.anny_oracle import phenotypes
from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.body_articulation import BodyAngles, pose_body
from posebridge.synthesis.body_capsules import PARTS, Capsules, posed_capsules
from posebridge.synthesis.body_plausibility import (
    centre_of_mass_m,
    pairs,
    penetration_m,
    segment_distance,
    support_margin_m,
)
from posebridge.synthesis.everyday_poses import EVERYDAY_POSES


@lru_cache
def _mean(count: int) -> torch.Tensor:
    return torch.zeros(count, len(anny_body().rig.vertex_basis_m))


def _capsules(*poses: dict[str, float]) -> Capsules:
    return posed_capsules(anny_body(), BodyAngles.from_degrees(poses), _mean(len(poses)))


def _deep(pose: dict[str, float], overlap_tolerance_m: float = 0.03) -> set[tuple[str, str]]:
    """Pairs of parts whose penetration exceeds the tolerance of soft tissue."""
    depth = penetration_m(_capsules(pose))[0]
    return {pair for pair, depth_m in zip(pairs(), depth.tolist(), strict=True) if depth_m > overlap_tolerance_m}


def _both(pose: dict[str, float]) -> dict[str, float]:
    return {f"{side}_{name}": angle for side in ("left", "right") for name, angle in pose.items()}


def test_the_distance_of_segments_matches_brute_force() -> None:
    a0, a1, b0, b1 = torch.randn(4, 40, 3, generator=torch.Generator().manual_seed(0)).double()
    b0[:5], b1[:5] = a0[:5] + 0.3, a1[:5] + 0.3  # parallel
    b1[5:10] = b0[5:10]  # points
    b0[10:15], b1[10:15] = a0[10:15] - 1, a0[10:15] + 1  # touching
    along = torch.linspace(0, 1, 301).double()[:, None, None]
    on_a, on_b = torch.lerp(a0, a1, along), torch.lerp(b0, b1, along)
    sampled = torch.cdist(on_a.transpose(0, 1), on_b.transpose(0, 1)).flatten(1).amin(1)
    exact = segment_distance(a0, a1, b0, b1)
    assert (exact <= sampled + 1e-9).all()
    assert (sampled - exact < 0.02).all()
    torch.testing.assert_close(segment_distance(b0, b1, a0, a1), exact, atol=1e-6, rtol=0)
    assert exact[10:15].max() < 1e-6


@pytest.mark.parametrize("name", ["stand", "squat", "crawl", "wave"])
def test_the_capsules_fill_the_skinned_body(name: str) -> None:
    model, angles = anny_body(), BodyAngles.from_degrees([EVERYDAY_POSES[name]] * 2)
    subjects = phenotypes(2, seed=1)
    subjects[:, 1] = 0.7
    coefficients = model.shape_coefficients(subjects)
    capsules = posed_capsules(model, angles, coefficients)
    skin = pose_body(model, angles, coefficients).vertices_m()[:, ::5]
    ends = (capsules.start_m[:, None], capsules.end_m[:, None])
    outside = (segment_distance(skin[:, :, None], skin[:, :, None], *ends) - capsules.radius_m[:, None]).amin(2)
    outside = outside[:, model.rig.weights[::5, model.rig.bones.index("head")] < 0.5]  # a third of the vertices
    assert outside.abs().median() < 0.015
    assert outside.quantile(0.9) < 0.04
    assert outside.max() < 0.1  # of shoulders, necks and thumbs, which have no capsule


def test_heavier_bodies_are_thicker() -> None:
    subjects = torch.full((2, 6), 0.5)
    subjects[:, 1], subjects[1, 3] = 0.7, 1.0
    angles = BodyAngles.from_degrees([{}, {}])
    slim, heavy = posed_capsules(anny_body(), angles, anny_body().shape_coefficients(subjects)).radius_m
    for part in ("belly", "left_thigh", "right_upper_arm"):
        assert heavy[PARTS.index(part)] > 1.05 * slim[PARTS.index(part)]


def test_poses_of_one_body_match_those_of_its_copies() -> None:
    coefficients = anny_body().shape_coefficients(phenotypes(2, seed=2))
    angles = BodyAngles.from_degrees([EVERYDAY_POSES[name] for name in ("stand", "sit", "wave", "bow")])
    together = posed_capsules(anny_body(), angles, coefficients)
    apart = posed_capsules(anny_body(), angles, coefficients.repeat_interleave(2, dim=0))
    torch.testing.assert_close(together.start_m, apart.start_m)
    torch.testing.assert_close(together.radius_m, apart.radius_m)


def test_standing_poses_have_no_penetration() -> None:
    assert not _deep(EVERYDAY_POSES["stand"])
    assert penetration_m(_capsules(EVERYDAY_POSES["arms_out"])).max() == 0


@pytest.mark.parametrize(
    ("pose", "pair"),
    [
        ({"left_shoulder_turn": 80, "left_elbow_flexion": 90}, ("belly", "left_forearm")),
        (
            {"right_shoulder_flexion": 175, "right_elbow_flexion": 100, "right_shoulder_turn": 80},
            ("head", "right_forearm"),
        ),
        (_both({"hip_abduction": -30}), ("left_thigh", "right_thigh")),
        (_both({"hip_flexion": 125}) | {"spine_flexion": 80}, ("chest", "left_thigh")),
        (_both({"shoulder_flexion": 90, "shoulder_abduction": -45}), ("left_forearm", "right_forearm")),
    ],
)
def test_penetrating_limbs_are_implausible(pose: dict[str, float], pair: tuple[str, str]) -> None:
    assert pair in _deep(pose)


def test_mirrored_bodies_are_equally_plausible() -> None:
    generator = torch.Generator().manual_seed(5)
    angles = BodyAngles(
        0.7 * torch.randn(20, len(BodyAngles.from_degrees([{}]).values[0]), generator=generator)
    ).clamped()
    ours, mirrored = (posed_capsules(anny_body(), a, _mean(20)) for a in (angles, angles.mirrored()))
    assert penetration_m(ours).amax() > 0.03
    torch.testing.assert_close(penetration_m(ours).sum(1), penetration_m(mirrored).sum(1), atol=0.02, rtol=0)
    torch.testing.assert_close(support_margin_m(ours), support_margin_m(mirrored), atol=0.01, rtol=0)


def test_the_margin_is_the_distance_to_scipys_hull() -> None:
    rng = np.random.default_rng(0)
    C = len(PARTS)
    for _ in range(20):
        ends = rng.uniform(-0.3, 0.3, (2, C, 3))
        ends[..., 1] = rng.choice([0.0, 0.4], (2, C))  # on the ground or above it
        start, end = torch.tensor(ends).float()
        capsules = Capsules(start[None], end[None], torch.zeros(1, C))
        hull = ConvexHull(ends.reshape(-1, 3)[ends.reshape(-1, 3)[:, 1] == 0][:, [0, 2]])
        centre = centre_of_mass_m(capsules)[0, [0, 2]].numpy()
        inside = -(hull.equations[:, :2] @ centre + hull.equations[:, 2]).max()
        assert inside > 0
        assert inside - 1e-5 < support_margin_m(capsules).item() < inside + 0.008


def test_centre_of_mass_matches_measurements() -> None:
    """At 0.55 to 0.58 of the stature (Winter 2009, chapter 4), in the midplane, above the feet."""
    posed = pose_body(anny_body(), BodyAngles.from_degrees([{}]), _mean(1)).vertices_m()[0]
    centre, low, high = centre_of_mass_m(_capsules({}))[0], posed.min(0).values, posed.max(0).values
    assert 0.54 < (centre[1] - low[1]) / (high[1] - low[1]) < 0.59
    assert abs(centre[0]) < 1e-3
    assert 0 < centre[2] < 0.06


def test_leaning_lowers_the_support_margin() -> None:
    upright, forwards, aside = support_margin_m(
        _capsules(EVERYDAY_POSES["stand"], {"pelvis_tilt": 45}, {"pelvis_list": 45})
    ).tolist()
    assert 0.05 < upright < 0.15
    # The centre of mass, 0.95 m above the soles, moves by the sine; half a foot or stance remains as support.
    for leaning in (forwards, aside):
        assert leaning == pytest.approx(0.05 - 0.95 * np.sin(np.pi / 4), abs=0.12)


def test_hips_behind_the_feet_need_a_balancing_trunk() -> None:
    sitting_on_air = _both({"hip_flexion": 90, "knee_flexion": 90})
    bowing = _both({"hip_flexion": 80, "ankle_flexion": 0}) | {"pelvis_tilt": 70}
    margins = support_margin_m(_capsules(sitting_on_air, bowing)).tolist()
    assert margins[0] < -0.15
    assert margins[1] > 0
