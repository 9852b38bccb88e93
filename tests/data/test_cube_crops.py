from dataclasses import replace

import numpy as np
import pytest
import torch

from data.depth_on_disk import depth_picture_m, hand_places
from posebridge.cameras.cube import foreground, normalise_depth
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch, concatenate
from posebridge.data.crops import CubeCropConfig, crop_cube, crop_cube_labelled
from posebridge.data.frames import FrameLabels, RawFrame
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21

K = np.array([[475.0, 0, 319.5], [0, 470.0, 239.5], [0, 0, 1]])
PLACES = hand_places()
JOINTS_M = np.stack([PLACES[joint] for joint in HAND21.joints])
UV_PX = (JOINTS_M @ K.T)[:, :2] / JOINTS_M[:, 2:]
LABELS = FrameLabels(UV_PX, np.ones(21, bool), np.ones(21, bool), JOINTS_M, mask=np.ones((480, 640), bool))
CONFIG = CubeCropConfig(size_px=80, cube_m=0.3)


def depth_frame(**changes) -> RawFrame:
    depth_m = depth_picture_m(PLACES, K, 640, 480)
    depth_m[depth_m == 0] = 1.7
    return RawFrame(None, **{"key": "k", "K": K, "depth_m": depth_m, "centre_m": JOINTS_M.mean(axis=0)} | changes)


def test_pixels_follow_the_crop_and_metres_stay():
    batch = crop_cube_labelled(depth_frame(sequence="s", frame=3, view=2), LABELS, CONFIG)
    assert isinstance(batch, LabelledBatch)
    assert batch.image is None
    assert (batch.sequence, batch.frame.tolist(), batch.view.tolist()) == (("s",), [3], [2])
    torch.testing.assert_close(batch.joints_m[0], torch.from_numpy(JOINTS_M).float())
    torch.testing.assert_close(batch.centre_m[0], torch.from_numpy(JOINTS_M.mean(axis=0)).float())
    torch.testing.assert_close(batch.camera.project(batch.joints_m), batch.uv_px, atol=2e-3, rtol=0)
    torch.testing.assert_close(batch.camera.project(batch.centre_m[:, None]), torch.full((1, 1, 2), 39.5))
    u, v = batch.uv_px[0].round().long().unbind(-1)
    assert ((batch.joints_m[0, :, 2] - batch.depth_m[0, v, u]).abs() < 0.03).all()
    assert batch.mask.all()
    assert batch.visible.all()


def test_depth_stays_in_metres_and_is_never_interpolated():
    frame = depth_frame()
    batch = crop_cube(frame, CONFIG)
    assert isinstance(batch, UnlabelledBatch)
    assert set(batch.depth_m.unique().tolist()) <= set(frame.depth_m.ravel().tolist())
    assert batch.depth_m.max() == np.float32(1.7)  # far behind the cube
    hand = foreground(batch.depth_m, batch.centre_m, CONFIG.cube_m)
    assert (normalise_depth(batch.depth_m, batch.centre_m, CONFIG.cube_m)[~hand] == 1).all()
    # The hand has the same area in the crop as in the file, at the crop's scale.
    scale = float(torch.linalg.det(batch.T_crop_file[0]))
    assert hand.sum().item() == pytest.approx((frame.depth_m < 1).sum() * scale, rel=0.03)


def test_depth_outside_the_image_is_missing():
    batch = crop_cube(depth_frame(centre_m=np.array([-0.41, 0, 0.6])), CONFIG)
    assert (batch.depth_m[0, :, :20] == 0).all()
    assert (batch.depth_m[0, :, -20:] > 0).all()


def test_a_joint_outside_the_crop_is_not_visible():
    batch = crop_cube_labelled(depth_frame(), LABELS, replace(CONFIG, cube_m=0.12))
    inside = ((batch.uv_px > -0.5) & (batch.uv_px < 79.5)).all(dim=-1)
    assert not inside.all()
    assert torch.equal(batch.visible, inside)
    assert batch.valid.all()


def test_left_hands_are_mirrored():
    right = crop_cube(depth_frame(hand="right"), replace(CONFIG, hand="annotated"))
    left = crop_cube(depth_frame(hand="left"), replace(CONFIG, hand="annotated"))
    assert torch.linalg.det(left.T_crop_file) < 0 < torch.linalg.det(right.T_crop_file)
    assert (left.depth_m.flip(2) == right.depth_m).float().mean() > 0.99  # ties of the nearest pixel
    assert len(concatenate([left, right])) == 2
    with pytest.raises(InputError, match="k: the frame isn't labelled left or right"):
        crop_cube(depth_frame(), replace(CONFIG, hand="annotated"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_m": None, "image": np.zeros((9, 9, 3), np.uint8)}, "this frame has no depth"),
        ({"K": None}, "this frame has no intrinsics"),
        ({"centre_m": None}, "give the reader centres='blob'"),
        ({"centre_m": np.array([0, 0, -0.4])}, r"centre \[0.0, 0.0, -0.4\] m: .*behind the camera"),
        ({"centre_m": np.array([0, np.nan, 0.4])}, "not finite"),
    ],
)
def test_frames_without_a_cube_are_refused(changes, message):
    frame = replace(depth_frame(), **changes)
    with pytest.raises(InputError, match=f"k: .*{message}"):
        crop_cube(frame, CONFIG)
