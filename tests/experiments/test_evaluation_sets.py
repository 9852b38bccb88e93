"""Test frames that stay on disk: scores of known predictions, pictures of known frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from posebridge.recipes import predict_test
from posebridge.recipes.pipeline import truth_of
from posebridge.recipes.predict_test import predict_test_split
from posebridge.recipes.transfers import TRANSFERS
from recipes.transfer_sets import opened, tiny, write_sets

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.skipped_list import SkippedList
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import BENCHMARKS
from posebridge.evaluation.score import score_files
from posebridge.skeletons.hand import HAND21


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def rigged(monkeypatch):
    """Predictions that are the truth of the reader, moved by a share of the crop's side."""

    def rig(data, skeleton, share: float = 0.0):
        truth = {data.test[i].key[0]: data.test[i] for i in range(len(data.test))}

        def predict(predictor, batch):
            assert type(batch) is UnlabelledBatch
            parts = [truth_of(truth[key], skeleton.joints) for key in batch.key]
            side = batch.rgb.shape[-1] / torch.linalg.det(batch.T_crop_file[:, :2, :2]).abs().sqrt().numpy()
            moved = [part.uv_px + np.array([share * s, 0]) for part, s in zip(parts, side, strict=True)]
            return KeypointSet(
                np.array(batch.key),
                skeleton.joints,
                uv_px=np.concatenate(moved),
                xyz_mm=np.concatenate([part.xyz_mm for part in parts]),
                confidence=np.ones((len(batch), len(skeleton))),
            )

        monkeypatch.setattr(predict_test, "predict_batch", predict)

    return rig


@pytest.mark.parametrize("name", TRANSFERS)
@pytest.mark.parametrize(("share", "right"), [(0.0, 1.0), (0.045, 1.0), (0.055, 0.0)])
def test_scores_are_in_shares_of_the_crop(sets, name, share, right, rigged, tmp_path):
    plan, data = tiny(name), opened(sets, name)
    rigged(data, plan.skeleton, share)
    predicted = predict_test_split({"adapted": None}, data.test, plan.skeleton, SkippedList(tmp_path / "list"))
    truth = predicted.truth(plan.scored)
    found = predicted.in_crops(predicted.by_role["adapted"])
    score = evaluate(found, truth, plan.sizes["small"].size_px, plan.protocol)
    assert score.pck_005 == right
    assert set(score.per_group_pck.values()) == {right}
    assert score.mean_error_px == pytest.approx(share * plan.sizes["small"].size_px, abs=1e-3)
    assert score.mean_error_mm == pytest.approx(0, abs=1e-3)
    counted = np.isfinite(score.per_joint_pck)
    assert counted.sum() == (21 if plan.skeleton is HAND21 else 13)
    # The command `posebridge score`, with the protocol's options, finds the same.
    found.save(tmp_path / "predictions.npz")
    truth.save(tmp_path / "truth.npz")
    options = replace(BENCHMARKS["PCK@0.05"].options, image_size=32, skip_border=0.5)
    assert score_files(tmp_path / "predictions.npz", tmp_path / "truth.npz", options).pck["0.05"] == right


def test_the_gallery_shows_the_frames_that_it_names(sets, rigged, tmp_path):
    plan, data = tiny("rhd-to-h3d"), opened(sets, "rhd-to-h3d")
    rigged(data, HAND21, 0.1)
    skipped = SkippedList(tmp_path / "list")
    predicted = predict_test_split({"adapted": None}, data.test, plan.skeleton, skipped)
    frames = predict_test.gallery_of_test_split(predicted, "adapted", data.test, skipped)
    crops = {data.test[i].key[0]: data.test[i] for i in range(len(data.test))}
    assert len(frames) == 3
    for frame in frames:
        crop = crops[frame.key]
        np.testing.assert_array_equal(frame.image, (crop.rgb[0] * 255).byte().permute(1, 2, 0).numpy())
        np.testing.assert_allclose(frame.uv_truth, crop.uv_px[0], atol=1e-3)
        moved = np.linalg.norm(frame.uv_pred - frame.uv_truth, axis=-1)
        np.testing.assert_allclose(moved, 0.1 * 32, atol=1e-3)
        assert frame.error_px == pytest.approx(3.2, abs=1e-3)
