"""ONNX graphs against the predictor in PyTorch, and against dots whose places are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deployment.rigged import SPEC, DotFinder, draw_dots, small_model, truth_of
from posebridge.data.frames import RawFrame
from posebridge.data.image_crops import CropConfig, ImageCrops, crop_images
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.onnx_export import FRAME_INPUTS, export_crops, export_frames, export_model
from posebridge.deployment.onnx_model import METADATA, OnnxModel
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError

onnx = pytest.importorskip("onnx", reason="the extra onnx isn't installed")
pytestmark = pytest.mark.slow
DOTS = (
    np.array([[60.3, 50.2], [90.7, 71.5], [75.1, 95.8]]),
    np.array([[120.4, 60.9], [150.2, 80.3], [131.6, 110.1]]),
)
BOXES = ([40.0, 30.0, 110.0, 115.0], [100.0, 40.0, 172.0, 130.0])
K = np.array([[210.0, 0.0, 99.5], [0.0, 205.0, 74.5], [0.0, 0.0, 1.0]])


def frames(mirrored: bool = False, camera: bool = False) -> list[RawFrame]:
    hand = "left" if mirrored else "right"
    return [
        RawFrame(draw_dots(200, 150, dots), f"{i}", K=K if camera else None, box_xyxy=np.array(box), hand=hand)
        for i, (dots, box) in enumerate(zip(DOTS, BOXES, strict=True))
    ]


def crops(shown: list[RawFrame]) -> ImageCrops:
    return crop_images(shown, CropConfig(SPEC.size_px, hand="annotated"))


@pytest.fixture(scope="module")
def finder(tmp_path_factory) -> OnnxModel:
    return export_crops(SPEC, DotFinder(), tmp_path_factory.mktemp("finder") / "finder.onnx")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of random weights, its ONNX file, and what the export returned."""
    folder = tmp_path_factory.mktemp("trained")
    small_model(folder)
    return folder, folder / "hand.onnx", export_model(folder, folder / "hand.onnx")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("camera", [False, True])
def test_joints_lie_on_the_dots(finder, mirrored, camera):
    shown = frames(mirrored, camera)
    found = finder.predict_crops(crops(shown))
    for uv_px, dots in zip(found.uv_px, DOTS, strict=True):
        assert np.abs(uv_px - truth_of(dots)).max() < 1.0
    ours = PosePredictor(SPEC, DotFinder()).predict_crops(crops(shown))
    np.testing.assert_allclose(found.uv_px, ours.uv_px, atol=1e-3)
    np.testing.assert_allclose(found.xyz_mm, ours.xyz_mm, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.confidence, ours.confidence, atol=1e-5)
    assert found.joint_names == ours.joint_names
    assert [*found.key] == ["0", "1"]


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_crops(trained, count):
    folder, file, exported = trained
    assert exported.difference_px < 1e-3
    loaded = load_model(folder)
    batch = crops([*frames(), *frames(mirrored=True), frames()[0]][:count])
    found = OnnxModel.load(file, threads=1).predict_crops(batch)
    expected = PosePredictor(loaded.spec, loaded.network).predict_crops(batch)
    np.testing.assert_allclose(found.uv_px, expected.uv_px, atol=1e-3)


def test_whole_frames_with_boxes(tmp_path):
    """Joints lie on the dots, for one and three boxes in frames of two sizes."""
    import onnxruntime

    export_frames(SPEC, DotFinder(), tmp_path / "frames.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "frames.onnx", providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == [*FRAME_INPUTS]
    for shown, box, dots in zip(frames(), BOXES, DOTS, strict=True):
        for count, side in ((1, 1), (3, 4)):
            picture = shown.image.repeat(side, axis=0).repeat(side, axis=1)
            boxes = side * (np.array([box] * count) + 0.5) - 0.5
            mirror = np.arange(count) % 2 == 1
            inputs = (picture, boxes.astype(np.float32), mirror, np.zeros((3, 3), np.float32))
            uv_px, confidence, xyz_mm = session.run(None, dict(zip(FRAME_INPUTS, inputs, strict=True)))
            expected = side * (truth_of(dots) + 0.5) - 0.5
            assert np.abs(uv_px - expected).max() < side
            assert confidence.shape == (count, 21)
            assert np.isfinite(xyz_mm).all()


def test_models_without_lengths_return_no_millimetres(tmp_path):
    spec = replace(SPEC, reference_length_m=None)
    model = export_crops(spec, DotFinder(), tmp_path / "flat.onnx")
    assert model.predict_crops(crops(frames())).xyz_mm is None


def test_not_finite_output_is_refused(finder):
    batch = crops(frames())
    batch.T_crop_file[1, 0, 2] = np.nan
    with pytest.raises(InputError, match=r"^1: the network's output is not finite"):
        finder.predict_crops(batch)


def test_files_that_are_refused(trained, tmp_path):
    def message(path: Path) -> str:
        with pytest.raises(InputError) as error:
            OnnxModel.load(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    _, file, _ = trained
    assert "No such file" in message(tmp_path / "absent.onnx")
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:-5000])
    assert "can't be loaded as an ONNX file" in message(tmp_path / "cut.onnx")
    model = onnx.load(file)
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA)
    described = entry.value
    for text, expected in (
        ("{", "metadata are damaged"),
        ("[]", "metadata are damaged"),
        (described.replace('"format": 1', '"format": 2'), "has format 2, this version reads 1"),
    ):
        entry.value = text
        onnx.save(model, tmp_path / "other.onnx")
        assert expected in message(tmp_path / "other.onnx")
    entry.key = "another"
    onnx.save(model, tmp_path / "other.onnx")
    assert "was not written by posebridge export" in message(tmp_path / "other.onnx")


def test_exports_that_are_refused(tmp_path):
    small_model(tmp_path)
    with pytest.raises(InputError, match=r"end it with \.onnx"):
        export_model(tmp_path, tmp_path / "hand.pt")
    cube = replace(SPEC, maps=replace(SPEC.maps, cube_m=0.25))
    network = load_model(tmp_path).network
    save_model(tmp_path / "depth", cube, network)
    with pytest.raises(InputError, match="models of depth are not exported"):
        export_model(tmp_path / "depth", tmp_path / "depth.onnx")
    assert not (tmp_path / "depth.onnx").exists()
