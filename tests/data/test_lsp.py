import numpy as np
import pytest
from scipy.io import savemat

from data.on_disk import truncate, write_image
from data.people import facing, person
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.lsp import LSP
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, MPII16
from posebridge.skeletons.orders import ORDERS

# The release's own list.
RELEASE = [
    "Right ankle",
    "Right knee",
    "Right hip",
    "Left hip",
    "Left knee",
    "Left ankle",
    "Right wrist",
    "Right elbow",
    "Right shoulder",
    "Left shoulder",
    "Left elbow",
    "Left wrist",
    "Neck",
    "Head top",
]
WIDTH, HEIGHT = 90, 120


def joints(count: int) -> np.ndarray:
    """(count, 14, 3): pixels from (1, 1), and a flag that is 1 for the right wrist alone."""
    uv = person(ORDERS["lsp"], count)[..., :2] * 50 + [45, 60]
    flag = np.zeros((count, 14, 1))
    flag[:, RELEASE.index("Right wrist")] = 1
    return np.concatenate([uv, flag], axis=-1)


def write(root, count: int = 3, missing: tuple[int, ...] = (), first: int = 1) -> None:
    savemat(root / "joints.mat", {"joints": joints(count).transpose(2, 1, 0)})
    for number in range(first, count + 1):
        if number not in missing:
            write_image(root / "images" / f"im{number:04d}.jpg", WIDTH, HEIGHT, seed=number)


def test_joints_sides_and_hidden_ones(tmp_path):
    write(tmp_path)
    lsp = LSP(tmp_path)
    assert [frame.key for frame in lsp] == ["im0001", "im0002", "im0003"]
    assert lsp[0].box_xyxy is None
    labels = lsp.labels(1)
    for row, name in enumerate(RELEASE):
        place = {"Neck": "upper_neck"}.get(name, name.lower().replace(" ", "_"))
        np.testing.assert_allclose(labels.uv_px[MPII16.index(place)], joints(3)[1, row, :2] - 1)
    assert labels.valid.sum() == 14
    assert [MPII16.joints[j] for j in np.flatnonzero(labels.valid & ~labels.visible)] == ["right_wrist"]
    assert facing(MPII16, labels)
    assert LSP(tmp_path, skeleton=COCO17).labels(0).valid.sum() == 12


def test_boxes_and_crops(tmp_path):
    write(tmp_path)
    uv = joints(3)[0, :, :2] - 1
    box = LSP(tmp_path, box_padding=1.5)[0].box_xyxy
    np.testing.assert_allclose(box[2:] - box[:2], 1.5 * (uv.max(0) - uv.min(0)))
    np.testing.assert_allclose(box[2:] + box[:2], uv.max(0) + uv.min(0))
    crop = LabelledCrops(LSP(tmp_path), CropConfig(240))[0]  # a whole image of 120 px
    np.testing.assert_allclose(
        crop.uv_px[0, 0], [2 * (uv[0, 0] + 0.5 + 15) - 0.5, 2 * (uv[0, 1] + 0.5) - 0.5], atol=1e-4
    )


def test_the_extended_set(tmp_path):
    labelled = joints(2)
    labelled[..., 2] = 1
    labelled[0, :, 2] = 0
    labelled[1, 3] = [-500, -500, 0]
    savemat(tmp_path / "joints.mat", {"joints": labelled.transpose(1, 2, 0)})
    for number in (1, 2):
        write_image(tmp_path / "images" / f"im{number:05d}.jpg", WIDTH, HEIGHT)
    lspet = LSP(tmp_path, variant="lspet", box_padding=1.2)
    assert [frame.key for frame in lspet] == ["im00002"]
    assert lspet.skipped == {str(tmp_path / "images/im00001.jpg"): "no joint is labelled"}
    labels = lspet.labels(0)
    assert not labels.valid[MPII16.index("left_hip")]
    assert (labels.uv_px[MPII16.index("left_hip")] == 0).all()
    assert labels.visible.sum() == 13
    assert (lspet[0].box_xyxy > -50).all()
    with pytest.raises(InputError, match="the extended set has no split test"):
        LSP(tmp_path, "test", variant="lspet")


def test_halves(tmp_path):
    write(tmp_path, 1003, first=999)
    assert [frame.frame for frame in LSP(tmp_path, "train")] == [999, 1000]
    assert [frame.frame for frame in LSP(tmp_path, "test")] == [1001, 1002, 1003]
    assert len(LSP(tmp_path, whole_set=True)) == 5


def test_missing_and_broken_files(tmp_path):
    write(tmp_path, missing=(2,))
    lsp = LSP(tmp_path)
    assert lsp.skipped == {str(tmp_path / "images/im0002.jpg"): "the file is missing"}
    truncate(tmp_path / "images/im0003.jpg")
    assert [frame.key for frame in lsp] == ["im0001"]
    truncate(tmp_path / "joints.mat")
    with pytest.raises(InputError, match=r"joints\.mat"):
        LSP(tmp_path)
    (tmp_path / "joints.mat").unlink()
    with pytest.raises(InputError, match=r"joints\.mat: no such file; without labels, open the images"):
        LSP(tmp_path)
    assert len(ImageFolder(tmp_path / "images")) == 2


def test_other_arrays_are_refused(tmp_path):
    write(tmp_path, missing=(1, 2, 3))
    with pytest.raises(InputError, match=r"images: no annotated image im0001\.jpg"):
        LSP(tmp_path)
    savemat(tmp_path / "joints.mat", {"joints": joints(3).transpose(1, 2, 0)})  # the extended set's
    with pytest.raises(InputError, match="joints is 14 x 3 x 3, expected 3 x 14 x T"):
        LSP(tmp_path)
    savemat(tmp_path / "joints.mat", {"joints": joints(3).transpose(2, 1, 0) + 0.5})
    with pytest.raises(InputError, match="not a flag of 0 or 1"):
        LSP(tmp_path)
    savemat(tmp_path / "joints.mat", {"points": joints(3)})
    with pytest.raises(InputError, match="lacks the variable 'joints'"):
        LSP(tmp_path)
