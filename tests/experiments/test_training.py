"""What recipes share: choices as they are told, pictures with joints in the right place, curves."""

import math

import numpy as np
import pytest
import torch
from posebridge.recipes import pipeline
from posebridge.recipes.pipeline import (
    label_free_selection,
    predict,
    train,
)
from posebridge.recipes.records import checkpoint_choice, gallery, learning_curves

from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.predictor import PosePredictor
from posebridge.skeletons.hand import HAND21
from posebridge.training.run import Run, StageReport
from posebridge.training.selection import BoneStatistics

NAMES = HAND21.joints
# Crops of 40 px: twice the file's scale, moved, and mirrored in the second frame.
T_CROP_FILE = torch.tensor(
    [[[2.0, 0, 5], [0, 2, -3], [0, 0, 1]], [[-2.0, 0, 70], [0, 2, 4], [0, 0, 1]], [[2.0, 0, 0], [0, 2, 0], [0, 0, 1]]]
)


def _batch() -> UnlabelledBatch:
    image = torch.linspace(0, 1, 3 * 3 * 40 * 40).view(3, 3, 40, 40)
    return UnlabelledBatch(image=image, key=("a", "b", "c"), T_crop_file=T_CROP_FILE)


def _keypoints(offset: float = 0.0, keys=("a", "b", "c")) -> KeypointSet:
    uv = np.random.default_rng(0).uniform(0, 20, (3, 21, 2))
    rows = ["abc".index(key) for key in keys]
    return KeypointSet(np.array(keys), NAMES, uv_px=uv[rows] + offset * (1 + np.array(rows))[:, None, None])


def _by_key(frames):
    return {frame.key: frame for frame in frames}


def test_gallery_draws_joints_into_crops():
    prediction = _keypoints()
    frames = _by_key(gallery(_batch(), prediction, None))
    assert {frame.kind for frame in frames.values()} == {"sample"}
    u, v = prediction.uv_px[1].T
    np.testing.assert_allclose(frames["b"].uv_pred, np.stack([70 - 2 * u, 4 + 2 * v], axis=-1), atol=1e-5)
    assert frames["a"].image.dtype == np.uint8
    assert frames["a"].image.shape == (40, 40, 3)
    assert frames["a"].error_px is frames["a"].uv_truth is None


def test_gallery_ranks_by_the_truth_whatever_its_order():
    truth, prediction = _keypoints(), _keypoints(offset=1.0)
    order = np.random.default_rng(1).permutation(21)[:19]  # two joints lack
    frames = gallery(_batch(), prediction, truth.take(np.array([2, 0, 1]), order))
    assert [(frame.key, frame.kind) for frame in frames] == [("a", "best"), ("b", "median"), ("c", "worst")]
    for i, frame in enumerate(frames):
        assert frame.error_px == pytest.approx((i + 1) * math.sqrt(2))
        apart = np.linalg.norm(frame.uv_truth - frame.uv_pred, axis=-1)
        known = np.isin(np.arange(21), order)
        np.testing.assert_allclose(apart[known], 2 * (i + 1) * math.sqrt(2), atol=1e-5)  # in pixels of the crop
        assert np.isnan(apart[~known]).all()


def test_gallery_where_the_truth_lacks_frames_or_has_nothing_finite():
    shared = gallery(_batch(), _keypoints(), _keypoints(keys=("b",)))
    assert [frame.key for frame in shared] == ["b"]
    nothing = KeypointSet(np.array(["b"]), NAMES, uv_px=np.full((1, 21, 2), np.nan))
    frames = _by_key(gallery(_batch(), _keypoints(), nothing))
    assert set(frames) == {"a", "b", "c"}
    assert frames["a"].uv_truth is None
    assert np.isnan(frames["b"].uv_truth).all()


def test_gallery_of_many_frames_is_short():
    batch = UnlabelledBatch(image=torch.rand(40, 3, 8, 8), key=tuple(f"{i:02d}" for i in range(40)))
    prediction = KeypointSet(np.array(batch.key), NAMES, uv_px=np.zeros((40, 21, 2)))
    keys = [int(frame.key) for frame in gallery(batch, prediction, None)]
    assert len(keys) == 12
    assert len(set(np.diff(keys))) == 1  # evenly chosen


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
    curves = learning_curves([tmp_path / "1-source"])
    assert curves["1-source"]["heat"] == ((4, 0.25),)
    (first, second) = curves["1-source"]["loss"]
    assert first == (2, 0.5)
    assert second[0] == 4
    assert math.isnan(second[1])
    assert learning_curves([]) == {}


def test_without_stages_the_given_network_is_the_result(tmp_path):
    network = DotFinder().train()
    left = train(Run(tmp_path), 1, [], network)
    assert left.network is network
    assert not network.training
    assert left.reports == left.folders == ()
    with pytest.raises(ValueError, match="none was given"):
        train(Run(tmp_path), 1, [])


@pytest.fixture(scope="module")
def dots() -> LabelledBatch:
    """Frames that the dot finder reads without error, with their labels; every third frame's label is wrong."""
    places = np.array([[20, 18], [44, 20], [30, 44]]) + np.random.default_rng(2).uniform(-4, 4, (70, 3, 2))
    images = np.stack([draw_dots(64, 64, place) for place in places])
    uv = torch.tensor(np.stack([truth_of(place) for place in places]), dtype=torch.float32)
    uv[::3] += 20
    return LabelledBatch(
        image=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
        key=tuple(map(str, range(70))),
        uv_px=uv,
        valid=torch.ones(70, 21, dtype=torch.bool),
    )


def test_predictions_of_a_long_batch_keep_their_order(dots):
    found = predict(PosePredictor(SPEC, DotFinder()), dots)
    assert found.key.tolist() == list(dots.key)
    right = np.arange(70) % 3 > 0
    assert np.linalg.norm(found.uv_px - dots.uv_px.numpy(), axis=-1)[right].max() < 1.5


def test_truth_in_pixels_of_files(dots):
    moved = LabelledBatch(
        image=dots.rgb[:3], key=("a", "b", "c"), uv_px=dots.uv_px[:3], valid=dots.valid[:3], T_crop_file=T_CROP_FILE
    )
    truth = pipeline.truth_of(moved, NAMES)
    u, v = dots.uv_px[1].numpy().T
    np.testing.assert_allclose(truth.uv_px[1], np.stack([(70 - u) / 2, (v - 4) / 2], axis=-1), atol=1e-4)
    assert truth.xyz_mm is None


def test_labels_measure_and_never_choose(dots):
    """The score is the same with right, wrong and no labels; the oracle's number tells them apart."""

    class Stage:
        def __init__(self):
            self.network = DotFinder()

        def result(self):
            return self.network

    bones = BoneStatistics(torch.zeros(20), torch.ones(20))
    without, given = (label_free_selection(HAND21, bones, dots.unlabelled(), truth) for truth in (None, dots))
    stage = Stage()
    assert without.score(stage.network) == given.score(stage.network)
    assert without.measure(stage) == {}
    wrong = len(range(0, 70, 3)) / 70
    assert given.measure(stage)["oracle"] == pytest.approx(1 - wrong, abs=0.02)
