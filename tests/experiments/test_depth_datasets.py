"""Runs from renders to the public depth benchmarks, at a size of seconds, on files in the layout of their releases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deployment.depth_hands import SPEC, predictor
from experiments.depth_benchmarks import truth, write_set
from experiments.small_runs import preset_of
from posebridge.bodies.joint_maps import joint_map
from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import concatenate
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.crops import CubeCropConfig
from posebridge.data.datasets.icvl import ICVL
from posebridge.data.datasets.nyu import NYU
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.depth_cubes import DepthCubes
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.errors import InputError
from posebridge.experiments import renders
from posebridge.experiments.configs import DatasetRef, TrainConfig
from posebridge.experiments.train import run_train
from posebridge.skeletons.named import skeleton_named
from training.dots import ONE_CPU

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


def config_of(name: str, root: Path, options: DatasetOptions | None = None, **changes) -> TrainConfig:
    target = DatasetRef(name, root, options or DatasetOptions())
    return TrainConfig(target=target, method="multi-view-fusion", recipe=f"renders-to-{name}", **changes)


def errors_mm(name: str, run: Path, true: dict[str, np.ndarray], joints_mm: np.ndarray | None = None) -> np.ndarray:
    """Distances (N, K) of a run's saved meshes from the labels that count, by the map of Anny's hand.

    ``joints_mm``: joints instead of the mesh's.
    """
    found, meshes = KeypointSet.load(run / "predictions.npz"), np.load(run / "meshes.npz")
    assert {*map(str, found.key)} == {*true}
    dataset = dataset_named(name)
    to_dataset = joint_map(AnnyHand().model(torch.device("cpu")), skeleton_named(dataset.skeleton))
    joints_mm = found.xyz_mm if joints_mm is None else joints_mm
    mapped = to_dataset(torch.tensor(joints_mm).float(), torch.tensor(meshes["vertices_mm"])).numpy()
    counted = mapped[:, [dataset.joints.index(joint) for joint in dataset.scored_joints]]
    return np.linalg.norm(counted - np.stack([true[str(key)] for key in found.key]), axis=-1)


@pytest.mark.parametrize("name", ["nyu", "icvl", "msra"])
def test_scored_by_the_joints_that_count(name, tmp_path):
    root = write_set(name, tmp_path / "set")
    record = run_train(config_of(name, root), tmp_path / "run", ONE_CPU).record
    joints = dataset_named(name).scored_joints
    true = truth(name, root)
    errors = errors_mm(name, tmp_path / "run", true)
    score = record.scores["adapted"]
    assert score.mean_error_mm == pytest.approx(errors.mean(), rel=1e-3)
    assert score.success_rates == pytest.approx({f"{mm}": (errors.max(1) < mm).mean() for mm in (20, 40, 80)})
    assert len(score.joint_names) == {"nyu": 11, "icvl": 15, "msra": 20}[name]
    assert f"{len(joints)} joints" in record.notes[1]
    assert any("HPE" in row.method for row in record.published)


def test_pixel_joints_are_scored_beside_the_mesh(tmp_path):
    root = write_set("nyu", tmp_path / "set")
    record = run_train(config_of("nyu", root), tmp_path / "run", ONE_CPU).record
    meshes = np.load(tmp_path / "run" / "meshes.npz")
    errors = errors_mm("nyu", tmp_path / "run", truth("nyu", root), meshes["pixel_joints_mm"])
    assert record.notes[2] == f"pixel-wise joints, instead of the mesh's: mean error of {errors.mean():.1f} mm"


@pytest.mark.parametrize(("split", "views", "count"), [("test", 1, 3), ("both", 1, 7), ("both", 3, 21)])
def test_frames_that_are_adapted_to(split, views, count, tmp_path):
    root = write_set("nyu", tmp_path / "set")
    options = DatasetOptions(views=None if views == 1 else (1, 2, 3))
    record = run_train(config_of("nyu", root, options, target_split=split), tmp_path / "run", ONE_CPU).record
    where = {"test": "the test split", "both": "both splits"}[split]
    assert f"Unlabelled: {count} images of {where} of NYU. Scored: 3" in record.notes[1]
    text = "one camera recorded each moment" if views == 1 else "fine-tuning compares 3 views of it"
    assert text in record.notes[0]


@pytest.mark.parametrize("views", [None, (1, 2, 3)])
def test_cubes_around_labelled_joints(views, tmp_path):
    root = write_set("nyu", tmp_path / "set")
    config = config_of("nyu", root, DatasetOptions(views=views, centres="labels"))
    record = run_train(config, tmp_path / "run", ONE_CPU).record
    assert "hands are cut around their labelled joints, in training and in the test" in record.notes
    frames = NYU(root, centres="labels")
    preset = preset_of("datasets/hand-depth", "multi-view-fusion")
    cut = DepthCubes(config.target, preset.model, None, SkippedList(tmp_path / "s"), 0).test(None).batch
    np.testing.assert_allclose(cut.centre_m, [frames[i].centre_m for i in range(len(frames))], atol=1e-6)


def test_three_views_and_two_stacks(tmp_path, monkeypatch):
    """The report shows them; a second call trains nothing and writes the report again."""
    root, out = write_set("nyu", tmp_path / "set"), tmp_path / "run"
    config = config_of("nyu", root, DatasetOptions(views=(1, 2, 3)), stacks=2)
    run_train(config, out, ONE_CPU)
    report = (out / "report.html").read_text()
    assert "fine-tuning compares 3 views of it" in report
    assert "frames with all errors below 20 mm" in report
    assert "stacks: 2" in (out / "recipe.yaml").read_text()
    (out / "report.html").unlink()
    monkeypatch.setattr("posebridge.training.run.Run._fit", lambda *_: pytest.fail("a stage was trained again"))
    run_train(config, out, ONE_CPU)
    assert (out / "report.html").exists()


def test_frames_that_can_not_be_used_are_listed(tmp_path, capsys):
    root = write_set("nyu", tmp_path / "set")
    (root / "train" / "depth_1_0000002.png").write_bytes(b"broken")
    (tmp_path / "run").mkdir()
    RunLayout(tmp_path / "run").unreadable.write_text('["earlier.png", "before any run began"]\n')
    record = run_train(config_of("nyu", root), tmp_path / "run", ONE_CPU).record
    assert "1 files could not be used" in capsys.readouterr().out
    assert len(record.skipped) == 1


def test_frames_without_a_hand_are_failures(tmp_path):
    """At every threshold, also where the joints happen to be near. The mean error contains what is predicted."""
    root = write_set("nyu", tmp_path / "set")
    file = root / "test" / "depth_1_0000002.png"
    wall = np.zeros((480, 640, 3), np.uint8)
    wall[..., 1:] = divmod(2001, 256)  # millimetres, beyond the range in which hands are searched
    Image.fromarray(wall).save(file)
    record = run_train(config_of("nyu", root), tmp_path / "run", ONE_CPU).record
    found, true = KeypointSet.load(tmp_path / "run" / "predictions.npz"), truth("nyu", root, centres="none")
    errors = errors_mm("nyu", tmp_path / "run", true)
    score = record.scores["adapted"]
    assert score.n_frames == 3
    assert score.mean_error_mm == pytest.approx(errors.mean(), rel=1e-3)
    hand = found.key != "depth_1_0000002"
    assert score.success_rates == pytest.approx({f"{mm}": (hand & (errors.max(1) < mm)).mean() for mm in (20, 40, 80)})
    assert any(note.startswith("no hand is found in 1 test frames: they fail") for note in record.notes)
    assert [entry.file for entry in record.skipped] == ["depth_1_0000002"]


@pytest.mark.parametrize("labelled", [False, True])
def test_second_crops_are_those_of_single_frames(tmp_path, labelled):
    """A batch of a dataset is cropped again as a frame of a stream is."""
    cubes = DepthCubes(
        DatasetRef("icvl", write_set("icvl", tmp_path / "set")), SPEC, None, SkippedList(tmp_path / "skipped"), 0
    )
    ours = predictor()
    test = cubes.test(None).batch
    first = test if labelled else test.unlabelled()
    (second,) = cubes.refined(ours, [first])
    frames = ICVL(tmp_path / "set", centres="none")
    tracker = HandTracker(ours, CubeCropConfig(SPEC.size_px, SPEC.cube_m, "left"))
    single = concatenate([tracker.detect(frames[i]).crop for i in range(len(frames))])
    torch.testing.assert_close(second.centre_m, single.centre_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(second.depth_m, single.depth_m)
    assert (second.centre_m - first.centre_m).norm(dim=1).max() > 0.005
    assert type(second) is type(first)


def test_no_label_of_the_target_is_read(tmp_path):
    root = write_set("nyu", tmp_path / "set")
    (root / "train" / "joint_data.mat").unlink()
    record = run_train(config_of("nyu", root), tmp_path / "run", ONE_CPU).record
    assert record.scores["adapted"].n_frames == 3


@pytest.mark.parametrize(
    ("name", "options", "changes", "message"),
    [
        ("icvl", {"views": (1, 2, 3)}, {}, "icvl has no option 'views': it takes rotated, centres"),
        ("nyu", {"test_subject": 5}, {}, "nyu has no option 'test_subject'"),
        (
            "nyu",
            {},
            {"source": DatasetRef("rhd", Path())},
            "renders-to-nyu trains on renders: leave --source out",
        ),
        ("nyu", {}, {"method": "geometric-reconstruction"}, "takes colour, and dataset nyu is depth: choose"),
        ("nyu", {"views": (1, 2, 3), "centres": "."}, {}, "centres of a file are those of view 1"),
        ("nyu", {}, {"hand": "left"}, "the release of nyu states which hand it shows: leave --hand out"),
        ("nyu", {}, {"encoder_weights": "timm"}, "leave --encoder-weights out: nyu is depth"),
        ("nyu", {}, {"domain": "moon"}, "no domain 'moon': choose one of studio"),
        ("nyu", {}, {"preset": "huge"}, "no preset 'huge': choose small, full"),
        ("nyu", {}, {"mano": Path("nowhere.pkl")}, "nowhere.pkl"),
    ],
)
def test_refusals(tmp_path, monkeypatch, name, options, changes, message):
    monkeypatch.setattr(renders, "RenderLoader", lambda *_, **__: pytest.fail("a set was rendered"))
    root = write_set(name, tmp_path / "set")
    config = replace(config_of(name, root, DatasetOptions(**options)), **changes)
    with pytest.raises(InputError, match=message) as error:
        run_train(config, tmp_path / "run", ONE_CPU)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere is no folder: give the one of nyu"):
        run_train(config_of("nyu", tmp_path / "nowhere"), tmp_path / "run", ONE_CPU)
