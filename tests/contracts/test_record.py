import dataclasses
import json
import math

import numpy as np
import pytest

from posebridge.contracts.record import ConfidentJoints, DepthHandPicture, Record, Redrawing
from posebridge.contracts.record_file import load_record, save_record
from posebridge.errors import InputError
from report.synthetic_record import depth_record, reconstructed_record, redrawing, score, synthetic_record


@pytest.mark.parametrize("with_truth", [True, False])
@pytest.mark.parametrize("make", [synthetic_record, reconstructed_record])
def test_survives_saving_and_loading(tmp_path, make, with_truth):
    record = make(with_truth)
    save_record(record, tmp_path / "run")
    again = load_record(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["record.json", "record.npz"]
    for field in dataclasses.fields(Record):
        if field.name not in {"gallery", "redrawings", "confident"}:
            assert getattr(again, field.name) == getattr(record, field.name), field.name
    for ours, theirs in zip(record.gallery, again.gallery, strict=True):
        assert (ours.key, ours.kind, ours.error_px) == (theirs.key, theirs.kind, theirs.error_px)
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.uv_pred, theirs.uv_pred)
        assert (ours.uv_truth is None) == (theirs.uv_truth is None)
    for ours, theirs in zip(record.redrawings, again.redrawings, strict=True):
        for field in dataclasses.fields(Redrawing):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)
        assert theirs.displacement_px.dtype == np.float32
    assert (record.confident is None) == (again.confident is None)
    if record.confident is not None and again.confident is not None:
        np.testing.assert_equal(dataclasses.asdict(again.confident), dataclasses.asdict(record.confident))


def test_hands_of_depth_survive_saving_and_loading(tmp_path):
    record = depth_record()
    save_record(record, tmp_path)
    again = load_record(tmp_path)
    assert again.depth_fits == record.depth_fits
    for ours, theirs in zip(record.depth_hands, again.depth_hands, strict=True):
        for field in dataclasses.fields(DepthHandPicture):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)
    (tmp_path / "record.npz").unlink()
    with pytest.raises(InputError, match="missing or not readable"):
        load_record(tmp_path)


def test_a_record_from_before_there_were_published_rows(tmp_path):
    save_record(synthetic_record(), tmp_path)
    numbers = json.loads((tmp_path / "record.json").read_text())
    del numbers["published"]
    (tmp_path / "record.json").write_text(json.dumps(numbers))
    assert load_record(tmp_path).published == ()


def test_a_record_from_before_there_was_reconstruction(tmp_path):
    save_record(synthetic_record(), tmp_path)
    numbers = json.loads((tmp_path / "record.json").read_text())
    del numbers["redrawings"], numbers["confident"]
    for point in numbers["pseudo_labels"]:
        del point["ever_right"], point["overlap"], point["wrong_again"]
    (tmp_path / "record.json").write_text(json.dumps(numbers))
    again = load_record(tmp_path)
    assert (again.redrawings, again.confident) == ((), None)
    assert again.pseudo_labels == synthetic_record().pseudo_labels


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"redrawn": np.zeros((128, 128, 3))}, "redrawn of the redrawing of video_07_00009 is float64"),
        ({"driving": np.zeros((64, 128, 3), np.uint8)}, "driving of the redrawing"),
        ({"base": np.zeros((128, 128), np.uint8)}, "base"),
        ({"displacement_px": np.zeros((32, 32, 3), np.float32)}, "displacement_px of"),
        ({"displacement_px": np.zeros((32, 32, 2), int)}, "displacement_px of"),
        ({"inpainting": np.zeros((32, 16), np.uint8)}, "regions of"),
        ({"regions": np.zeros((20, 32, 32), np.uint8)}, "has 20 regions"),
        ({"uv_after": np.zeros((20, 2))}, "joints of the redrawing"),
        ({"uv_truth": np.zeros((21, 3))}, "joints of the redrawing"),
    ],
)
def test_redrawings_of_odd_shapes_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(synthetic_record(), redrawings=(dataclasses.replace(redrawing(0), **change),))


def test_confident_joints_have_one_set_of_groups():
    with pytest.raises(ValueError, match="groups"):
        ConfidentJoints({"MCP": 1}, {"MCP": 0.5}, {"PIP": 0.5})


def test_nan_is_kept_and_the_file_is_plain_json(tmp_path):
    nothing = dataclasses.replace(score(0.5, 3.0), mean_error_px=math.nan, mean_error_mm=None)
    save_record(dataclasses.replace(synthetic_record(), scores={"adapted": nothing}), tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads((tmp_path / "record.json").read_text(), parse_constant=refuse)
    adapted = load_record(tmp_path).scores["adapted"]
    assert math.isnan(adapted.mean_error_px)
    assert adapted.mean_error_mm is None


def test_gap_closed():
    low, high = score(0.4, 9.0), score(0.8, 3.0)

    def gap(**scores) -> float | None:
        return dataclasses.replace(synthetic_record(), scores=scores).gap_closed

    assert gap(source_only=low, adapted=score(0.6, 5.0), supervised_target=high) == pytest.approx(0.5)
    assert gap(source_only=low, adapted=score(0.3, 9.5), supervised_target=high) == pytest.approx(-0.25)
    assert gap(source_only=low, adapted=high) is None
    assert gap(source_only=high, adapted=low, supervised_target=low) is None
    assert gap() is None


@pytest.mark.parametrize(
    "change",
    [
        {"bones": ((0, 21),)},
        {"groups": {"all": (-1,)}},
        {"joint_names": ("wrist",), "bones": (), "groups": {}},
    ],
)
def test_indices_must_fit_the_joints(change):
    with pytest.raises(ValueError, match="joints"):
        dataclasses.replace(synthetic_record(), **change)


@pytest.mark.parametrize(
    "defect", ["no folder", "cut off", "other", "list", "no arrays", "cut arrays", "half", "kind", "gap"]
)
def test_defects_are_told_in_one_line(tmp_path, defect):
    folder = tmp_path / "run"
    if defect != "no folder":
        save_record(reconstructed_record(), folder)
        text, arrays = (folder / "record.json").read_text(), (folder / "record.npz").read_bytes()
        changed = json.loads(text)
        if defect == "half":
            del changed["method"]
        if defect == "kind":
            changed["gallery"][0]["kind"] = "funny"
        texts = {"cut off": text[: len(text) // 2], "other": "{}", "list": "[1]"}
        (folder / "record.json").write_text(texts.get(defect) or json.dumps(changed))
        if defect == "no arrays":
            (folder / "record.npz").unlink()
        if defect == "gap":
            with np.load(folder / "record.npz") as archive:
                kept = {name: archive[name] for name in archive if name != "redrawing_regions_1"}
            np.savez(folder / "record.npz", **kept)
        if defect == "cut arrays":
            (folder / "record.npz").write_bytes(arrays[: len(arrays) // 2])
    with pytest.raises(InputError) as caught:
        load_record(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "gap"), [((30.0, 25.0, 20.0), 0.5), ((30.0, 35.0, 20.0), -0.5), ((20.0, 25.0, 30.0), None)]
)
def test_a_gap_in_millimetres_closes_downwards(numbers, gap):
    scores = {
        role: dataclasses.replace(score, mean_error_mm=mm)
        for (role, score), mm in zip(synthetic_record().scores.items(), numbers, strict=True)
    }
    record = dataclasses.replace(synthetic_record(), scores=scores, metric="mean_error_mm")
    assert record.gap_closed == (None if gap is None else pytest.approx(gap))
