import copy
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from data.on_disk import truncate, write_image
from data.people import facing, person
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.mpii import MPII
from posebridge.errors import InputError
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.orders import ORDERS

SAMPLES = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats" / "body" / "mpii"
HEAD_TOP, RIGHT_WRIST = 9, 10


def joints(shift: float = 0.0) -> np.ndarray:
    """(16, 2) from (1, 1)."""
    return person(ORDERS["mpii"], 1)[0, :, :2] * 60 + [70 + shift, 60]


def records() -> list[dict]:
    def record(image, shift, hidden=()):
        uv, seen = joints(shift), [int(j not in hidden) for j in range(16)]
        uv[list(hidden)] = -1
        return {"image": image, "joints": uv.tolist(), "joints_vis": seen, "center": [70 + shift, 55], "scale": 0.5}

    return [record("a.jpg", 0), record("b.jpg", 0, (HEAD_TOP,)), record("b.jpg", 30)]


def open_json(folder, content, **options) -> MPII:
    (folder / "train.json").write_text(json.dumps(content))
    return MPII(folder / "train.json", folder / "images", **options)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.jpg", 140, 120)
    return tmp_path


def release(people: list[list[dict]], training: list[int]) -> dict:
    """The nested structure of the release, as scipy writes structures."""
    images = np.empty(len(people), dtype=object)
    for i, rectangles in enumerate(people):
        rows = np.empty(len(rectangles), dtype=object)
        rows[:] = rectangles
        images[i] = {"image": {"name": f"{'ab'[i]}.jpg"}, "annorect": rows if len(rows) != 1 else rows[0]}
    return {"RELEASE": {"annolist": images, "img_train": np.array(training, np.uint8), "version": "12"}}


def rectangle(shift: float = 0.0, leave_out: tuple[int, ...] = ()) -> dict:
    points = np.empty(16 - len(leave_out), dtype=object)
    for row, joint in enumerate(j for j in range(16) if j not in leave_out):
        x, y = joints(shift)[joint]
        flag = np.array([]) if joint in (8, 9) else str(int(joint != RIGHT_WRIST))
        points[row] = {"x": x, "y": y, "id": joint, "is_visible": flag}
    place = {"x": 70.0 + shift, "y": 55.0}
    return {"annopoints": {"point": points}, "scale": 0.5, "objpos": place, "x1": 1, "y1": 1}


def test_people_of_the_json(folder):
    mpii = open_json(folder, records())
    assert [frame.key for frame in mpii] == ["a", "b_0", "b_1"]
    for index, shift in ((0, 0), (2, 30)):
        labels = mpii.labels(index)
        np.testing.assert_allclose(labels.uv_px, joints(shift) - 1)
        assert labels.valid.all()
        assert facing(MPII16, labels)
    absent = mpii.labels(1)
    assert np.flatnonzero(~absent.valid).tolist() == [HEAD_TOP]
    assert (absent.uv_px[HEAD_TOP] == 0).all()
    # 200 px at scale 0.5, a quarter more; 15 px at scale 0.5 below the centre (69, 54).
    np.testing.assert_allclose(mpii[0].box_xyxy, [69 - 62.5, 61.5 - 62.5, 69 + 62.5, 61.5 + 62.5])
    crop = LabelledCrops(mpii, CropConfig(125))[0]
    np.testing.assert_allclose(crop.uv_px[0, 0], joints()[0] - 1 - [6.5, -1.0] - 0.5, atol=1e-4)


def test_files_of_one_name_in_two_folders_have_different_keys(folder):
    people = records()
    for record, name in zip(people, ("walk/1.jpg", "run/1.jpg", "run/1.jpg"), strict=True):
        write_image(folder / "images" / name, 140, 120)
        record["image"] = name
    assert [frame.key for frame in open_json(folder, people)] == ["walk/1", "run/1_0", "run/1_1"]


def test_people_of_the_release(folder):
    savemat(
        folder / "mpii.mat", release([[rectangle()], [rectangle(leave_out=(0,)), {"x1": 3}, rectangle(30)]], [1, 1])
    )
    mpii = MPII(folder / "mpii.mat", folder / "images")
    assert [frame.key for frame in mpii] == ["a", "b_0", "b_1"]
    labels = mpii.labels(0)
    np.testing.assert_allclose(labels.uv_px, joints() - 1)
    assert np.flatnonzero(~labels.visible).tolist() == [RIGHT_WRIST]
    assert np.flatnonzero(~mpii.labels(1).valid).tolist() == [0]
    np.testing.assert_allclose(mpii[2].box_xyxy, open_json(folder, records())[2].box_xyxy)
    savemat(folder / "mpii.mat", release([[rectangle()], [rectangle(30)]], [0, 1]))
    assert [frame.key for frame in MPII(folder / "mpii.mat", folder / "images")] == ["b"]  # the other is for testing


def test_broken_people_are_listed(folder):
    content = records()
    content += [copy.deepcopy(content[0]) for _ in range(6)]
    content[3]["image"] = "c.jpg"
    content[4]["joints"] = content[4]["joints"][:7]
    content[5]["joints_vis"] = [0] * 16
    content[6]["scale"] = -1
    content[7]["joints"][3] = [1, float("nan")]
    del content[8]["center"]
    mpii = open_json(folder, content)
    assert len(mpii) == 3
    assert mpii.skipped == {
        f"{folder}/images/c.jpg": "the file is missing",
        f"{folder}/train.json person 4": "joints is 7 x 2, expected 16 x 2",
        f"{folder}/train.json person 5": "no joint is labelled",
        f"{folder}/train.json person 6": "its scale -1 is impossible: expected its height over 200 px",
        f"{folder}/train.json person 7": "its joints or its centre are not finite",
        f"{folder}/train.json person 8": "center is a single number, expected 2",
    }
    broken = rectangle(30)
    del broken["objpos"]
    savemat(folder / "mpii.mat", release([[rectangle()], [broken]], [1, 1]))
    mpii = MPII(folder / "mpii.mat", folder / "images")
    assert len(mpii) == 1
    assert "its structure is broken" in mpii.skipped[f"{folder}/mpii.mat image 1 person 0"]


def test_other_files_are_refused(folder):
    for content, message in (
        ({}, "expected a list of people"),
        ([], "it annotates no person"),
        ([3], "it names no image"),
    ):
        with pytest.raises(InputError, match=rf"train\.json.*{message}"):
            open_json(folder, content)
    (folder / "train.json").write_text("{")
    with pytest.raises(InputError, match=r"train\.json: not JSON"):
        MPII(folder / "train.json", folder / "images")
    with pytest.raises(InputError, match=r"valid\.json: No such file.*without labels, open the folder"):
        MPII(folder / "valid.json", folder / "images")
    savemat(folder / "mpii.mat", {"RELEASE": {"other": 1}})
    with pytest.raises(InputError, match=r"mpii\.mat: RELEASE is not that of MPII"):
        MPII(folder / "mpii.mat", folder / "images")
    savemat(folder / "mpii.mat", release([[rectangle()]] * 2, [1, 1]))
    truncate(folder / "mpii.mat")
    with pytest.raises(InputError, match=r"mpii\.mat"):
        MPII(folder / "mpii.mat", folder / "images")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample of MPII in {SAMPLES}")
def test_real_sample():
    mpii = MPII(SAMPLES / "test_mpii.json", SAMPLES)
    assert len(mpii) == 5
    assert mpii.skipped == {}
    for index in range(5):
        frame, labels = mpii[index], mpii.labels(index)
        height, width = frame.shape
        uv = labels.uv_px[labels.valid]
        assert ((uv > -1) & (uv < [width, height])).all()
        x0, y0, x1, y1 = frame.box_xyxy
        assert ((uv > [x0, y0]) & (uv < [x1, y1])).mean() > 0.9
        assert labels.uv_px[MPII16.index("head_top"), 1] < labels.uv_px[MPII16.index("pelvis"), 1]
