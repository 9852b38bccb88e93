import json
from pathlib import Path

import numpy as np
import pytest

from data.on_disk import write_image
from data.people import facing
from posebridge.data.datasets.coco import CocoPeople
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, MPII16

SAMPLES = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats" / "body" / "coco"


def keypoints(labelled: int = 17) -> list[int]:
    """Row i at (30 + 10 or -10, i), left ones on the right; the last of the labelled ones hidden."""
    flat: list[int] = []
    for i, name in enumerate(COCO17.joints):
        v = 0 if i >= labelled else 1 if i == labelled - 1 else 2
        flat += [30 + 10 * ("left" in name) - 10 * ("right" in name), i, v] if v else [0, 0, 0]
    return flat


def annotation(number: int, image: int, points: list[int], **more) -> dict:
    counted = sum(1 for v in points[2::3] if v)
    return {"id": number, "image_id": image, "keypoints": points, "num_keypoints": counted, "iscrowd": 0} | more


def small_set(tmp_path):
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 60, "height": 40} for i in (139, 285, 632)],
        "annotations": [
            annotation(1, 139, keypoints(), bbox=[5.5, 0, 40, 30], category_id=1),
            annotation(2, 139, keypoints(0), bbox=[1, 1, 8, 8], category_id=1),
            annotation(3, 139, keypoints(), bbox=[0, 0, 60, 40], category_id=1, iscrowd=1),
            annotation(4, 285, keypoints(5), bbox=[2, 1, 30, 30], category_id=1),
            annotation(5, 632, keypoints(), bbox=[2, 1, 30, 30], category_id=1),
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    for i in (139, 285):
        write_image(tmp_path / "val2017" / f"{i:012d}.jpg", 60, 40)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_people(root):
    coco = CocoPeople(root, "test")
    assert [frame.key for frame in coco] == ["000000000139", "000000000285"]  # no crowd, no person without joints
    np.testing.assert_array_equal(coco[0].box_xyxy, [5.5, 0, 45.5, 30])
    assert facing(COCO17, coco.labels(0))
    assert coco.labels(0).visible.sum() == 16
    assert coco.labels(1).valid.sum() == 5
    (reason,) = coco.skipped.values()
    assert "000000000632.jpg is missing" in reason
    assert CocoPeople(root, "test", MPII16).labels(0).valid.sum() == 12


def test_absent_annotations_are_refused(root):
    with pytest.raises(InputError, match=r"annotations/person_keypoints_train2017\.json: No such file"):
        CocoPeople(root)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample of COCO in {SAMPLES}")
def test_real_sample(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/person_keypoints_val2017.json").symlink_to(SAMPLES / "test_coco.json")
    (tmp_path / "val2017").symlink_to(SAMPLES)
    coco = CocoPeople(tmp_path, "test")
    assert len(coco) == 12  # of 14 annotations, two without a labelled joint
    assert coco.skipped == {}
    for index in range(len(coco)):
        frame, labels = coco[index], coco.labels(index)
        x0, y0, x1, y1 = frame.box_xyxy
        uv = labels.uv_px[labels.valid]
        assert ((uv > [x0 - 2, y0 - 2]) & (uv < [x1 + 2, y1 + 2])).mean() > 0.9  # one annotated box is too short
