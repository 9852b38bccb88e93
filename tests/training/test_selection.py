"""The label-free score, and the selected candidate."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.networks.weights import load_weights
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.selection import BoneStatistics, agreement, log_bone_lengths
from training.dots import (
    MAPS,
    ONE_CPU,
    SIDE,
    SKELETON,
    Finder,
    adaptation_stage,
    context,
    dots,
    finished,
    small_network,
    source_stage,
)

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = dots(48, seed=1)


class Constant(HeatmapNetwork):
    """Predicts one pose for all images, like a collapsed model."""

    maps = MAPS

    def __init__(self, uv_px: Tensor):
        super().__init__()
        uv_map = map_from_image(uv_px[None], (SIDE, SIDE), (16, 16))
        self.heat = encode_gaussian(uv_map, 16, 16, 1.0, "sum")[0].clamp_min(1e-20).log()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        heat = self.heat.expand(len(images), -1, -1, -1)
        return heat, torch.zeros_like(heat)


def bones() -> BoneStatistics:
    flat = torch.cat([FRAMES.uv_px, torch.zeros(len(FRAMES), 3, 1)], dim=-1)
    return BoneStatistics.of(flat, SKELETON)


def score(network: nn.Module, statistics: BoneStatistics | None = None) -> float:
    return agreement(network, FRAMES.unlabelled(), SKELETON, statistics or bones())


def test_an_exact_network_has_full_agreement():
    assert score(Finder().eval()) > 0.98


def test_a_collapsed_network_scores_zero():
    for i in range(6):
        assert score(Constant(FRAMES.uv_px[i])) == 0
    assert score(Constant(torch.full((3, 2), SIDE / 2 - 0.5))) == 0


def test_a_random_network_has_a_low_and_deterministic_score():
    network = small_network().eval()
    assert score(network) == score(network) < 0.5


def test_implausible_bones_lower_the_score():
    usual = bones()
    far = BoneStatistics(usual.mean + 9, usual.deviation)
    assert score(Finder().eval(), far) == 0


def test_bone_lengths_against_numpy():
    joints = FRAMES.joints_m.numpy()
    red, green, blue = joints.transpose(1, 0, 2)
    ratio = np.linalg.norm(blue - red, axis=-1) / np.linalg.norm(green - red, axis=-1)
    expected = np.stack([np.zeros(len(joints)), np.log(ratio)], axis=1)
    assert log_bone_lengths(FRAMES.joints_m, SKELETON).numpy() == pytest.approx(expected, abs=1e-5)
    statistics = BoneStatistics.of(1000 * FRAMES.joints_m, SKELETON)  # any unit
    assert statistics.mean.numpy() == pytest.approx(expected.mean(0), abs=1e-4)
    assert statistics.deviation.numpy() == pytest.approx(expected.std(0, ddof=1), abs=1e-4)


class Scores:
    """Returns the given scores, and records the weights at each call."""

    def __init__(self, *scores: float):
        self.scores = list(scores)
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, network: nn.Module) -> float:
        assert not any(module.training for module in network.modules())
        self.seen.append(copy.deepcopy(network.state_dict()))
        return self.scores[len(self.seen) - 1]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ((0.1, 0.9, 0.3, 0.2, 0.1), 1),
        ((0.9, 0.1, 0.3, 0.2, 0.1), 0),
        ((0.9, 0.1, 0.9, 0.2, 0.9), 4),
        ((0.2, 0.5, 0.5, 0.1, 0.0), 2),
        ((0.2, 0.5, 0.4, 0.1, math.nan), 1),
    ],
)
@pytest.mark.parametrize("make", [source_stage, adaptation_stage])
def test_the_best_candidate_is_kept_the_later_among_equals(scores, best, make, tmp_path):
    plan = Scores(*scores)
    stage = make(context())
    report, _ = finished(tmp_path, stage, SelectionPlan(plan, evaluations=4))
    assert report.chosen_step == 3 * best
    assert [candidate["step"] for candidate in report.candidates] == [0, 3, 6, 9, 12]
    kept = small_network(seed=9)
    load_weights(kept, Run(tmp_path).layout.stage(1, stage.name).folder / "result.safetensors")
    for result in (kept.state_dict(), stage.result().state_dict()):
        assert all(torch.equal(value, result[name]) for name, value in plan.seen[best].items())
    assert any(not torch.equal(value, plan.seen[best - 1][name]) for name, value in plan.seen[best].items())


def test_the_first_candidate_is_the_initial_network(tmp_path):
    plan = Scores(1, 0, 0)
    finished(tmp_path, source_stage(context()), SelectionPlan(plan, evaluations=2))
    before = small_network().state_dict()
    assert all(torch.equal(value, before[name]) for name, value in plan.seen[0].items())


def test_measurements_do_not_affect_the_selection(tmp_path):
    def measure(stage) -> dict[str, float]:
        torch.rand(7)  # random draws have no effect either
        return {"oracle": {0: 0.1, 3: 0.2, 6: 0.3, 9: 0.4, 12: 0.5}[stage.global_step]}

    scores = (0.2, 0.9, 0.3, 0.2, 0.1)
    alone, files = finished(tmp_path / "a", adaptation_stage(context()), SelectionPlan(Scores(*scores), None, 4))
    watched, same = finished(tmp_path / "b", adaptation_stage(context()), SelectionPlan(Scores(*scores), measure, 4))
    assert watched.chosen_step == alone.chosen_step == 3
    assert files == same
    assert [candidate["oracle"] for candidate in watched.candidates] == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_scoring_does_not_change_training(tmp_path):
    _, (_, metrics) = finished(tmp_path / "a", adaptation_stage(context()))
    _, (_, scored) = finished(
        tmp_path / "b", adaptation_stage(context()), SelectionPlan(score_and_look, evaluations=12)
    )
    assert scored == metrics


def score_and_look(network: nn.Module) -> float:
    network(FRAMES.rgb)
    return 0.0


def test_more_evaluations_than_steps(tmp_path):
    plan = SelectionPlan(lambda network: 0.0, evaluations=100)
    report = Run(tmp_path, ONE_CPU).train(1, source_stage(context()), plan)
    assert [candidate["step"] for candidate in report.candidates] == list(range(13))
