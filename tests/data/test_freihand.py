import json
import random

import numpy as np
import pytest
from PIL import Image

from data.on_disk import write_image
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.freihand import FreiHAND
from posebridge.errors import InputError

SAMPLES = 3
K = [[480.0, 0, 112], [0, 470, 111], [0, 0, 1]]


def small_set(tmp_path):
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-0.08, 0.08, (SAMPLES, 21, 3)) + np.array([0, 0, 0.7])
    for split in ("training", "evaluation"):
        (tmp_path / f"{split}_K.json").write_text(json.dumps([K] * SAMPLES))
        (tmp_path / f"{split}_xyz.json").write_text(json.dumps(xyz.tolist()))
    (tmp_path / "training_verts.json").write_text(json.dumps(rng.normal(size=(SAMPLES, 778, 3)).tolist()))
    for number in range(2 * SAMPLES):  # two of the four backgrounds
        write_image(tmp_path / "training" / "rgb" / f"{number:08d}.jpg", 224, 224)
    (tmp_path / "training" / "mask").mkdir()
    for sample in range(SAMPLES):
        mask = np.zeros((224, 224, 3), np.uint8)
        mask[:, : 40 * (sample + 1)] = 255
        Image.fromarray(mask).save(tmp_path / "training" / "mask" / f"{sample:08d}.jpg")
        write_image(tmp_path / "evaluation" / "rgb" / f"{sample:08d}.jpg", 224, 224)
    return tmp_path, xyz


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_versions_share_their_sample(root):
    folder, xyz = root
    freihand = FreiHAND(folder, vertices=True)
    frames = list(freihand)
    assert [frame.key for frame in frames] == [f"{n:08d}" for n in range(6)]
    assert [(frame.view, frame.frame) for frame in frames] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert freihand.skipped == {}
    for n in range(6):
        labels = freihand.labels(n)
        np.testing.assert_array_equal(labels.joints_m, xyz[n % 3])
        assert labels.mask[:, : 40 * (n % 3 + 1) - 8].all()
        assert not labels.mask[:, 40 * (n % 3 + 1) + 8 :].any()
        assert labels.vertices_m.shape == (778, 3)
        for (x, y, z), uv in zip(xyz[n % 3], labels.uv_px, strict=True):
            np.testing.assert_allclose(uv, [480 * x / z + 112, 470 * y / z + 111])
    assert len(FreiHAND(folder, versions=(1,))) == 3


def test_evaluation_and_crop(root):
    crops = LabelledCrops(FreiHAND(root[0], "test"), CropConfig(112, hand="annotated"))
    sample = crops[2]
    assert sample.T_crop_file[0, 0, 0] == 0.5  # a right hand stays as it is
    assert sample.mask is None
    np.testing.assert_allclose(sample.camera.project(sample.joints_m), sample.uv_px, atol=1e-3)
    assert sample.visible.sum() == ((sample.uv_px > -0.5) & (sample.uv_px < 111.5)).all(-1).sum()


def test_missing_images_of_a_version_are_listed(root):
    (root[0] / "training" / "rgb" / "00000001.jpg").unlink()
    freihand = FreiHAND(root[0])
    assert len(freihand) == 5
    assert list(freihand.skipped) == [str(root[0] / "training" / "rgb" / "00000001.jpg")]


def test_the_public_benchmarks_split(root):
    numbers = [f"{n:08d}" for n in (0, 1, 2, 3, 4, 5)]  # two versions are there
    random.seed(42)
    random.shuffle(numbers)
    assert [frame.key for frame in FreiHAND(root[0], "test", benchmark_split=True)] == numbers[:1]
    assert {frame.key for frame in FreiHAND(root[0], "train", benchmark_split=True)} == set(numbers[1:])


def test_a_hand_of_impossible_size_is_listed(root):
    folder, xyz = root
    xyz = xyz.copy()
    xyz[1] *= 100
    (folder / "training_xyz.json").write_text(json.dumps(xyz.tolist()))
    freihand = FreiHAND(folder)
    assert [frame.frame for frame in freihand] == [0, 2, 0, 2]
    ((where, reason),) = freihand.skipped.items()
    assert where.endswith("training_xyz.json sample 1")
    assert "expected 20 to 500 mm" in reason


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("training_xyz.json", "[[[1, 2, 3]]]", "expected a list of 21 x 3"),
        ("training_xyz.json", "{", "not JSON"),
        ("training_xyz.json", json.dumps([[[0, 0, 1]] * 21]), "has 1 samples"),
        ("training_xyz.json", json.dumps([[[0, 0, float("nan")]] * 21]), "sample 0 is not finite"),
        ("training_K.json", json.dumps([K, K[:2]]), "expected a list of 3 x 3"),
        (
            "training_xyz.json",
            json.dumps([[[0, j, 600] for j in range(21)]] * 3),
            "hands measure 2e\\+04 mm across a hand's joints, expected metres of",
        ),
        ("training_K.json", json.dumps([K, [[0, 0, 112], K[1], K[2]], K]), "sample 1: the intrinsics .* impossible"),
        ("training_K.json", '["a"]', "expected a list of 3 x 3"),
    ],
)
def test_bad_annotations(root, file, text, message):
    (root[0] / file).write_text(text)
    with pytest.raises(InputError, match=rf"{file}.*{message}"):
        FreiHAND(root[0])


def test_absent_annotations_or_images(root):
    for file in (root[0] / "training" / "rgb").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no image"):
        FreiHAND(root[0])
    (root[0] / "evaluation_xyz.json").unlink()
    with pytest.raises(InputError, match=r"evaluation_xyz\.json: .*without labels, open the folder of images"):
        FreiHAND(root[0], "test")
