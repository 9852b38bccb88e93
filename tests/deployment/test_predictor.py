from dataclasses import replace

import numpy as np
import pytest
import torch

from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.keypoint_set import join
from posebridge.data.crops import CropConfig, crop_frame
from posebridge.data.frames import RawFrame
from posebridge.deployment.predictor import PosePredictor, predict_all
from posebridge.errors import InputError

DOTS = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])
IMAGE = draw_dots(120, 90, DOTS)
BOX = np.array([30.0, 8.0, 95.0, 78.0])
K = np.array([[150.0, 0.0, 60.0], [0.0, 155.0, 44.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("hand", [None, "right", "left"])
@pytest.mark.parametrize(("box", "padding"), [(None, 1.0), (BOX, 1.0), (BOX, 1.4)])
def test_pixels_are_mapped_back_through_crop_padding_and_mirror(hand, box, padding):
    batch = crop_frame(RawFrame(IMAGE, "a", box_xyxy=box), CropConfig(64, padding, hand))
    found = PosePredictor(SPEC, DotFinder()).predict_batch(batch)
    np.testing.assert_allclose(found.uv_px[0], truth_of(DOTS), atol=0.5)
    assert (found.confidence > 0.9).all()
    # Upright and not mirrored: offsets from the wrist are those of the file, wrist to middle 100 mm.
    offset = truth_of(DOTS) - DOTS[0]
    expected = 100 * offset / np.linalg.norm(offset[9])
    np.testing.assert_allclose(found.xyz_mm[0, :, :2], expected, atol=2)
    np.testing.assert_allclose(found.xyz_mm[0, :, 2], 0, atol=1e-4)


@pytest.mark.parametrize("hand", [None, "left"])
def test_joints_project_onto_their_pixels_by_the_intrinsics(hand):
    batch = crop_frame(RawFrame(IMAGE, "a", K=K, box_xyxy=BOX), CropConfig(64, 1.2, hand))
    found = PosePredictor(SPEC, DotFinder()).predict_batch(batch)
    joints = torch.from_numpy(found.xyz_mm)
    projected = Camera(torch.from_numpy(K).float()[None]).project(joints)[0]
    np.testing.assert_allclose(projected, found.uv_px[0], atol=1e-2)
    assert (joints[0, 0] - joints[0, 9]).norm() == pytest.approx(100, rel=1e-3)


def test_predictions_do_not_depend_on_batches():
    config = CropConfig(64, hand="left")
    batches = [crop_frame(RawFrame(draw_dots(120, 90, DOTS - i), str(i)), config) for i in range(3)]
    progress = []
    whole = predict_all(PosePredictor(SPEC, DotFinder()), batches, progress.append)
    assert progress == [1, 1, 1]
    assert whole.key.tolist() == ["0", "1", "2"]
    parts = join([PosePredictor(SPEC, DotFinder()).predict_batch(batch) for batch in batches])
    np.testing.assert_array_equal(whole.uv_px, parts.uv_px)
    for i in range(3):
        np.testing.assert_allclose(whole.uv_px[i], truth_of(DOTS - i), atol=0.5)


def test_output_that_is_not_finite_is_refused():
    batch = crop_frame(RawFrame(IMAGE, "a"), CropConfig(64))
    network = DotFinder()
    predict = network.predict
    network.predict = lambda images: replace(predict(images), relative_depth=torch.full((1, 21), torch.nan))
    with pytest.raises(InputError, match=r"^a: the network's output is not finite"):
        PosePredictor(SPEC, network).predict_batch(batch)


def test_depth_models_need_other_batches():
    batch = crop_frame(RawFrame(IMAGE, "a"), CropConfig(64)).map(lambda tensor: tensor)
    object.__setattr__(batch, "image", None)
    with pytest.raises(InputError, match=r"^a is a depth image, and this model reads colour images$"):
        PosePredictor(SPEC, DotFinder()).predict_batch(batch)
    in_a_cube = replace(SPEC, maps=replace(SPEC.maps, cube_m=0.25))
    with pytest.raises(InputError, match=r"^a: this model reads depth crops with the centre of their cube$"):
        PosePredictor(in_a_cube, DotFinder(in_a_cube.maps)).predict_batch(batch)
