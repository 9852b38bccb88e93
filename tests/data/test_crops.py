import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch

from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch, concatenate
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops, crop_frame, crop_labelled
from posebridge.data.frames import FrameLabels, RawFrame
from posebridge.data.image_crops import crop_images
from posebridge.errors import InputError

K = np.array([[250.0, 0, 79.5], [0, 260.0, 59.5], [0, 0, 1]])
JOINTS_M = np.array([[-0.06, 0.03, 0.6], [0.02, -0.04, 0.55], [0.05, 0.05, 0.7]])


def uv_of(joints_m: np.ndarray) -> np.ndarray:
    projected = joints_m @ K.T
    return projected[:, :2] / projected[:, 2:]


def dotted_frame(**changes) -> RawFrame:
    """160 x 120 pixels, joint j a soft dot in channel j, so that its place in the crop can be measured."""
    v, u = np.mgrid[:120, :160]
    dots = [np.exp(-((u - x) ** 2 + (v - y) ** 2) / 18) for x, y in uv_of(JOINTS_M)]
    image = (255 * np.stack(dots, axis=-1)).round().astype(np.uint8)
    return RawFrame(image, **{"key": "k", "K": K, "hand": "left"} | changes)


LABELS = FrameLabels(uv_of(JOINTS_M), np.ones(3, bool), np.array([True, True, False]), JOINTS_M)


def centroids(image: torch.Tensor) -> torch.Tensor:
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in image.shape[1:]), indexing="ij")
    return torch.stack([(u * image).sum((1, 2)), (v * image).sum((1, 2))], dim=-1) / image.sum((1, 2))[:, None]


@pytest.mark.parametrize("hand", [None, "left", "right", "annotated"])
@pytest.mark.parametrize("box", [None, np.array([20.0, 10.0, 140.0, 115.0])])
@pytest.mark.parametrize("size_px", [48, 64, 200])
def test_labels_and_camera_match_the_crop(hand, box, size_px):
    batch = crop_labelled(dotted_frame(box_xyxy=box), LABELS, CropConfig(size_px, padding=1.1, hand=hand))
    measured = centroids(batch.image[0])
    assert (measured - batch.uv_px[0]).abs().max() < 0.1
    torch.testing.assert_close(batch.camera.project(batch.joints_m), batch.uv_px, atol=1e-3, rtol=0)
    back = apply_affine(torch.linalg.inv(batch.T_crop_file), batch.uv_px)[0]
    np.testing.assert_allclose(back.numpy(), LABELS.uv_px, atol=1e-3)
    assert (torch.linalg.det(batch.T_crop_file) < 0).item() == (hand in ("left", "annotated"))
    np.testing.assert_allclose(batch.joints_m[0].numpy(), JOINTS_M, rtol=1e-6)


def test_whole_image_is_letterboxed_without_box_padding():
    batch = crop_frame(RawFrame(np.full((60, 120, 3), 255, np.uint8), "k"), CropConfig(40, padding=2.0))
    assert batch.image.shape == (1, 3, 40, 40)
    rows = batch.image[0, 0].mean(dim=1)
    assert rows[:10].max() == 0
    assert rows[10:30].min() == 1
    assert rows[30:].max() == 0


def test_joints_outside_the_crop_are_not_visible():
    uv = uv_of(JOINTS_M)
    box = np.concatenate([uv[0] - 8, uv[0] + 8])
    batch = crop_labelled(dotted_frame(box_xyxy=box), LABELS, CropConfig(32))
    assert batch.visible.tolist() == [[True, False, False]]
    assert batch.valid.all()


def test_unknown_handedness_is_refused():
    with pytest.raises(InputError, match="k: the frame isn't labelled left or right"):
        crop_frame(dotted_frame(hand=None), CropConfig(32, hand="annotated"))


class Labelled:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> RawFrame:
        return dotted_frame(key=str(index))

    def labels(self, index: int) -> FrameLabels:
        return LABELS


class Unlabelled(Labelled):
    def labels(self, index: int) -> FrameLabels:
        raise AssertionError("labels of an unlabelled target were read")


def test_unlabelled_crops_have_no_labels():
    crops = UnlabelledCrops(Unlabelled(), CropConfig(32))
    batch = concatenate([crops[0], crops[1]])
    assert type(batch) is UnlabelledBatch
    assert not hasattr(batch, "uv_px")
    assert not hasattr(batch, "joints_m")
    labelled = LabelledCrops(Labelled(), CropConfig(32))[1]
    assert type(labelled) is LabelledBatch
    torch.testing.assert_close(labelled.image, crops[1].image)


@pytest.mark.parametrize("side", [1e-300, 1e9, 1e300])
def test_absurd_crops_are_refused(side):
    with pytest.raises(InputError, match=r"k: the crop is .* wide, and the image 160x120: check box and padding"):
        crop_frame(dotted_frame(box_xyxy=np.array([0, 0, side, side])), CropConfig(32))


def test_keys_are_in_composed_unicode():
    assert crop_frame(dotted_frame(key=unicodedata.normalize("NFD", "h\u00e4nde")), CropConfig(8)).key == (
        "h\u00e4nde",
    )


def test_lenses_and_mixed_intrinsics_are_refused():
    frame = RawFrame(np.zeros((20, 20, 3), np.uint8), "a")
    with pytest.raises(ValueError, match="all frames have intrinsics"):
        crop_images([frame, replace(frame, K=np.eye(3))], CropConfig(8))
    with pytest.raises(ValueError, match="lens distortion"):
        crop_images([replace(frame, distortion=np.zeros(5))], CropConfig(8))
