"""``predict`` with an ONNX file: without PyTorch, and with the outputs of ``predict`` with the model itself."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.on_disk import truncate
from deployment.rigged import draw_dots, small_model
from deployment.test_predict_files import DOTS, write_dots, write_dots_video
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.estimator import load_estimator
from posebridge.deployment.onnx_model import OnnxModel
from posebridge.errors import InputError

onnx = pytest.importorskip("onnx", reason="the extra onnx isn't installed")
pytestmark = pytest.mark.slow

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning", "timm", "kornia"):
            raise ImportError(f"{name} is imported")
sys.meta_path.insert(0, Blocked())
"""
PREDICT = WITHOUT_TORCH + "from posebridge.cli.main import main; sys.exit(main(sys.argv[1:]))"
LOAD = (
    WITHOUT_TORCH
    + """
from pathlib import Path
import numpy as np, posebridge
poses = posebridge.load(sys.argv[1]).predict(np.load(sys.argv[2]), boxes=[30, 12, 95, 78], hand="left")
poses.save(sys.argv[3])
"""
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The folder of a model, with ``hand.onnx`` in it."""
    folder = tmp_path_factory.mktemp("model")
    small_model(folder)
    assert main(["export", str(folder), "--out", str(folder / "hand.onnx")]) == 0
    return folder


def write_photos(folder: Path) -> Path:
    """Photographs with every orientation, a broken one, and boxes with hands for all but one."""
    write_dots(folder, 3)
    truncate(folder / "view.2.png")
    exif = Image.Exif()
    for value in range(1, 9):
        exif[0x0112] = value
        Image.fromarray(draw_dots(120, 90, DOTS + value)).save(folder / f"turned.{value}.png", exif=exif)
    rows = [f"turned.{i},{9 + i},{4.5 * i},{58 + i},{51 + i},{'left' if i % 2 else 'right'}" for i in range(1, 9)]
    boxes = folder.parent / "boxes.csv"
    boxes.write_text("\n".join(["key,x0,y0,x1,y1,hand", "view.0,30,12,95,78,left", *rows, ""]))
    return boxes


def predicted(model: Path, source: Path, out: Path, *flags: object) -> KeypointSet:
    """By PyTorch in this process, or by ONNX Runtime in one that can't import torch."""
    arguments = ["predict", str(model), str(source), "--out", str(out), *map(str, flags)]
    if model.suffix == ".onnx":
        done = subprocess.run([sys.executable, "-c", PREDICT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        assert main([*arguments, "--device", "cpu"]) == 0
    return KeypointSet.load(out / "predictions.npz")


def check_equal(found: KeypointSet, expected: KeypointSet) -> None:
    assert found.key.tolist() == expected.key.tolist()
    assert found.joint_names == expected.joint_names
    np.testing.assert_allclose(found.uv_px, expected.uv_px, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.xyz_mm, expected.xyz_mm, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)


def files_below(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_photographs_with_boxes(model, tmp_path):
    boxes = write_photos(tmp_path / "in")
    flags = ("--boxes", boxes, "--padding", 1.2, "--intrinsics", 90, 92, 59.5, 44.5, "--formats", "coco", "csv", "glb")
    runs = {}
    for name, path in (("torch", model), ("onnx", model / "hand.onnx")):
        runs[name] = predicted(path, tmp_path / "in", tmp_path / name, *flags, "--batch-size", 4)
    check_equal(runs["onnx"], runs["torch"])
    assert len(runs["onnx"]) == 9
    assert files_below(tmp_path / "onnx") == files_below(tmp_path / "torch")
    assert "overlays/turned.6.jpg" in files_below(tmp_path / "onnx")
    skipped = [json.loads((tmp_path / name / "skipped.json").read_text()) for name in runs]
    assert skipped[0]["reasons"] == skipped[1]["reasons"]
    assert skipped[1]["reasons"].keys() == {"view.1", str(tmp_path / "in" / "view.2.png")}


def test_video(model, tmp_path):
    write_dots_video(tmp_path / "clip.mp4", 9)
    runs = {}
    for name, path in (("torch", model), ("onnx", model / "hand.onnx")):
        runs[name] = predicted(path, tmp_path / "clip.mp4", tmp_path / name, "--every", 2, "--hand", "left")
    check_equal(runs["onnx"], runs["torch"])
    assert runs["onnx"].key.tolist() == [f"clip_{i:06d}" for i in (0, 2, 4, 6, 8)]
    assert (tmp_path / "onnx" / "overlays" / "clip.mp4").is_file()


def test_worker_processes(model, tmp_path):
    write_dots(tmp_path / "in", 5)
    here = predicted(model / "hand.onnx", tmp_path / "in", tmp_path / "here", "--batch-size", 2)
    arguments = ["predict", model / "hand.onnx", tmp_path / "in", "--out", tmp_path / "there", "--batch-size", "2"]
    assert main([*map(str, arguments), "--workers", "2"]) == 0
    check_equal(KeypointSet.load(tmp_path / "there" / "predictions.npz"), here)


def test_arrays(model, tmp_path):
    image = draw_dots(120, 90, DOTS)
    np.save(tmp_path / "image.npy", image)
    arguments = [model / "hand.onnx", tmp_path / "image.npy", tmp_path / "poses.npz"]
    subprocess.run([sys.executable, "-c", LOAD, *map(str, arguments)], check=True)
    expected = load_estimator(model, "cpu").predict(image, boxes=[30, 12, 95, 78], hand="left")
    expected.save(tmp_path / "expected.npz")
    check_equal(KeypointSet.load(tmp_path / "poses.npz"), KeypointSet.load(tmp_path / "expected.npz"))


def test_a_pickled_model_needs_no_file(model, tmp_path):
    file = tmp_path / "moved.onnx"
    file.write_bytes((model / "hand.onnx").read_bytes())
    loaded = OnnxModel.load(file)
    content = pickle.dumps(loaded)
    file.unlink()
    crops = ImageCrops(("a",), np.full((1, 64, 64, 3), 90, np.uint8), np.eye(3)[None])
    np.testing.assert_array_equal(pickle.loads(content).predict_crops(crops).uv_px, loaded.predict_crops(crops).uv_px)


def test_refusals_are_one_line(model, tmp_path, capsys):
    write_dots(tmp_path / "in", 1)
    file = model / "hand.onnx"
    content = onnx.load(file)
    described = content.metadata_props[0]
    description = json.loads(described.value)
    files = {
        "absent.onnx": (None, "No such file"),
        "cut.onnx": (file.read_bytes()[:-3000], "can't be loaded as an ONNX file"),
        "text.onnx": (b"no model", "can't be loaded as an ONNX file"),
    }
    for name, changes, message in (
        ("octopus.onnx", {"skeleton": "octopus8"}, "no skeleton 'octopus8'"),
        ("shuffled.onnx", {"joint_names": description["joint_names"][::-1]}, "its joints are not those of hand21"),
        ("small.onnx", {"size_px": 32}, "its metadata are damaged"),
    ):
        described.value = json.dumps(description | changes)
        files[name] = (content.SerializeToString(), message)
    for name, (data, message) in files.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        assert main(["predict", str(tmp_path / name), str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / name}")
        assert message in error
        assert error.count("\n") == 1
    arguments = ["predict", str(file), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cuda"]
    assert main(arguments) == 2
    assert "ONNX files run on the CPU" in capsys.readouterr().err
    with pytest.raises(InputError, match="leave mano out"):
        load_estimator(file, mano=tmp_path / "MANO_RIGHT.pkl")


def test_threads_follow_the_environment(model, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert OnnxModel.load(model / "hand.onnx").session.get_session_options().intra_op_num_threads == 1
    assert OnnxModel.load(model / "hand.onnx", threads=2).session.get_session_options().intra_op_num_threads == 2
