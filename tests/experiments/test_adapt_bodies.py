"""Adaptation to people: their skeleton, their renders, no handedness."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from data.on_disk import write_image, write_pictures
from deployment.rigged import SMALL, SPEC, small_model
from experiments.refusals import refused
from experiments.small_runs import ONE_CPU, shrink
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig
from posebridge.presets.table import find_preset
from posebridge.skeletons.body import BODY22, COCO17, H36M17
from posebridge.synthesis.body_domains import STUDIO_BODY
from posebridge.synthesis.stream import VideoSamples

FRAMES, SIDE = 12, 48

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A video of a rendered person at the right of a wide picture, with boxes and labels in pixels of the file."""
    folder = tmp_path_factory.mktemp("walk")
    batch = VideoSamples(STUDIO_BODY, SIDE, 5, FRAMES).samples(0, FRAMES)
    pictures = np.full((FRAMES, 64, 120, 3), 90, np.uint8)
    pictures[:, 10 : 10 + SIDE, 66 : 66 + SIDE] = (batch.rgb.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    write_pictures(folder / "walk.mp4", pictures)
    keys = [f"walk_{i:06d}" for i in range(FRAMES)]
    rows = [f"{key},65.5,9.5,113.5,57.5\n" for key in keys]
    (folder / "boxes.csv").write_text("key,x0,y0,x1,y1\n" + "".join(rows))
    order = np.random.default_rng(0).permutation(17)
    uv_px = batch.uv_px.numpy() + np.array([66, 10])
    names = tuple(H36M17.joints[i] for i in order)
    KeypointSet(np.array(keys), names, uv_px=uv_px[:, order]).save(folder / "truth.npz")
    return folder


def _config(folder, method, **options) -> AdaptConfig:
    target = TargetConfig(folder / "walk.mp4", folder / "boxes.csv", padding=1.1)
    given = {"source": "renders", "domain": "studio"} | options
    return AdaptConfig(method=method, target=target, subject="body", **given)


@pytest.fixture(scope="module")
def walked(walk, tmp_path_factory):
    """A run by geometric reconstruction, and its record. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "body"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        config = _config(walk, "geometric-reconstruction", truth=walk / "truth.npz", stride=(3, 6))
        return folder, run_adapt(config, folder, ONE_CPU)


def test_body_model(walked):
    folder, record = walked
    loaded = load_model(folder)
    spec, network = loaded.spec, loaded.network
    assert (spec.skeleton, spec.network.joints, spec.method) == ("body22", 22, "geometric-reconstruction")
    assert 0.15 < spec.reference_length_m < 0.45  # a chest's
    assert network.config.joints == 22
    assert record.joint_names == BODY22.joints
    assert record.bones == BODY22.bones
    assert set(record.groups) == set(BODY22.groups)
    assert set(record.scores) == {"source_only", "adapted"}
    assert record.scores["adapted"].n_frames == FRAMES
    assert record.notes == ()  # one shot, from a camera at rest


def test_scores_of_the_predictions(walked, walk):
    """PCK@0.05 of a crop's side, which is the box's times the padding; the truth's joints are in another order."""
    folder, record = walked
    found, truth = KeypointSet.load(folder / "predictions.npz"), KeypointSet.load(walk / "truth.npz")
    order = [found.joint_names.index(joint) for joint in truth.joint_names]
    apart = np.linalg.norm(found.uv_px[:, order] - truth.uv_px, axis=-1)
    assert record.scores["adapted"].mean_error_px == pytest.approx(apart.mean(), rel=1e-4)
    assert record.scores["adapted"].pck_005 == pytest.approx((apart < 0.05 * 48 * 1.1).mean(), abs=1e-6)


def test_model_predicts_as_the_run_did(walked, walk, tmp_path):
    folder, _ = walked
    target = TargetConfig(walk / "walk.mp4", walk / "boxes.csv", padding=1.1)
    predict_files(PredictConfig(folder, target, tmp_path / "out", device="cpu"))
    again, before = (KeypointSet.load(place / "predictions.npz") for place in (tmp_path / "out", folder))
    assert again.joint_names == BODY22.joints
    np.testing.assert_allclose(again.uv_px, before.uv_px, atol=1e-2)
    assert (tmp_path / "out" / "overlays" / "walk.mp4").is_file()


def test_given_body_model(walked, walk, tmp_path):
    record = run_adapt(_config(walk, "mean-teacher", source=walked[0]), tmp_path / "run", ONE_CPU)
    assert list(record.curves) == ["1-mean-teacher"]
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["recipe"]["methods"]
    assert recipe["mean-teacher"]["geometry"]["flip_probability"] == 0.5


@pytest.mark.parametrize("joints", [H36M17, COCO17], ids=lambda skeleton: skeleton.name)
def test_renders_have_the_joints_of_the_given_model(walk, tmp_path, joints):
    small_model(tmp_path / "given", replace(SPEC, skeleton=joints.name, network=replace(SMALL, joints=17)))
    record = run_adapt(_config(walk, "mean-teacher", source=tmp_path / "given"), tmp_path / "run", ONE_CPU)
    assert record.joint_names == joints.joints
    assert load_model(tmp_path / "run").spec.skeleton == joints.name


AUGMENTING = ("mean-teacher", "integrated-pseudo-labels", "geometric-reconstruction")


def test_people_and_hands_differ_in_joints_and_views():
    for name in ("small", "full"):
        hand, body = (find_preset(f"adapt/{subject}", name, "mean-teacher") for subject in ("hand", "body"))
        assert (hand.model.network.joints, body.model.network.joints) == (21, 22)
        assert {*hand.methods} - {*body.methods} == {"semihand", "dual-modality"}  # made for hands
        assert {*body.methods} < {*hand.methods}
        for of_hands, of_people in (
            (hand.source, body.source),
            *((hand.methods[method], body.methods[method]) for method in AUGMENTING),
        ):
            assert of_hands.geometry.flip_probability == 0
            assert of_people.geometry.flip_probability == 0.5
            assert of_people.geometry.rotation_deg < of_hands.geometry.rotation_deg
        of_hands, of_people = (preset.methods["masked-reconstruction"].fine_tuning for preset in (hand, body))
        assert of_people.geometry.rotation_deg < of_hands.geometry.rotation_deg


def test_handedness_is_refused(walk, tmp_path):
    config = _config(walk, "mean-teacher")
    left = replace(config, target=replace(config.target, hand="left"))
    assert "leave --hand out" in refused(run_adapt, left, tmp_path / "run")
    (tmp_path / "boxes.csv").write_text("key,x0,y0,x1,y1,hand\nwalk_000000,66,10,113,57,left\n")
    with_hands = replace(config, target=replace(config.target, boxes=tmp_path / "boxes.csv"))
    assert "leave --hand out, and hand from the boxes" in refused(run_adapt, with_hands, tmp_path / "run")


def test_models_and_truth_of_another_subject_are_refused(walk, tmp_path):
    small_model(tmp_path / "hand")
    line = refused(run_adapt, _config(walk, "mean-teacher", source=tmp_path / "hand"), tmp_path / "run")
    assert line.endswith("predicts hand21, and this run needs body22: give a model of these joints")
    small_model(tmp_path / "coco", replace(SPEC, skeleton="coco17", network=replace(SMALL, joints=17)))
    KeypointSet(np.array(["walk_000000"]), uv_px=np.zeros((1, 21, 2))).save(tmp_path / "truth.npz")
    line = refused(run_adapt, _config(walk, "mean-teacher", truth=tmp_path / "truth.npz"), tmp_path / "run")
    assert line == "the truth has 21 joints without names, body22 has 22"
    write_image(tmp_path / "0.png")
    hand = AdaptConfig(
        method="source-only", target=TargetConfig(tmp_path / "0.png"), source=tmp_path / "coco", domain="studio"
    )
    assert "this run needs hand21" in refused(run_adapt, hand, tmp_path / "run")
