"""``import posebridge`` and ``posebridge.load``: quick to import, and the same numbers as the command ``predict``."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import posebridge
from data.on_disk import truncate, write_pictures
from data.rendered_depth import UNIT_M, hands, write_archive, write_rig
from deployment.depth_hands import save_small
from deployment.rigged import SPEC, draw_dots, small_model
from posebridge.bodies.joint_maps import joint_map
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target_config import DepthTargetConfig, TargetConfig
from posebridge.deployment.depth_estimator import DepthEstimator
from posebridge.deployment.estimator import ImageEstimator
from posebridge.deployment.predict_config import PredictConfig, PredictDepthConfig
from posebridge.deployment.predict_depth import predict_depth_files
from posebridge.deployment.predict_files import predict_files
from posebridge.skeletons.depth_hands import ICVL16, NYU14

pytestmark = pytest.mark.usefixtures("one_thread")
DOTS = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])
IMAGES = [draw_dots(120, 90, DOTS + np.array([1.7, -0.9]) * i) for i in range(3)]
BOXES = np.array([[30.0, 12, 95, 78], [35, 10, 100, 72], [20, 5, 99, 80]])
SIDES = ("left", "right", "left")
K = (150.0, 155.0, 60.0, 44.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    small_model(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{i:06d}.png")
    rows = (f"{i:06d},{','.join(map(str, box))},{side}" for i, (box, side) in enumerate(zip(BOXES, SIDES, strict=True)))
    (folder / "boxes.csv").write_text("\n".join(["key,x0,y0,x1,y1,hand", *rows]))
    return folder


@pytest.fixture
def estimator(model) -> ImageEstimator:
    found = posebridge.load(model, device="cpu")
    assert isinstance(found, ImageEstimator)
    return found


def by_command(model, out, target: TargetConfig) -> KeypointSet:
    return KeypointSet.load(predict_files(PredictConfig(model, target, out, overlays=0, device="cpu")).predictions)


def check_equal(poses, expected: KeypointSet) -> None:
    assert list(poses.keys) == expected.key.tolist()
    assert poses.joint_names == expected.joint_names
    for name in ("uv_px", "xyz_mm", "confidence"):
        np.testing.assert_array_equal(getattr(poses, name), getattr(expected, name))


def test_import_is_quick():
    code = (
        "import time; start = time.perf_counter(); import posebridge; took = time.perf_counter() - start\n"
        "import sys; sys.exit(took > 0.2 or 'torch' in sys.modules or 'load' not in dir(posebridge))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'predict_everything'"):
        _ = posebridge.predict_everything


def test_arrays_are_predicted_like_files(model, images, estimator, tmp_path):
    target = TargetConfig(images, images / "boxes.csv", padding=1.3, intrinsics_px=K)
    expected = by_command(model, tmp_path, target)
    arrays = estimator.predict(IMAGES, BOXES, SIDES, K, padding=1.3)
    check_equal(arrays, expected)
    check_equal(estimator.predict(images, images / "boxes.csv", intrinsics=K, padding=1.3), expected)
    matrix = np.array([[K[0], 0, K[2]], [0, K[1], K[3]], [0, 0, 1]])
    check_equal(estimator.predict(iter(IMAGES), iter(BOXES), iter(SIDES), matrix, padding=1.3), expected)
    arrays.save(tmp_path / "saved.npz")
    check_equal(arrays, KeypointSet.load(tmp_path / "saved.npz"))


@pytest.mark.parametrize("hand", [None, "left", "right"])
def test_whole_images(model, images, estimator, tmp_path, hand):
    expected = by_command(model, tmp_path, TargetConfig(images, hand=hand))
    check_equal(estimator.predict(np.stack(IMAGES), hand=hand), expected)
    check_equal(estimator.predict(str(images), hand=hand), expected)


def test_one_image(images, estimator):
    array, stack = estimator.predict(IMAGES[0], BOXES[0], "left"), estimator.predict(IMAGES[:1], BOXES[:1], ["left"])
    assert array.uv_px.shape == (*array.xyz_mm.shape[:2], 2) == (1, 21, 2)
    np.testing.assert_array_equal(array.uv_px, stack.uv_px)
    np.testing.assert_array_equal(estimator.predict(images / "000000.png").uv_px, estimator.predict(IMAGES[0]).uv_px)


def test_frames_of_a_video(model, estimator, tmp_path):
    file = tmp_path / "clip.mp4"
    write_pictures(file, IMAGES)
    expected = by_command(model, tmp_path / "out", TargetConfig(file))
    check_equal(estimator.predict(file), expected)
    with av.open(str(file)) as container:
        frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        found = estimator.predict(frames, batch_size=2)
    np.testing.assert_allclose(found.uv_px, expected.uv_px, atol=1e-3)


def test_broken_files_are_listed(images, estimator, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(IMAGES[0]).save(tmp_path / f"{name}.jpg")
    truncate(tmp_path / "a.jpg")
    found = estimator.predict(tmp_path)
    assert found.keys == ("b",)
    assert list(found.skipped) == [str(tmp_path / "a.jpg")]


def test_models_without_reference_length_predict_no_metres(tmp_path):
    small_model(tmp_path, replace(SPEC, reference_length_m=None))
    assert posebridge.load(tmp_path, "cpu").predict(IMAGES).xyz_mm is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES[0].astype(np.float32)}, "image 0 is float32 of shape"),
        ({"images": IMAGES[0][..., 0]}, r"image 0 is uint8 of shape \(90, 120\)"),
        ({"images": [IMAGES[0], "a.png"]}, "image 1 is a str"),
        ({"images": torch.zeros(3, 4, 4)}, "image 0 is a Tensor"),
        ({"images": 7}, "a int is no input"),
        ({"images": []}, "there is no image"),
        ({"images": "no/such/file.png"}, "no such file or folder"),
        ({"images": IMAGES, "boxes": BOXES[:2]}, "2 boxes for 3 frames"),
        ({"images": iter(IMAGES), "boxes": iter(BOXES[:2])}, "frame 2 has no box"),
        ({"images": IMAGES[0], "boxes": BOXES[0][:3]}, "is not four numbers"),
        ({"images": IMAGES[0], "boxes": BOXES[0] + 500}, "lies outside the image"),
        ({"images": IMAGES, "hand": "both"}, "hand 'both'"),
        ({"images": IMAGES, "hand": "annotated"}, "hand 'annotated'"),
        ({"images": IMAGES, "hand": ["left", "up", "right"]}, "hand 'up' of image 1"),
        ({"images": IMAGES, "intrinsics": (1, 2)}, "give fx fy cx cy"),
        ({"images": IMAGES, "intrinsics": (0.9, 1.2, 0.5, 0.5)}, "expected pixels"),
        ({"images": IMAGES, "padding": 0}, "padding 0"),
        ({"images": IMAGES, "batch_size": 0}, "batch size 0"),
    ],
)
def test_bad_input_is_one_line(estimator, arguments, message):
    with pytest.raises(posebridge.InputError, match=message) as error:
        estimator.predict(**arguments)
    assert "\n" not in str(error.value)


def test_files_and_arrays_do_not_mix(images, estimator):
    with pytest.raises(posebridge.InputError, match="boxes of files must be a file"):
        estimator.predict(images, BOXES)
    with pytest.raises(posebridge.InputError, match="for files give left, right or annotated"):
        estimator.predict(images, hand=SIDES)


@pytest.fixture(scope="module")
def depth_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth-model")
    save_small(folder)
    return folder


@pytest.fixture(scope="module")
def batch():
    return hands()


def test_depth_is_predicted_like_files(batch, depth_model, tmp_path):
    rig = write_rig(tmp_path / "rig", batch)
    archive = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    estimator = posebridge.load(depth_model, "cpu")
    assert isinstance(estimator, DepthEstimator)
    for name, target, unit_mm in (("a", rig, 1000 * UNIT_M), ("b", archive, 1.0)):
        config = DepthTargetConfig(target, unit_mm=unit_mm)
        done = predict_depth_files(PredictDepthConfig(depth_model, config, tmp_path / name, overlays=0, device="cpu"))
        found = estimator.predict(target, unit_mm=unit_mm)
        check_equal(found, KeypointSet.load(done.predictions))
        saved = np.load(tmp_path / name / "meshes.npz")
        np.testing.assert_array_equal(found.meshes.vertices_mm, saved["vertices_mm"])


def test_depth_arrays(batch, depth_model):
    estimator = posebridge.load(depth_model, "cpu")
    depth_m, K = batch.depth_m[0].numpy(), batch.camera.K[0].numpy().astype(float)
    steps = np.round(depth_m / UNIT_M).astype(np.uint16)
    centre_mm = 1000 * batch.centre_m[0].numpy()
    metres = estimator.predict((steps * np.float32(UNIT_M)), intrinsics=K, centres=centre_mm)
    counted = estimator.predict([steps, steps], intrinsics=K, unit_mm=1000 * UNIT_M, centres=[centre_mm, centre_mm])
    assert counted.keys == ("000000", "000001")
    np.testing.assert_allclose(counted.xyz_mm[:1], metres.xyz_mm, atol=1e-2)
    empty = estimator.predict([steps, 0 * steps], intrinsics=K, unit_mm=1000 * UNIT_M)
    assert empty.keys == ("000000",)
    assert "no depth at all" in empty.skipped["000001"]


@pytest.mark.parametrize("skeleton", [NYU14, ICVL16], ids=lambda skeleton: skeleton.name)
def test_joints_of_datasets(batch, depth_model, tmp_path, skeleton):
    """The joints of the same meshes as without the option, from Python and in files."""
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    estimator = posebridge.load(depth_model, "cpu")
    own, found = estimator.predict(file), estimator.predict(file, joints=skeleton.name)
    np.testing.assert_array_equal(own.meshes.vertices_mm, found.meshes.vertices_mm)
    to_dataset = joint_map(estimator.predictor.hand.model(torch.device("cpu")), skeleton)
    vertices = torch.from_numpy(own.meshes.vertices_mm)
    for joints, mapped in (
        (own.xyz_mm, found.xyz_mm),
        (own.meshes.pixel_joints_mm, found.meshes.pixel_joints_mm),
    ):
        np.testing.assert_allclose(mapped, to_dataset(torch.from_numpy(joints), vertices), atol=0.01)
    assert found.joint_names == skeleton.joints
    assert found.uv_px.shape == (6, len(skeleton), 2)
    assert found.confidence.shape == (6, len(skeleton))
    config = posebridge.PredictDepthConfig(
        depth_model, DepthTargetConfig(file), tmp_path / "out", overlays=1, device="cpu", joints=skeleton.name
    )
    check_equal(found, KeypointSet.load(posebridge.predict(config).predictions))
    saved = np.load(tmp_path / "out" / "meshes.npz")
    np.testing.assert_array_equal(found.meshes.pixel_joints_mm, saved["pixel_joints_mm"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": np.ones((4, 4)), "joints": "mpii16"}, "no joints 'mpii16': choose hand21, nyu14, icvl16"),
        ({"depth": np.ones((4, 4)), "intrinsics": None}, "depth needs its camera's intrinsics"),
        ({"depth": np.ones((4, 4), int)}, "depth 0 is int64"),
        ({"depth": [np.ones(4)]}, r"depth 0 is of shape \(4,\)"),
        ({"depth": np.full((4, 4), 700.0)}, "median of 700 m"),
        ({"depth": np.ones((4, 4)), "hand": "both"}, "neither left nor right"),
        ({"depth": np.ones((4, 4)), "unit_mm": 0.0}, "a unit of 0 mm"),
        ({"depth": np.ones((4, 4)), "centres": [1, 2]}, "is not three numbers"),
        ({"depth": np.ones((4, 4)), "reach_m": (2.0, 1.0)}, "two rising distances"),
        ({"depth": []}, "there is no depth"),
        ({"depth": np.zeros((4, 4))}, "no depth at all"),
    ],
)
def test_bad_depth_is_one_line(depth_model, arguments, message):
    with pytest.raises(posebridge.InputError, match=message) as error:
        posebridge.load(depth_model, "cpu").predict(**{"intrinsics": (100, 100, 2, 2), **arguments})
    assert "\n" not in str(error.value)


def test_superfluous_mano_is_refused(model, depth_model, tmp_path):
    for folder in (model, depth_model):
        with pytest.raises(posebridge.InputError, match="leave"):
            posebridge.load(folder, "cpu", mano=tmp_path / "MANO_RIGHT.pkl")


@pytest.mark.usefixtures("small_sizes")
def test_adapt_matches_the_command(adapted, target, tmp_path, monkeypatch):
    """Relative paths become absolute, so that the run can be resumed from another folder."""
    monkeypatch.chdir(target.images.parent)
    path, truth = target.images.name, target.truth.name
    config = posebridge.AdaptConfig(
        method="mean-teacher",
        target=posebridge.TargetConfig(Path(path)),
        source="renders",
        domain="studio",
        truth=Path(truth),
    )
    record = posebridge.adapt(config, tmp_path / "run", posebridge.Hardware(accelerator="cpu", precision="32"))
    assert (tmp_path / "run" / "config.yaml").read_text() == (adapted[0] / "config.yaml").read_text()
    assert {*record.scores} == {"source_only", "adapted"}
    found, expected = (KeypointSet.load(folder / "predictions.npz") for folder in (tmp_path / "run", adapted[0]))
    np.testing.assert_allclose(found.uv_px, expected.uv_px, atol=1e-3)


def test_predict_and_score(model, images, depth_model, batch, tmp_path):
    config = posebridge.PredictConfig(model, posebridge.TargetConfig(images), tmp_path / "a", overlays=0, device="cpu")
    done = posebridge.predict(config)
    assert done.frames == len(IMAGES)
    truth = KeypointSet.load(done.predictions)
    replace(truth, xyz_mm=None).save(tmp_path / "labels.npz")  # an untrained model predicts no hand in space
    scores = posebridge.score(done.predictions, str(tmp_path / "labels.npz"), posebridge.ScoreOptions(image_size=100))
    assert (scores.mean_error_px, scores.pck["0.05"]) == (0, 1)
    depth = posebridge.DepthTargetConfig(write_archive(tmp_path / "clip.npz", batch, T_world_cam=None))
    done = posebridge.predict(
        posebridge.PredictDepthConfig(depth_model, depth, tmp_path / "b", overlays=0, device="cpu")
    )
    assert (tmp_path / "b" / "meshes.npz").is_file()


def test_render(tmp_path):
    rendered = posebridge.render(posebridge.RenderConfig("studio", count=2, size_px=16), str(tmp_path / "set"))
    assert (rendered.index.samples, rendered.rendered) == (2, 2)


def test_every_public_name_exists():
    for name in posebridge.__all__:
        assert getattr(posebridge, name).__name__ == name
