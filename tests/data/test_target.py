import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data.on_disk import truncate, write_image, write_video
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import batch_of, crop_frames
from posebridge.data.image_crops import crop_images
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target import TargetConfig, open_target
from posebridge.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def test_folder_with_boxes_and_hands(tmp_path):
    images = [write_image(tmp_path / "im" / f"{i}.png", 40, 30, seed=i) for i in range(4)]
    truncate(tmp_path / "im" / "3.png")
    (tmp_path / "b.csv").write_text(
        "key,x0,y0,x1,y1,hand\n0,4,4,12,12,left\n2,-4.5,-0.5,11.5,15.5,right\n3,0,0,9,9,left\n"
    )
    target = open_target(TargetConfig(tmp_path / "im", tmp_path / "b.csv"), 16)
    (pair_0, pair_2) = list(crop_frames(target, target.crop))
    assert target.skipped.keys() == {"1", str(tmp_path / "im" / "3.png")}
    assert target.skipped["1"].startswith("no box in")
    frame, batch = pair_2
    np.testing.assert_array_equal(frame.image, images[2])
    crop = (batch.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(crop[:, 4:], images[2][:16, :12])  # a box at the size of the crop is a plain cut
    assert crop[:, :4].max() == 0
    left = pair_0[1]
    assert torch.linalg.det(left.T_crop_file[0]) < 0
    corner = apply_affine(torch.linalg.inv(left.T_crop_file), torch.tensor([[[15.5, -0.5]]]))
    torch.testing.assert_close(corner, torch.tensor([[[4.0, 4.0]]]))


@pytest.mark.parametrize(("hand", "mirrored"), [(None, False), ("right", False), ("left", True)])
def test_hand_for_all(tmp_path, hand, mirrored):
    image = write_image(tmp_path / "0.png", 32, 32)
    target = open_target(TargetConfig(tmp_path / "0.png", hand=hand), 32)
    ((_, batch),) = crop_frames(target, target.crop)
    crop = (batch.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(crop, image[:, ::-1] if mirrored else image)


def test_crops_and_intrinsics(tmp_path):
    write_video(tmp_path / "clip.mp4", frames=5)
    target = open_target(TargetConfig(tmp_path / "clip.mp4", intrinsics_px=(100.0, 101.0, 31.5, 23.5)), 32)
    batches = [batch for _, batch in crop_frames(target, target.crop)]
    assert [batch.key for batch in batches] == [(f"clip_{i:06d}",) for i in range(5)]
    assert batches[3].frame.tolist() == [3]
    assert all(type(batch) is UnlabelledBatch for batch in batches)
    torch.testing.assert_close(batches[0].camera.K[0, :2, 2], torch.tensor([15.5, 15.5]))
    assert batches[0].camera.K[0, 0, 0] == 50.0
    crops = crop_images([*target], target.crop)
    together = batch_of(crops)
    assert together.key == crops.key == tuple(f"clip_{i:06d}" for i in range(5))
    for i, alone in enumerate(batches):
        torch.testing.assert_close(together.image[i], alone.image[0], rtol=0, atol=0)
        torch.testing.assert_close(together.T_crop_file[i], alone.T_crop_file[0], rtol=0, atol=0)
        torch.testing.assert_close(together.camera.K[i], alone.camera.K[0], rtol=0, atol=0)


def test_kind_of_target_follows_from_the_files(tmp_path):
    write_image(tmp_path / "im" / "0.png")
    (tmp_path / "vid").mkdir()
    write_video(tmp_path / "vid" / "a.mp4", frames=2)
    assert [frame.key for frame in open_target(TargetConfig(tmp_path / "im"), 8)] == ["0"]
    assert len(list(open_target(TargetConfig(tmp_path / "vid"), 8))) == 2
    with pytest.raises(InputError, match="images and videos"):
        open_target(TargetConfig(tmp_path), 8)
    with pytest.raises(InputError, match="no such file or folder"):
        open_target(TargetConfig(tmp_path / "absent"), 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: the folder holds no image and no video"):
        open_target(TargetConfig(tmp_path / "empty"), 8)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"0": [100, 100, 120, 120]}, r"b\.json: the box .* of 0 lies outside the image, which is 40x30"),
        ({"other": [0, 0, 9, 9]}, "no frame of the target has a box; its keys are like other, the frames' like 0"),
    ],
)
def test_boxes_that_do_not_fit(tmp_path, boxes, message):
    write_image(tmp_path / "im" / "0.png", 40, 30)
    (tmp_path / "b.json").write_text(json.dumps(boxes))
    with pytest.raises(InputError, match=message):
        list(open_target(TargetConfig(tmp_path / "im", tmp_path / "b.json"), 8))


def test_bad_intrinsics(tmp_path):
    write_image(tmp_path / "0.png")
    with pytest.raises(InputError, match="intrinsics"):
        open_target(TargetConfig(tmp_path, intrinsics_px=(0.0, 1.0, 2.0, 3.0)), 8)


def test_speed_on_real_images():
    folder = SHARED / "hand_rgb_snap" / "images"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent")
    started = time.process_time()  # the machine may be busy
    target = open_target(TargetConfig(folder, hand="left"), 64)
    dataset = InMemoryDataset(crop for _, crop in crop_frames(target, target.crop))
    assert len(dataset) == 291
    assert time.process_time() - started < 2
