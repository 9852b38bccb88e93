import dataclasses
import json
import math

import numpy as np
import pytest

from posebridge.contracts.record import Record
from posebridge.contracts.record_file import load_record, save_record
from posebridge.errors import InputError
from report.synthetic_record import score, synthetic_record


@pytest.mark.parametrize("with_truth", [True, False])
def test_survives_saving_and_loading(tmp_path, with_truth):
    record = synthetic_record(with_truth)
    save_record(record, tmp_path / "run")
    again = load_record(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["record.json", "record.npz"]
    for field in dataclasses.fields(Record):
        if field.name != "gallery":
            assert getattr(again, field.name) == getattr(record, field.name), field.name
    for ours, theirs in zip(record.gallery, again.gallery, strict=True):
        assert (ours.key, ours.kind, ours.error_px) == (theirs.key, theirs.kind, theirs.error_px)
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.uv_pred, theirs.uv_pred)
        assert (ours.uv_truth is None) == (theirs.uv_truth is None)


def test_a_record_from_before_there_were_published_rows(tmp_path):
    save_record(synthetic_record(), tmp_path)
    numbers = json.loads((tmp_path / "record.json").read_text())
    del numbers["published"]
    (tmp_path / "record.json").write_text(json.dumps(numbers))
    assert load_record(tmp_path).published == ()


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


@pytest.mark.parametrize("defect", ["no folder", "cut off", "other", "list", "no arrays", "cut arrays", "half", "kind"])
def test_defects_are_told_in_one_line(tmp_path, defect):
    folder = tmp_path / "run"
    if defect != "no folder":
        save_record(synthetic_record(), folder)
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
