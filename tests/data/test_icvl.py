from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.depth_on_disk import assert_joints_on_the_blob, hand_places
from data.depth_releases import write_icvl_frame
from data.on_disk import truncate
from posebridge.data.datasets.icvl import ICVL
from posebridge.errors import InputError
from posebridge.skeletons.depth_hands import ICVL16

BENCHMARK = Path(__file__).resolve().parents[3] / "shared" / "data" / "depth_benchmark_icvl"


def small_set(tmp_path):
    """Two test sequences, the first of more than ten frames, listed in an order of their own."""
    for sequence, count in ((1, 11), (2, 2)):
        names = [f"test_seq_{sequence}/image_{i}.png" for i in range(count)]
        lines = [write_icvl_frame(tmp_path / "Testing" / "Depth", name, seed) for seed, name in enumerate(names)]
        (tmp_path / "Testing" / f"test_seq_{sequence}.txt").write_text("".join(reversed(lines)))
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_joints_lie_on_the_blob(root):
    icvl = ICVL(root)
    assert len(icvl) == 13
    for index in (0, 5, 12):
        frame, labels = icvl[index], icvl.labels(index)
        assert frame.image is None
        assert labels.valid.all()
        assert_joints_on_the_blob(labels.uv_px, labels.joints_m, frame.depth_m)
    places = hand_places((0.02, 0.01, 0.45))  # seed 10, listed first
    np.testing.assert_allclose(icvl.labels(0).joints_m, [places[joint] for joint in ICVL16.joints], atol=1e-5)


def test_frames_are_in_the_order_of_the_lists(root):
    icvl = ICVL(root)
    assert [icvl[i].key for i in (0, 1, 10, 11)] == [
        *("test_seq_1/image_10", "test_seq_1/image_9", "test_seq_1/image_0", "test_seq_2/image_1")
    ]
    assert [icvl[i].frame for i in (0, 12)] == [0, 12]
    assert icvl[12].sequence == "test_seq_2"


def test_unlabelled_frames_need_no_list(root):
    for sequence in (1, 2):
        (root / "Testing" / f"test_seq_{sequence}.txt").unlink()
    icvl = ICVL(root)
    assert [icvl[i].key for i in (0, 9, 10)] == ["test_seq_1/image_0", "test_seq_1/image_9", "test_seq_1/image_10"]
    with pytest.raises(InputError, match="frames can be used without"):
        icvl.labels(0)
    with pytest.raises(InputError, match="no list of joints"):
        next(iter(ICVL(root, centres="labels")))  # no blob centre replaces them silently


def test_rotated_training_images_are_left_out(tmp_path):
    names = ["201403121135/image_0000.png", "22-5/201403121135/image_0000.png", "-45/201403121135/image_0001.png"]
    depth = tmp_path / "Training" / "Depth"
    lines = [write_icvl_frame(depth, name, seed) for seed, name in enumerate(names)]
    (tmp_path / "Training" / "labels.txt").write_text("".join([lines[1], lines[0], lines[2]]))
    upright = ICVL(tmp_path, "train")
    assert [frame.key for frame in upright] == ["201403121135/image_0000"]
    assert upright.skipped == {}
    assert_joints_on_the_blob(upright.labels(0).uv_px, upright.labels(0).joints_m, upright[0].depth_m)
    assert len(ICVL(tmp_path, "train", rotated=True)) == 3
    file = tmp_path / "centres.txt"
    file.write_text("1 1 400\n2 2 500\n3 3 600\n")
    np.testing.assert_allclose(ICVL(tmp_path, "train", centres=file)[0].centre_m, [0.002, 0.002, 0.5])


def test_broken_frames_and_lines_are_listed(root):
    depth = root / "Testing" / "Depth"
    truncate(depth / "test_seq_1" / "image_3.png")
    (depth / "test_seq_1" / "image_4.png").unlink()
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(depth / "test_seq_1" / "image_5.png")
    Image.fromarray(np.zeros((240, 320), np.uint16)).save(depth / "test_seq_1" / "image_6.png")
    listed = root / "Testing" / "test_seq_2.txt"
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([lines[0].rsplit(maxsplit=1)[0], lines[1]]))
    icvl = ICVL(root)
    assert len(list(icvl)) == 9
    reasons = {Path(file).name: reason for file, reason in icvl.skipped.items()}
    assert reasons["image_4.png"] == "the file is missing"
    assert "one channel of 16 bits" in reasons["image_5.png"]
    assert "no depth at all" in reasons["image_6.png"]
    assert len(reasons) == 4
    assert not icvl.labels(10).valid.any()
    assert icvl.labels(11).valid.all()
    assert "47 entries" in icvl.skipped[f"{listed} line 1"]


def test_wrong_units_are_refused(root):
    for sequence in (1, 2):
        listed = root / "Testing" / f"test_seq_{sequence}.txt"
        lines = []
        for line in listed.read_text().splitlines():
            name, *numbers = line.split()
            numbers[2::3] = [str(float(d) / 1000) for d in numbers[2::3]]
            lines.append(" ".join([name, *numbers]))
        listed.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"test_seq_1\.txt: hands measure .*they look like metres"):
        ICVL(root).labels(0)


def test_absent_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"Testing/Depth: no such folder"):
        ICVL(tmp_path)
    (tmp_path / "Testing" / "Depth").mkdir(parents=True)
    with pytest.raises(InputError, match="no PNG file"):
        ICVL(tmp_path)


def test_published_labels_parse(tmp_path):
    formats = BENCHMARK / "text_format"
    if not formats.is_dir():
        pytest.skip("../shared/data is absent")
    names = (formats / "icvl_test_list_first300.txt").read_text().split()
    numbers = (formats / "icvl_test_groundtruth_label_first300.txt").read_text().splitlines()
    testing = tmp_path / "Testing"
    write_icvl_frame(testing / "Depth", names[0], 0)
    write_icvl_frame(testing / "Depth", names[7], 1)
    lines = [f"{name} {line}" for name, line in zip(names, numbers, strict=True)]
    (testing / "test_seq_1.txt").write_text("\n".join(lines))
    icvl = ICVL(tmp_path)
    assert len(icvl.skipped) == 298
    truth = np.load(BENCHMARK / "truth.npz")["uvd"]
    for index, row in enumerate((0, 7)):
        labels = icvl.labels(index)
        np.testing.assert_allclose(labels.uv_px, truth[row, :, :2], atol=2e-3)
        np.testing.assert_allclose(labels.joints_m[:, 2] * 1000, truth[row, :, 2], atol=2e-3)
