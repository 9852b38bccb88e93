"""The record of a run: checkpoint choice and learning curves."""

import math

from posebridge.contracts.run_layout import StageLayout
from posebridge.experiments.records import checkpoint_choice, learning_curves
from posebridge.training.run import StageReport


def _report(*candidates: dict[str, float], chosen: int | None = None) -> StageReport:
    return StageReport("mean-teacher", 1.0, 10, candidates, chosen)


def test_checkpoint_choice():
    assert checkpoint_choice(_report()) is None
    candidates = ({"step": 0, "score": 0.4, "oracle": 0.5}, {"step": 5, "score": 0.6, "oracle": 0.3})
    choice = checkpoint_choice(_report(*candidates, chosen=5))
    assert (choice.step, choice.oracle.step, choice.oracle.score, choice.oracle_at_choice) == (5, 0, 0.5, 0.3)
    assert [(c.step, c.score) for c in choice.candidates] == [(0, 0.4), (5, 0.6)]
    blind = [{"step": c["step"], "score": c["score"]} for c in candidates]
    without = checkpoint_choice(_report(*blind, chosen=5))
    assert (without.oracle, without.oracle_at_choice) == (None, None)


def test_learning_curves(tmp_path):
    (tmp_path / "1-source").mkdir()
    (tmp_path / "1-source" / "metrics.csv").write_text("step,loss,heat\n2,0.5,\n4,nan,0.25\n")
    curves = learning_curves([StageLayout(tmp_path / "1-source")])
    assert curves["1-source"]["heat"] == ((4, 0.25),)
    (first, second) = curves["1-source"]["loss"]
    assert first == (2, 0.5)
    assert second[0] == 4
    assert math.isnan(second[1])
    assert learning_curves([]) == {}
