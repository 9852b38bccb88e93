"""Frames that are predicted and scored: in memory, and from disk with scores and pictures of known predictions."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deployment.rigged import SPEC, DotFinder
from evaluation.test_gallery import T_CROP_FILE
from experiments.dot_frames import dot_frames
from experiments.transfer_sets import COLOUR, SIDE, opened
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.frame_predictions import FramePredictions, keypoints_as, predict_frames
from posebridge.deployment.predictor import PosePredictor
from posebridge.evaluation.protocols import BENCHMARKS
from posebridge.evaluation.score import score_files
from posebridge.experiments.evaluation_sets import truth_of
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton


@pytest.fixture(scope="module")
def dots() -> LabelledBatch:
    return dot_frames()


@dataclass(frozen=True)
class TrueLabels:
    """A predictor that returns the labels of the reader, moved by a fraction of the crop's side."""

    labelled: dict[str, LabelledBatch]
    skeleton: Skeleton
    moved_frac: float

    def predict_batch(self, batch) -> KeypointSet:
        assert type(batch) is UnlabelledBatch
        parts = [truth_of(self.labelled[key], self.skeleton.joints) for key in batch.key]
        side = batch.rgb.shape[-1] / torch.linalg.det(batch.T_crop_file[:, :2, :2]).abs().sqrt().numpy()
        moved = [part.uv_px + np.array([self.moved_frac * s, 0]) for part, s in zip(parts, side, strict=True)]
        return KeypointSet(
            np.array(batch.key),
            self.skeleton.joints,
            uv_px=np.concatenate(moved),
            xyz_mm=np.concatenate([part.xyz_mm for part in parts]),
            confidence=np.ones((len(batch), len(self.skeleton))),
        )


def predicted(data, moved_frac: float):
    """The evaluation of a transfer after its prediction, and the keypoints."""
    evaluation = data.evaluation
    labelled = {evaluation.crops[i].key[0]: evaluation.crops[i] for i in range(len(evaluation.crops))}
    predictor = TrueLabels(labelled, evaluation.skeleton, moved_frac)
    return evaluation, evaluation.predict({"adapted": predictor})["adapted"].keypoints


@pytest.fixture(scope="module")
def data(datasets):
    return {name: opened(datasets, name) for name in COLOUR}


@pytest.mark.parametrize("name", COLOUR)
@pytest.mark.parametrize(("moved_frac", "right"), [(0.0, 1.0), (0.045, 1.0), (0.055, 0.0)])
def test_scores_are_fractions_of_the_crop(data, name, moved_frac, right, tmp_path):
    evaluation, found = predicted(data[name], moved_frac)
    score = evaluation.score(FramePredictions(PosePredictor(SPEC, DotFinder()), found))
    assert score.pck_005 == right
    assert set(score.per_group_pck.values()) == {right}
    assert score.mean_error_px == pytest.approx(moved_frac * SIDE, abs=1e-3)
    assert score.mean_error_mm == pytest.approx(0, abs=1e-3)
    assert np.isfinite(score.per_joint_pck).sum() == (21 if evaluation.skeleton is HAND21 else 13)
    # The command `posebridge score`, with the protocol's options, has the same result.
    evaluation.in_crops(found).save(tmp_path / "predictions.npz")
    evaluation.truth.save(tmp_path / "truth.npz")
    options = replace(BENCHMARKS["PCK@0.05"].options, image_size=SIDE, skip_border=0.5)
    assert score_files(tmp_path / "predictions.npz", tmp_path / "truth.npz", options).pck["0.05"] == right


def test_gallery_shows_the_frames_that_it_names(data):
    evaluation, found = predicted(data["rhd-to-h3d"], 0.1)
    frames = evaluation.gallery(found)
    crops = {evaluation.crops[i].key[0]: evaluation.crops[i] for i in range(len(evaluation.crops))}
    assert len(frames) == 3
    for frame in frames:
        crop = crops[frame.key]
        np.testing.assert_array_equal(frame.image, (crop.rgb[0] * 255).byte().permute(1, 2, 0).numpy())
        np.testing.assert_allclose(frame.uv_truth, crop.uv_px[0], atol=1e-3)
        moved = np.linalg.norm(frame.uv_pred - frame.uv_truth, axis=-1)
        np.testing.assert_allclose(moved, 0.1 * 32, atol=1e-3)
        assert frame.error_px == pytest.approx(3.2, abs=1e-3)


def test_frames_are_known_after_prediction(datasets):
    with pytest.raises(ValueError, match="call predict first"):
        _ = opened(datasets, "rhd-to-h3d").evaluation.frames


def test_predictions_of_a_long_batch_keep_their_order(dots):
    found = predict_frames(PosePredictor(SPEC, DotFinder()), InMemoryDataset.of_batch(dots)).keypoints
    assert found.key.tolist() == list(dots.key)
    right = np.arange(70) % 3 > 0
    assert np.linalg.norm(found.uv_px - dots.uv_px.numpy(), axis=-1)[right].max() < 1.5


def test_truth_in_pixels_of_files(dots):
    moved = LabelledBatch(
        image=dots.rgb[:3], key=("a", "b", "c"), uv_px=dots.uv_px[:3], valid=dots.valid[:3], T_crop_file=T_CROP_FILE
    )
    truth = truth_of(moved, HAND21.joints)
    u, v = dots.uv_px[1].numpy().T
    np.testing.assert_allclose(truth.uv_px[1], np.stack([(70 - u) / 2, (v - 4) / 2], axis=-1), atol=1e-4)
    assert truth.xyz_mm is None


@pytest.mark.parametrize("skeleton", [NYU14, ICVL16, HAND21], ids=lambda skeleton: skeleton.name)
def test_joints_without_a_mesh_are_means(dots, skeleton):
    """Those of a network of heat maps; finger tips stay where the network predicts them."""
    xyz_mm = np.random.default_rng(0).normal(size=(2, 21, 3))
    hands = KeypointSet(np.array(["a", "b"]), HAND21.joints, uv_px=xyz_mm[..., :2], xyz_mm=xyz_mm)
    found = keypoints_as(skeleton, FramePredictions(PosePredictor(SPEC, DotFinder()), hands), dots)
    at = {name: xyz_mm[:, i] for i, name in enumerate(HAND21.joints)}
    at["ring_mid"], at["thumb_root"] = (at["ring_2"] + at["ring_3"]) / 2, (at["thumb_1"] + at["thumb_2"]) / 2
    assert found.joint_names == skeleton.joints
    compared = set(at) & {*skeleton.joints}
    assert len(compared) == {"nyu14": 11, "icvl16": 2, "hand21": 21}[skeleton.name]
    for name in compared:
        np.testing.assert_allclose(found.xyz_mm[:, skeleton.index(name)], at[name])
        np.testing.assert_allclose(found.uv_px[:, skeleton.index(name)], at[name][:, :2])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of memory are read from Linux's /proc")
def test_memory_beyond_the_sets_is_bounded():
    """Of 147 MB of images. Floats of all of them would add 590 MB; those of 768 frames, on which is measured, 38 MB."""
    script = Path(__file__).with_name("many_frames.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    synthshift_mb, adapt_mb = map(float, done.stdout.split())
    assert synthshift_mb <= adapt_mb < 250
