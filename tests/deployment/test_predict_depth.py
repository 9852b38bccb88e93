import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.rendered_depth import SIDE, UNIT_M, hands, write_archive, write_rig
from deployment.depth_hands import save_small
from deployment.rigged import small_model
from posebridge.cameras.multiview import transform
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthTargetConfig, open_depth
from posebridge.deployment import predict_depth
from posebridge.deployment.depth_estimator import DepthEstimator
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.predict_depth import PredictDepthConfig, predict_depth_files
from posebridge.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def batch():
    return hands()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_small(folder)
    return folder


def test_written_files(batch, model, tmp_path):
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    done = predict_depth_files(PredictDepthConfig(model, DepthTargetConfig(file), tmp_path / "out", overlays=2))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"clip-{i}" for i in range(6)]
    assert done.frames == 6
    meshes = np.load(tmp_path / "out" / "meshes.npz")
    assert meshes["vertices_mm"].shape[0] == 6
    assert meshes["key"].tolist() == found.key.tolist()
    # Joints are within the mesh, and pixel-wise joints in the cube of 0.25 m.
    to_skin_mm = np.linalg.norm(found.xyz_mm[:, :, None] - meshes["vertices_mm"][:, None], axis=-1).min(2)
    assert to_skin_mm.max() < 30
    assert 30 < np.abs(meshes["pixel_joints_mm"] - found.xyz_mm).max() < 300
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["clip-0.jpg", "clip-1.jpg"]
    assert json.loads((tmp_path / "out" / "skipped.json").read_text()) == {"used": 6, "skipped": 0, "reasons": {}}


def test_frames_are_cropped_twice(batch, model, tmp_path):
    """As streams are, of which each frame is detected anew; arrays in memory and files alike."""
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    done = predict_depth_files(PredictDepthConfig(model, DepthTargetConfig(file), tmp_path / "out", overlays=0))
    loaded = load_model(model, DEPTH_HAND)
    predictor = DepthHandPredictor(loaded.spec, loaded.network)
    tracker = HandTracker(predictor, CubeCropConfig(loaded.spec.size_px, loaded.spec.cube_m))
    frames = list(open_depth(DepthTargetConfig(file)))
    single = [tracker.detect(frame).hands.joints_m[0].numpy() for frame in frames]
    found = KeypointSet.load(done.predictions).xyz_mm
    np.testing.assert_allclose(found, 1000 * np.stack(single), atol=0.1)
    arrays = DepthEstimator(predictor, loaded.spec.cube_m).predict(frames[0].depth_m, intrinsics=frames[0].K)
    np.testing.assert_allclose(arrays.xyz_mm[0], found[0], atol=0.1)


def test_earlier_predictions_are_replaced(batch, model, tmp_path):
    """Earlier predictions are removed; other files in the folder are kept."""
    first = write_archive(tmp_path / "first.npz", batch, T_world_cam=None)
    second = write_archive(tmp_path / "second.npz", batch, T_world_cam=None)
    out, own = tmp_path / "out", tmp_path / "out" / "overlays" / "notes.txt"

    def files_of(file, *how) -> set[str]:
        predict_depth_files(PredictDepthConfig(model, DepthTargetConfig(file), out, *how))
        return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}

    (out / "overlays").mkdir(parents=True)
    own.touch()
    always = {"predictions.npz", "predict.yaml", "skipped.json", "overlays/notes.txt"}
    assert files_of(first, "npz", False, 2) == {*always, "meshes.npz", "overlays/first-0.jpg", "overlays/first-1.jpg"}
    (out / "hands.rrd").touch()
    plys = {f"meshes/second-{i}.ply" for i in range(6)}
    assert files_of(second, "ply", False, 1) == {*always, *plys, "overlays/second-0.jpg"}
    assert files_of(first, "none", False, 0) == always


def test_inputs_are_not_overwritten(batch, model, tmp_path):
    file = write_archive(tmp_path / "meshes.npz", batch)
    with pytest.raises(InputError, match="is an input and would be replaced"):
        predict_depth_files(PredictDepthConfig(model, DepthTargetConfig(file), tmp_path, "none", False, 0))
    assert file.is_file()


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_views_of_a_moment_share_a_batch(batch, model, tmp_path, size):
    folder = write_rig(tmp_path / "rig", batch)
    target = DepthTargetConfig(folder, unit_mm=1000 * UNIT_M)
    done = predict_depth_files(PredictDepthConfig(model, target, tmp_path / "out", "none", False, 0, size))
    found = KeypointSet.load(done.predictions)
    T = batch.T_world_cam[:3].repeat(2, 1, 1)
    world = transform(T, torch.from_numpy(found.xyz_mm) / 1000).unflatten(0, (2, 3))
    assert (world - world[:, :1]).norm(dim=-1).max() < 1e-5
    assert not (tmp_path / "out" / "meshes.npz").exists()


def test_predict_depth_command(batch, model, tmp_path, capsys):
    file = write_archive(tmp_path / "clip.npz", batch)
    out = tmp_path / "out"
    assert main(["predict-depth", str(model), str(file), "--out", str(out), "--meshes", "ply", "--follow"]) == 0
    assert "6 frames in" in capsys.readouterr().out
    assert len(list((out / "meshes").glob("*.ply"))) == 6
    assert len(list((out / "overlays").glob("*.jpg"))) == 6


def test_fit_steps_by_the_command(batch, model, tmp_path):
    file = write_archive(tmp_path / "clip.npz", batch)
    found = []
    for name, flags in (("predicted", []), ("fitted", ["--fit-steps", "3"])):
        typed = ["predict-depth", str(model), str(file), "--out", str(tmp_path / name), "--overlays", "0", *flags]
        assert main(typed) == 0
        found.append(KeypointSet.load(tmp_path / name / "predictions.npz").xyz_mm)
    assert 1 < np.linalg.norm(found[1] - found[0], axis=-1).mean() < 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fit-steps", "-1"], "fitting can't take -1 steps"),
        (["--batch-size", "0"], "batch size 0 is impossible"),
        (["--intrinsics", "1", "1", "0", "0"], "leave --intrinsics and --centres out"),
        (["--device", "cuda:77"], "device cuda:77 can't be used"),
    ],
)
def test_invalid_flags_are_refused(batch, model, tmp_path, capsys, flags, message):
    file = write_archive(tmp_path / "clip.npz", batch)
    assert main(["predict-depth", str(model), str(file), "--out", str(tmp_path / "out"), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("predict", ["--follow"]),
        ("predict", ["--meshes", "ply"]),
        ("predict", ["--depth-unit-mm", "0.1"]),
        ("predict", ["--fit-steps", "9"]),
        ("predict-depth", ["--padding", "2"]),
        ("predict-depth", ["--boxes", "b.csv"]),
        ("predict-depth", ["--hand", "annotated"]),
    ],
)
def test_flags_of_the_other_command(tmp_path, capsys, command, flags):
    with pytest.raises(SystemExit) as ended:
        main([command, str(tmp_path / "m"), str(tmp_path), "--out", str(tmp_path / "out"), *flags])
    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_models_of_the_other_command(model, tmp_path, capsys):
    small_model(tmp_path / "m")
    for command, folder in (("predict", model), ("predict-depth", tmp_path / "m")):
        assert main([command, str(folder), str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        other = {"predict": "predict-depth", "predict-depth": "predict"}[command]
        assert f"use it with posebridge {other}" in error


def test_frames_without_a_hand_are_listed(batch, model, tmp_path):
    depth_m = batch.depth_m.numpy().copy()
    depth_m[2] = 0
    file = write_archive(tmp_path / "clip.npz", batch, depth_m=depth_m, T_world_cam=None)
    for follow in (False, True):
        config = PredictDepthConfig(model, DepthTargetConfig(file), tmp_path / "out", follow=follow, overlays=0)
        done = predict_depth_files(config)
        assert done.frames == 5
        assert done.skipped == {"clip-2": "the frame has no depth at all"}
    file = write_archive(tmp_path / "none.npz", batch, depth_m=np.zeros((6, SIDE, SIDE), np.float32))
    for follow in (False, True):
        with pytest.raises(InputError, match=r"no depth at all|no frame can be predicted"):
            predict_depth_files(replace(config, target=DepthTargetConfig(file), follow=follow))


def test_interrupted_predictions_are_kept(batch, model, tmp_path, monkeypatch):
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)

    def stop(self, crops, hands):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_depth.DepthOverlays, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        predict_depth_files(PredictDepthConfig(model, DepthTargetConfig(file), tmp_path / "out", batch_size=2))
    partial = KeypointSet.load(tmp_path / "out" / "predictions.partial.npz")
    assert len(partial) == 3  # the views of the first moment
    assert not (tmp_path / "out" / "predictions.npz").exists()


def test_meshes_do_not_stay_in_memory(batch, model, tmp_path, monkeypatch):
    """A frame has 10 KB of vertices; its keypoints, 2 KB, stay."""
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    config = PredictDepthConfig(model, DepthTargetConfig(file), tmp_path / "out", overlays=0)
    predict = predict_depth._each

    def peak_bytes(batches: int) -> int:
        def repeated(*inputs):
            for crops, found in predict(*inputs):
                for i in range(batches):
                    yield replace(crops, key=tuple(f"{i}-{key}" for key in crops.key)), found

        monkeypatch.setattr(predict_depth, "_each", repeated)
        tracemalloc.start()
        assert predict_depth_files(config).frames == 6 * batches
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(20), peak_bytes(80)
    assert (many - few) / (6 * 60) < 4000
    assert np.load(tmp_path / "out" / "meshes.npz")["vertices_mm"].shape[0] == 6 * 80
