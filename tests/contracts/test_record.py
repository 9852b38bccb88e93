import dataclasses
import json
import math

import numpy as np
import pytest

from posebridge.contracts.record import GalleryFrame, Record
from posebridge.contracts.record_file import load_record, save_record
from posebridge.contracts.section import Section
from posebridge.errors import InputError
from report.reconstructed_record import reconstructed_record
from report.synthetic_record import score, synthetic_record
from report.synthetic_sections import depth_record, toy_section


def assert_same(ours, theirs, place: str = "record") -> None:
    """Equal in all fields and items, arrays by shape, type and value; NaN equals NaN."""
    assert type(ours) is type(theirs) or {type(ours), type(theirs)} <= {int, float}, place
    if dataclasses.is_dataclass(ours):
        for field in dataclasses.fields(ours):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name), f"{place}.{field.name}")
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs), place
        for key in ours:
            assert_same(ours[key], theirs[key], f"{place}[{key}]")
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs), place
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{place}[{i}]")
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=place)
        assert not isinstance(ours, np.ndarray) or ours.dtype == theirs.dtype, place


def everything() -> Record:
    return dataclasses.replace(synthetic_record(), sections=(toy_section("all"), Section("bare")))


@pytest.mark.parametrize(
    "record",
    [*(make(truth) for make in (synthetic_record, reconstructed_record) for truth in (True, False)), everything()],
)
def test_survives_saving_and_loading(tmp_path, record):
    save_record(record, tmp_path / "run")
    again = load_record(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["record.json", "record.npz"]
    assert_same(record, again)


def test_depth_sections_survive_saving_and_loading(tmp_path):
    record = depth_record()
    save_record(record, tmp_path)
    assert_same(record, load_record(tmp_path))
    (tmp_path / "record.npz").unlink()
    with pytest.raises(InputError, match="missing or not readable"):
        load_record(tmp_path)


def test_arrays_are_not_in_the_text(tmp_path):
    save_record(everything(), tmp_path)
    image = json.loads((tmp_path / "record.json").read_text())["sections"][0]["picture_rows"][0]["pictures"][1]["image"]
    with np.load(tmp_path / "record.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive[image], everything().sections[0].pictures[1].image)


def test_absent_fields_have_their_defaults(tmp_path):
    save_record(synthetic_record(), tmp_path)
    numbers = json.loads((tmp_path / "record.json").read_text())
    del numbers["published"], numbers["sections"]
    (tmp_path / "record.json").write_text(json.dumps(numbers))
    again = load_record(tmp_path)
    assert (again.published, again.sections) == ((), ())


def test_records_of_the_former_format_are_refused(tmp_path):
    save_record(synthetic_record(), tmp_path)
    numbers = json.loads((tmp_path / "record.json").read_text())
    (tmp_path / "record.json").write_text(json.dumps({**numbers, "format": 1, "redrawings": []}))
    with pytest.raises(InputError) as caught:
        load_record(tmp_path)
    path = tmp_path / "record.json"
    assert str(caught.value) == f"{path} was written by an earlier version of posebridge: run the command again"


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_gallery_images_are_rgb_bytes(image):
    with pytest.raises(ValueError, match="gallery frame k is"):
        GalleryFrame("k", "sample", image, np.zeros((21, 2)))


def test_poses_of_sections_have_the_joints_of_the_record():
    section = toy_section("odd")
    with pytest.raises(ValueError, match="picture 'odd caption' of section 'odd section' has 21 joints, expected 1"):
        Record("one joint", "none", ("wrist",), (), synthetic_record().provenance, sections=(section,))


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
    "defect",
    ["no folder", "cut off", "other", "list", "no arrays", "cut arrays", "half", "kind", "gap", "other arrays", "type"],
)
def test_defects_raise_one_line(tmp_path, defect):
    folder = tmp_path / "run"
    if defect != "no folder":
        save_record(reconstructed_record(), folder)
        text, arrays = (folder / "record.json").read_text(), (folder / "record.npz").read_bytes()
        changed = json.loads(text)
        if defect == "half":
            del changed["method"]
        if defect == "type":
            changed["sections"][0]["picture_rows"][0]["numbers"][0]["value"] = True
        if defect == "kind":
            changed["gallery"][0]["kind"] = "funny"
        texts = {"cut off": text[: len(text) // 2], "other": "{}", "list": "[1]"}
        (folder / "record.json").write_text(texts.get(defect) or json.dumps(changed))
        if defect == "no arrays":
            (folder / "record.npz").unlink()
        if defect == "gap":
            with np.load(folder / "record.npz") as archive:
                assert "sections/0/picture_rows/1/pictures/2/image" in archive
                kept = {name: archive[name] for name in archive if name != "sections/0/picture_rows/1/pictures/2/image"}
            np.savez(folder / "record.npz", **kept)
        if defect == "other arrays":
            with (folder / "record.npz").open("wb") as file:
                np.save(file, np.zeros(3))
        if defect == "cut arrays":
            (folder / "record.npz").write_bytes(arrays[: len(arrays) // 2])
    with pytest.raises(InputError) as caught:
        load_record(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "gap"), [((30.0, 25.0, 20.0), 0.5), ((30.0, 35.0, 20.0), -0.5), ((20.0, 25.0, 30.0), None)]
)
def test_gap_closed_for_errors_in_millimetres(numbers, gap):
    scores = {
        role: dataclasses.replace(score, mean_error_mm=mm)
        for (role, score), mm in zip(synthetic_record().scores.items(), numbers, strict=True)
    }
    record = dataclasses.replace(synthetic_record(), scores=scores, metric="mean_error_mm")
    assert record.gap_closed == (None if gap is None else pytest.approx(gap))
