"""Predictions in formats of other tools, read back by those tools."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from deployment.test_predict_files import DOTS, dots_of, write_dots, write_dots_video
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.datasets.coco_keypoints import CocoKeypoints
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.target import TargetConfig
from posebridge.deployment import torch_crops
from posebridge.deployment.csv_file import COLUMNS, keypoints_csv
from posebridge.deployment.estimator import ImageEstimator
from posebridge.deployment.exports import Exports
from posebridge.deployment.frame_info import FrameInfo
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.predict_config import ExportFormat
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17
from posebridge.skeletons.hand import HAND21


@pytest.fixture(autouse=True)
def rigged(monkeypatch):
    """The model finds the joints by construction."""
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], SPEC, DotFinder()))


def export(source: Path, out: Path, *formats: ExportFormat, **target) -> KeypointSet:
    options = {"overlays": 0, "device": "cpu", "formats": formats}
    config = PredictConfig(Path("model"), TargetConfig(source, **target), out, **options)
    return KeypointSet.load(predict_files(config).predictions)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_coco_evaluation_of_predictions_against_themselves_is_perfect(tmp_path):
    write_dots(tmp_path / "in", 3)
    export(tmp_path / "in", tmp_path / "out", "coco")
    truth = COCO(str(tmp_path / "out" / "coco_annotations.json"))
    results = truth.loadRes(str(tmp_path / "out" / "coco_results.json"))
    evaluation = COCOeval(truth, results, "keypoints")
    evaluation.params.kpt_oks_sigmas = np.full(21, 0.05)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval["precision"].min() == 1
    assert evaluation.eval["recall"].min() == 1
    (category,) = truth.loadCats(truth.getCatIds())
    assert category["keypoints"] == list(HAND21.joints)
    ends = [[category["keypoints"][end - 1] for end in bone] for bone in category["skeleton"]]
    assert ["thumb_1", "thumb_2"] in ends
    assert ["wrist", "index_1"] in ends
    assert len(ends) == 20


def test_coco_has_names_and_pixels_of_images(tmp_path):
    write_dots(tmp_path / "in" / "day 1", 2)
    write_dots(tmp_path / "in" / "day 2", 2)
    export(tmp_path / "in", tmp_path / "out", "coco")
    coco = COCO(str(tmp_path / "out" / "coco_annotations.json"))
    names = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
    assert [*names] == ["day 1/view.0.png", "day 1/view.1.png", "day 2/view.0.png", "day 2/view.1.png"]
    for name, number in names.items():
        assert (tmp_path / "in" / name).is_file()
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        joints = np.reshape(annotation["keypoints"], (21, 3))
        np.testing.assert_allclose(joints[:, :2], truth_of(dots_of(int(name[-5]))), atol=0.5)
        assert (joints[:, 2] == 2).all()
        x, y, width, height = annotation["bbox"]
        np.testing.assert_allclose([x, y], joints[:, :2].min(0))
        np.testing.assert_allclose([x + width, y + height], joints[:, :2].max(0))


def test_coco_is_upright_and_npz_and_csv_are_stored(tmp_path):
    """Each joint lies on its disc where OpenCV reads the picture, which is upright. The reader of COCO files agrees."""
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    for value in range(1, 9):
        exif[0x0112] = value
        Image.fromarray(draw_dots(120, 90, DOTS)).save(tmp_path / "in" / f"{value}.png", exif=exif)
    (tmp_path / "boxes.json").write_text(json.dumps({str(value): [1, 2, 89, 88] for value in range(1, 9)}))
    found = export(tmp_path / "in", tmp_path / "out", "coco", "csv", boxes=tmp_path / "boxes.json", padding=1.5)
    np.testing.assert_allclose(found.uv_px, np.tile(truth_of(DOTS), (8, 1, 1)), atol=0.6)
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    in_table = np.array([[row["u_px"], row["v_px"]] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(in_table, found.uv_px.reshape(-1, 2))
    coco = COCO(str(tmp_path / "out" / "coco_annotations.json"))
    for value in range(1, 9):
        image = cv2.imread(str(tmp_path / "in" / f"{value}.png"))
        assert coco.imgs[value]["file_name"] == f"{value}.png"
        assert (coco.imgs[value]["height"], coco.imgs[value]["width"]) == image.shape[:2]
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[value]))
        joints = np.reshape(annotation["keypoints"], (21, 3))[:3, :2].round().astype(int)
        # In BGR: the wrist is red, the first joint of the thumb blue, the second one green.
        np.testing.assert_array_equal([image[v, u] for u, v in joints], [[0, 0, 255], [255, 0, 0], [0, 255, 0]])
        assert annotation["bbox"] == [1, 2, 88, 86]
    reader = CocoKeypoints(tmp_path / "out" / "coco_annotations.json", tmp_path / "in", HAND21)
    assert len(reader) == 8
    for i in (0, 4, 5, 6, 7):
        centre = np.argwhere(reader[i].rgb[..., 0] > 200).mean(0)[::-1]
        np.testing.assert_allclose(reader.labels(i).uv_px[0], centre, atol=0.6)
    for i in (1, 2, 3):  # upright and stored pictures have one size, from which the reader can't tell them apart
        with pytest.raises(UnreadableFrameError, match="have the same size"):
            reader[i]


def test_coco_ids_are_names_that_are_numbers(tmp_path):
    names_of = {"a": ("000000000139", "000000000285"), "b": ("0139", "139"), "c": ("1" * 20, "2")}
    ids = {}
    for folder, names in names_of.items():
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(draw_dots(120, 90, DOTS)).save(tmp_path / folder / f"{name}.png")
        export(tmp_path / folder, tmp_path / "out" / folder, "coco")
        ids[folder] = sorted(COCO(str(tmp_path / "out" / folder / "coco_annotations.json")).imgs)
    assert ids == {"a": [139, 285], "b": [1, 2], "c": [1, 2]}


def test_several_videos(tmp_path):
    write_dots_video(tmp_path / "in" / "left cam.mp4", 7)
    write_dots_video(tmp_path / "in" / "right.mp4", 4)
    found = export(tmp_path / "in", tmp_path / "out", "coco", "csv", "glb", every=3)
    coco = json.loads((tmp_path / "out" / "coco_annotations.json").read_text())
    assert coco["videos"] == [{"id": 1, "name": "left cam.mp4"}, {"id": 2, "name": "right.mp4"}]
    assert [(image["file_name"], image["video_id"], image["frame_id"]) for image in coco["images"]] == [
        ("left cam_000000.jpg", 1, 0),
        ("left cam_000003.jpg", 1, 3),
        ("left cam_000006.jpg", 1, 6),
        ("right_000000.jpg", 2, 0),
        ("right_000003.jpg", 2, 3),
    ]
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 5 * 21
    assert (rows[65]["key"], rows[65]["joint"]) == ("right_000000", HAND21.joints[2])
    arrays = {"x_mm": found.xyz_mm[..., 0], "z_mm": found.xyz_mm[..., 2], "confidence": found.confidence}
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.array([row[name] for row in rows], dtype=np.float32), array.reshape(-1))
    animations = sorted(path.name for path in (tmp_path / "out" / "animations").iterdir())
    assert animations == ["left cam.glb", "right.glb"]


def test_names_that_are_not_utf8(tmp_path):
    """Files are UTF-8 with the escapes of JSON; a reader of JSON gets the name back."""
    name = os.fsdecode(b"Mu\xf1oz, A")
    (tmp_path / "in").mkdir()
    Image.fromarray(draw_dots(120, 90, DOTS)).save(tmp_path / "in" / f"{name}.png")
    export(tmp_path / "in", tmp_path / "out", "coco", "csv")
    content = json.loads((tmp_path / "out" / "coco_annotations.json").read_text(encoding="utf-8"))
    assert (tmp_path / "in" / content["images"][0]["file_name"]).is_file()
    assert read_csv(tmp_path / "out" / "predictions.csv")[0]["key"] == r"Mu\udcf1oz, A"


def test_joints_without_millimetres_have_empty_cells(tmp_path, monkeypatch):
    flat = replace(SPEC, reference_length_m=None)
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], flat, DotFinder()))
    write_dots(tmp_path / "in", 2)
    target = TargetConfig(tmp_path / "in")
    done = predict_files(PredictConfig(Path("model"), target, tmp_path / "out", overlays=0, formats=("csv", "glb")))
    assert {row["x_mm"] for row in read_csv(tmp_path / "out" / "predictions.csv")} == {""}
    assert "no .glb: it needs joints in millimetres" in str(done)
    assert "also written: predictions.csv" in str(done)
    assert not list((tmp_path / "out").rglob("*.glb"))


def test_missing_joints():
    uv_px = np.full((1, 17, 2), 5.0, np.float32)
    uv_px[0, 3] = np.nan
    uv_px[0, 4] = 9
    keypoints = KeypointSet(np.array(["a"]), COCO17.joints, uv_px, confidence=np.full((1, 17), 0.5, np.float32))
    assert keypoints_csv(keypoints).decode().splitlines()[4] == "a,left_ear,,,0.5,,,"
    files = Exports.of(("coco",), Path(), Path(), COCO17).coco(keypoints, [FrameInfo("a", "", 0, 0, (20, 10))])
    content = json.loads(files["coco_annotations.json"])
    (annotation,) = content["annotations"]
    assert annotation["keypoints"][9:12] == [0, 0, 0]
    assert annotation["num_keypoints"] == 16
    assert annotation["bbox"] == [5, 5, 4, 4]
    assert annotation["score"] == round(0.5 * 16 / 17, 4)
    assert content["categories"][0]["name"] == "person"


def test_earlier_exports_are_removed(tmp_path):
    write_dots(tmp_path / "in", 2)
    export(tmp_path / "in", tmp_path / "out", "coco", "csv", "glb")
    everything = {path.name for path in (tmp_path / "out").iterdir()}
    assert everything >= {"coco_annotations.json", "coco_results.json", "predictions.csv", "predictions.glb"}
    export(tmp_path / "in", tmp_path / "out", "csv")
    remaining = {path.name for path in (tmp_path / "out").iterdir()}
    assert remaining == {"predictions.npz", "predict.yaml", "predictions.csv", "skipped.json"}


def test_command(tmp_path, capsys):
    write_dots(tmp_path / "in", 1)
    typed = ["predict", "model", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*typed, "--formats", "coco", "csv"]) == 0
    assert "also written: coco_annotations.json, coco_results.json, predictions.csv" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*typed, "--formats", "bvh"])


def test_poses_in_memory_are_saved_as_a_table(tmp_path):
    poses = ImageEstimator(PosePredictor(SPEC, DotFinder())).predict(draw_dots(120, 90, DOTS))
    poses.save(tmp_path / "poses.csv")
    rows = read_csv(tmp_path / "poses.csv")
    assert [row["joint"] for row in rows] == list(poses.joint_names)
    assert np.float32(rows[4]["u_px"]) == poses.uv_px[0, 4, 0]


def test_sequences_that_lead_out_of_the_folder_are_refused(tmp_path):
    keypoints = KeypointSet(np.array(["a"]), HAND21.joints, xyz_mm=np.random.default_rng(0).normal(size=(1, 21, 3)))
    exports = Exports(("glb",), tmp_path, tmp_path, HAND21)
    with pytest.raises(InputError, match="is no name of a file"):
        exports.write(keypoints, {"a": FrameInfo("a", "../up", 0, 0, (4, 4))})
