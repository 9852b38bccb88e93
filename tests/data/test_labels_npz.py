from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.on_disk import write_image
from posebridge.contracts.batch import concatenate
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.labels_npz import LabelsNpz
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21

SNAP = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "hand_rgb_snap"


def write_labels(folder: Path, keys: list[str], **changes) -> Path:
    rng = np.random.default_rng(0)
    n = len(keys)
    arrays = {"key": np.array(keys), "uv_px": rng.uniform(0, 30, (n, 21, 2)), "joint_names": np.array(HAND21.joints)}
    np.savez(folder / "labels.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return folder / "labels.npz"


def test_images_and_labels_are_matched_by_key(tmp_path):
    for i in (0, 1, 2):
        write_image(tmp_path / "images" / f"{i}.png")
    uv = np.random.default_rng(1).uniform(0, 30, (3, 21, 2))
    uv[0, 4] = np.nan
    labels = write_labels(tmp_path, ["2", "9", "0"], uv_px=uv, joint_names=np.array(HAND21.joints[::-1]))
    truth = LabelsNpz(tmp_path / "images", labels, HAND21)
    assert [frame.key for frame in truth] == ["0", "2"]
    np.testing.assert_array_equal(truth.labels(0).uv_px, uv[2, ::-1])
    assert np.flatnonzero(~truth.labels(1).valid).tolist() == [16]
    assert np.isfinite(truth.labels(1).uv_px).all()
    assert list(truth.skipped) == [f"{labels} 9"]
    assert truth[0].K is None
    assert truth.labels(0).joints_m is None


@pytest.mark.parametrize(
    ("keys", "changes", "message"),
    [
        (["5"], {}, "no image of .* has a label"),
        (["0"], {"joint_names": None}, "need uv_px and joint_names"),
        (["0"], {"uv_px": np.zeros((1, 21, 3))}, r"uv_px has shape \(1, 21, 3\)"),
        (["0"], {"xyz_mm": np.random.default_rng(0).normal(0, 0.05, (1, 21, 3))}, "they look like metres"),
        (["0"], {"joint_names": np.array(["nose"] + [f"x{i}" for i in range(20)])}, "no joint of skeleton hand21"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, keys, changes, message):
    write_image(tmp_path / "images" / "0.png")
    with pytest.raises(InputError, match=message):
        LabelsNpz(tmp_path / "images", write_labels(tmp_path, keys, **changes), HAND21)


def test_joints_of_real_labels_project_to_their_pixels():
    if not SNAP.is_dir():
        pytest.skip("../shared/data is absent")
    truth = LabelsNpz(SNAP / "images", SNAP / "labels.npz", HAND21, hand="left")
    assert len(truth) == 291
    crops = LabelledCrops(truth, CropConfig(128, hand="annotated"))
    batch = concatenate([crops[i] for i in range(0, 291, 30)])
    torch.testing.assert_close(batch.camera.project(batch.joints_m), batch.uv_px, atol=1e-3, rtol=0)
    # Half the size and mirrored: u' = 127 - ((u + 1/2) / 2 - 1/2).
    with np.load(SNAP / "labels.npz") as labels:
        expected = 127 - ((labels["uv_px"][0, :, 0] + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(batch.uv_px[0, :, 0].numpy(), expected, atol=1e-3)


def test_labels_of_a_turned_photograph_are_in_stored_pixels(tmp_path):
    """The crop is upright, and a label lies on what it marks."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[10, 20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "0.png", exif=exif)
    labels = write_labels(tmp_path, ["0"], uv_px=np.tile([20.0, 10.0], (1, 21, 1)))
    batch = LabelledCrops(LabelsNpz(tmp_path / "images", labels, HAND21), CropConfig(40))[0]
    u, v = batch.uv_px[0, 0].round().int().tolist()
    assert (u, v) == (5 + 30 - 1 - 10, 20)  # a letterbox of 5 pixels, and a quarter turn clockwise
    assert batch.image[0, 0, v, u] > 0.9
