import numpy as np
import pytest

from posebridge.data.depth_centre import BlobConfig, depth_centre
from posebridge.errors import InputError

K = np.array([[475.0, 0, 319.5], [0, 475.0, 239.5], [0, 0, 1]])


def paint(depth_m: np.ndarray, low: tuple[float, float], high: tuple[float, float], z_m: float) -> None:
    """A flat rectangle from ``low`` to ``high`` (metres in x and y) at the depth z."""
    (u0, v0), (u1, v1) = (np.rint(K[:2, :2] @ np.array(at) / z_m + K[:2, 2]).astype(int) for at in (low, high))
    depth_m[max(v0, 0) : v1 + 1, max(u0, 0) : u1 + 1] = z_m


@pytest.fixture
def scene():
    """A wall, a body, before it a hand of 8 x 16 cm at x = 0.1, y = -0.05."""
    depth_m = np.full((480, 640), 2.5, dtype=np.float32)
    paint(depth_m, (-0.4, -0.2), (0.05, 0.4), 0.9)
    paint(depth_m, (0.06, -0.13), (0.14, 0.03), 0.6)
    return depth_m


def test_nearest_object_is_the_hand(scene):
    np.testing.assert_allclose(depth_centre(scene, K), [0.1, -0.05, 0.6], atol=2e-3)


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_flying_pixels_are_ignored(scene, share):
    flying = np.random.default_rng(0).random(scene.shape) < share
    scene[flying] = 0.25
    np.testing.assert_allclose(depth_centre(scene, K), [0.1, -0.05, 0.6], atol=5e-3)


def test_holes_are_ignored(scene):
    scene[np.random.default_rng(0).random(scene.shape) < 0.3] = 0
    np.testing.assert_allclose(depth_centre(scene, K), [0.1, -0.05, 0.6], atol=5e-3)


def test_forearms_shift_the_centre_by_less_than_half_a_hand(scene):
    paint(scene, (0.07, 0.03), (0.13, 0.4), 0.62)
    centre = depth_centre(scene, K)
    assert abs(centre[0] - 0.1) < 5e-3
    assert -0.06 < centre[1] < 0.02


def test_boxes_and_masks_select_another_object(scene):
    by_box = depth_centre(scene, K, box_xyxy=np.array([130, 200, 300, 420]))
    mask = np.zeros(scene.shape, bool)
    mask[200:421, 130:301] = True
    np.testing.assert_allclose(by_box, depth_centre(scene, K, mask=mask))
    assert by_box[2] == pytest.approx(0.9)


def test_ranges_select_another_object(scene):
    assert depth_centre(scene, K, BlobConfig(near_m=0.7))[2] == pytest.approx(0.9)


def test_negative_focal_length(scene):
    flipped = K * [[1, 1, 1], [1, -1, 1], [1, 1, 1]]
    np.testing.assert_allclose(depth_centre(scene, flipped), [0.1, 0.05, 0.6], atol=3e-3)


def test_depth_without_a_hand_is_refused(scene):
    with pytest.raises(InputError, match="no depth at all"):
        depth_centre(np.zeros_like(scene), K)
    with pytest.raises(InputError, match=r"depth runs from 600 to 2.5e\+03 m: check its unit"):
        depth_centre(scene * 1000, K)
    with pytest.raises(InputError, match="where hands are searched for"):
        depth_centre(scene, K, box_xyxy=np.array([0, 0, 5, 5]))
