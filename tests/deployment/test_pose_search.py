"""Search by a predictor whose confidence is known: it finds rectangles, red on the left and blue on the right."""

import numpy as np
import pytest

from deployment.rectangles import RectangleFinder, picture
from posebridge.deployment.detections import Detections
from posebridge.deployment.pose_search import PoseSearch, PoseSearchConfig
from posebridge.geometry.boxes import box_iou
from posebridge.skeletons.body import COCO17


def expected(x: int, y: int, side: int) -> np.ndarray:
    """A box of 1.5 times the extent."""
    centre, half = np.array([x, y]) + (side - 1) / 2, 0.75 * side
    return np.concatenate([centre - half, centre + half])


def overlap(found: Detections, boxes: list[np.ndarray]) -> np.ndarray:
    return np.diag(box_iou(found.boxes_xyxy, np.array(boxes)))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("place", [(20, 30, 60), (250, 170, 40), (100, 20, 190)])
def test_one_hand_with_its_side(place, right):
    found = PoseSearch(RectangleFinder(), 0.4).detect(picture((*place, right)))
    assert found.hand == ("right" if right else "left",)
    assert overlap(found, [expected(*place)])[0] > 0.85
    assert found.confidence[0] > 0.9


def test_several_hands_the_most_confident_first():
    places = [(20, 30, 60), (210, 120, 80)]
    found = PoseSearch(RectangleFinder(), 0.4).detect(picture((*places[0], True), (*places[1], False)))
    assert len(found) == 2
    assert (np.diff(found.confidence) <= 0).all()
    assert sorted(found.hand) == ["left", "right"]
    order = [0, 1] if found.hand[0] == "right" else [1, 0]
    assert (overlap(found, [expected(*places[i]) for i in order]) > 0.8).all()


def test_a_known_side_is_the_only_one():
    image = picture((100, 80, 70, False))
    assert PoseSearch(RectangleFinder(), 0.4, "left").detect(image).hand == ("left",)
    assert len(PoseSearch(RectangleFinder(), 0.7, "right").detect(image)) == 0


def test_people_have_no_side():
    found = PoseSearch(RectangleFinder(COCO17), 0.4).detect(picture((100, 80, 70, True)))
    assert found.hand == (None,)
    assert overlap(found, [expected(100, 80, 70)])[0] > 0.85


@pytest.mark.parametrize("shape", [(240, 320), (1, 1), (3, 900), (30, 20)])
def test_nothing_in_images_of_any_shape(shape):
    found = PoseSearch(RectangleFinder(), 0.4).detect(np.full((*shape, 3), 40, np.uint8))
    assert (found.boxes_xyxy.shape, found.hand) == ((0, 4), ())


def test_batches_do_not_change_the_result():
    image = picture((20, 30, 60, True), (210, 120, 80, False))
    one, many = (
        PoseSearch(RectangleFinder(), 0.4, config=PoseSearchConfig(batch_size=n)).detect(image) for n in (7, 500)
    )
    np.testing.assert_array_equal(one.boxes_xyxy, many.boxes_xyxy)
    assert one.hand == many.hand


def test_parts_of_a_hand_are_no_hands():
    """A square of the same colours inside a larger one, as confident."""
    image = picture((60, 20, 180, True))
    image[90:130, 140:160], image[90:130, 160:180] = (0, 0, 255), (255, 0, 0)
    found = PoseSearch(RectangleFinder(), 0.4).detect(image)
    assert len(found) == 1
    assert overlap(found, [expected(60, 20, 180)])[0] > 0.85
