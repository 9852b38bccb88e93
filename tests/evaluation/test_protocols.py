import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro

from evaluation.keypoint_files import hands
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import BENCHMARKS, PCK_005, PCK_005_BODY, ScoreOptions
from posebridge.evaluation.score import score_files
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")


def bodies(noise_mm: float) -> KeypointSet:
    rng, spread = np.random.default_rng(0), np.random.default_rng(1)
    xyz, uv = rng.normal([0, 0, 4000], 300, (9, 17, 3)), rng.uniform(20, 236, (9, 17, 2))
    return KeypointSet(
        key=np.array([f"f{i}" for i in range(9)]),
        joint_names=H36M17.joints,
        uv_px=uv + spread.normal(0, 1, uv.shape) * noise_mm / 5,
        xyz_mm=xyz + spread.normal(0, 1, xyz.shape) * noise_mm,
    )


def measured(name: str, prediction: KeypointSet, truth: KeypointSet, folder: Path) -> float:
    for keypoints, file in ((prediction, "p.npz"), (truth, "t.npz")):
        keypoints.save(folder / file)
    number = score_files(folder / "p.npz", folder / "t.npz", BENCHMARKS[name].options).to_json()
    for key in BENCHMARKS[name].result:
        number = number[key]
    return number


def expected_hand_errors(prediction: KeypointSet, truth: KeypointSet) -> np.ndarray:
    """Errors in mm after moving and scaling every hand by its middle finger, frame by frame."""
    root, tip = HAND21.index("middle_1"), HAND21.index("middle_2")
    errors = []
    for guess, true in zip(prediction.xyz_mm, truth.xyz_mm, strict=True):
        scale = np.linalg.norm(true[tip] - true[root]) / np.linalg.norm(guess[tip] - guess[root])
        errors.append(np.linalg.norm((guess - guess[root]) * scale - (true - true[root]), axis=-1))
    return np.array(errors)


def test_hands_in_space(tmp_path):
    prediction, truth = hands(noise=9.0), hands()
    prediction = replace(prediction, xyz_mm=prediction.xyz_mm * 0.7 + [5, -80, 300])
    errors = expected_hand_errors(prediction, truth)
    assert measured("EPE", prediction, truth, tmp_path) == pytest.approx(errors.mean())
    thresholds = np.linspace(20, 50, 101)
    curve = [(errors <= threshold).mean() for threshold in thresholds]
    assert measured("AUC", prediction, truth, tmp_path) == pytest.approx(np.trapezoid(curve, thresholds) / 30)


def test_hands_from_depth(tmp_path):
    prediction, truth = hands(noise=7.0), hands()
    errors = np.linalg.norm(prediction.xyz_mm - truth.xyz_mm, axis=-1)
    assert measured("mean joint error", prediction, truth, tmp_path) == pytest.approx(errors.mean())
    rate = (errors.max(1) < 20).mean()
    assert 0 < rate < 1
    assert measured("success rate at 20 mm", prediction, truth, tmp_path) == pytest.approx(rate)


def test_bodies_in_space(tmp_path):
    prediction, truth = bodies(40.0), bodies(0.0)
    pelvis = H36M17.index("pelvis")
    moved = [a - a[:, pelvis : pelvis + 1] for a in (prediction.xyz_mm + 500, truth.xyz_mm)]
    expected = np.linalg.norm(moved[0] - moved[1], axis=-1).mean()
    assert measured("MPJPE", prediction, truth, tmp_path) == pytest.approx(expected)

    angle = 0.8
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = replace(truth, xyz_mm=1.3 * truth.xyz_mm @ turn.T + 90)
    assert measured("PA-MPJPE", turned, truth, tmp_path) == pytest.approx(0, abs=1e-6)
    assert measured("PA-MPJPE", prediction, truth, tmp_path) < expected


@pytest.mark.parametrize(
    ("protocol", "prediction", "truth"),
    [(PCK_005, hands(noise=9.0), hands()), (PCK_005_BODY, bodies(50.0), bodies(0.0))],
    ids=["hands", "bodies"],
)
def test_reports_and_scores_agree_on_pck(tmp_path, protocol, prediction, truth):
    truth.uv_px[0, :4] = [[2.0, 100.0], [100.0, 253.0], [3.4, 100.0], [3.6, 100.0]]  # the first three are not scored
    score = evaluate(prediction, truth, 256.0, protocol)
    assert measured("PCK@0.05", prediction, truth, tmp_path) == pytest.approx(score.pck_005)
    counted = ((truth.uv_px > 3.5) & (truth.uv_px < 251.5)).all(-1)
    assert (~counted[0, :4]).sum() == 3
    right = np.linalg.norm(prediction.uv_px - truth.uv_px, axis=-1) < 12.8
    assert score.pck_005 == pytest.approx(right[counted].mean())
    assert set(score.per_group_pck) == set(protocol.groups)
    for name, joints in protocol.groups.items():
        of = [truth.joint_names.index(joint) for joint in joints]
        assert score.per_group_pck[name] == pytest.approx(right[:, of][counted[:, of]].mean())


def test_bodies_are_scored_from_the_pelvis():
    truth = bodies(0.0)
    moved = replace(truth, xyz_mm=truth.xyz_mm + np.array([30.0, 0.0, 900.0]))
    assert evaluate(moved, truth, 256.0, PCK_005_BODY).mean_error_mm == pytest.approx(0, abs=1e-9)
    larger = replace(truth, xyz_mm=truth.xyz_mm * 1.1)
    assert evaluate(larger, truth, 256.0, PCK_005_BODY).mean_error_mm > 10


def test_the_page_gives_the_options_of_every_benchmark():
    rows = re.findall(r"^\| ([^|]+) \| (?:`(--[^`]*)`)? ?\| `([^`]+)` \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(BENCHMARKS)
    for name, options, result in rows:
        assert tyro.cli(ScoreOptions, args=options.split()) == BENCHMARKS[name].options
        keys = BENCHMARKS[name].result
        assert result == keys[0] + "".join(f'["{key}"]' for key in keys[1:])
