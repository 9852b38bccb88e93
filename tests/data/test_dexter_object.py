import numpy as np
import pytest

from data.hand_sets import hand_mm, pinhole
from data.on_disk import write_image
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.dexter_object import DexterObject
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

K = np.array([[587.45209, 0, 325], [0, 600.67456, 249], [0, 0, 1]])
R = np.array([[0.9999, 0.0034, 0.0161], [-0.0033, 1.0, -0.0079], [-0.0162, 0.0079, 0.9998]])
T_MM = np.array([19.0473, -1.8514, -4.7501])
TIPS = [f"{finger}_4" for finger in FINGERS]
SEQUENCES = ("Grasp1", "Grasp2", "Occlusion", "Rigid", "Pinch", "Rotate")


def lines_of(seed: int, missing: dict[int, list[int]], frames: int = 3, scale: float = 1.0) -> str:
    """Coordinates of the release: x to the left, y up, z = 32001 for unlabelled tips."""
    lines = []
    for frame in range(frames):
        fields = []
        for i, tip in enumerate(TIPS):
            x, y, z = hand_mm(seed + frame)[tip] * scale
            hidden = i in missing.get(frame, ())
            fields.append("0, 0, 32001" if hidden else f"{-x:.9f}, {-y:.9f}, {z:.9f}")
        lines.append("; ".join(fields) + ";")
    return "\n".join(lines) + "\n"


def small_set(tmp_path):
    for number, sequence in enumerate(SEQUENCES):
        folder = tmp_path / "data" / sequence
        (folder / "annotations").mkdir(parents=True)
        (folder / "annotations" / f"my_{sequence}3D.txt").write_text(
            lines_of(10 * number, {1: [0, 3], 2: [0, 1, 2, 3, 4]})
        )
        for frame in range(3):
            write_image(folder / "color" / f"image_{frame:05d}_color.png", 64, 48)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_tips_in_the_colour_camera(root):
    reader = DexterObject(root)
    frames = list(reader)
    assert [frame.key for frame in frames[:3]] == ["Grasp1_00000", "Grasp1_00001", "Grasp2_00000"]
    assert len(frames) == 12  # no tip of the third frames is labelled
    assert {frame.hand for frame in frames} == {"left"}
    assert reader.skipped == {}
    labels = reader.labels(2)
    assert [HAND21.joints[j] for j in np.flatnonzero(labels.valid)] == TIPS
    seen_mm = np.stack([R @ hand_mm(10)[tip] + T_MM for tip in TIPS])
    np.testing.assert_allclose(labels.joints_m[labels.valid] * 1000, seen_mm, atol=1e-6)
    np.testing.assert_allclose(labels.uv_px[labels.valid], pinhole(seen_mm, K), atol=1e-6)
    assert [HAND21.joints[j] for j in np.flatnonzero(reader.labels(1).valid)] == ["index_4", "middle_4", "pinky_4"]


def test_the_box_holds_the_hand(root):
    reader = DexterObject(root)
    box = reader[2].box_xyxy
    whole = pinhole(np.stack([R @ joint + T_MM for joint in hand_mm(10).values()]), K)
    assert (whole > box[:2]).all()
    assert (whole < box[2:]).all()
    depth_m = np.mean([(R @ hand_mm(10)[tip] + T_MM)[2] for tip in TIPS]) / 1000
    np.testing.assert_allclose((box[2:] - box[:2]) * depth_m / [K[0, 0], K[1, 1]], 0.3)


def test_crops(root):
    crop = LabelledCrops(DexterObject(root, sequences=("Pinch",)), CropConfig(64, hand="annotated"))[0]
    assert crop.valid.sum() == 5
    assert (crop.uv_px[crop.valid] > 0).all()
    assert (crop.uv_px[crop.valid] < 64).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1, 2, 3; 4, 5\n" * 3, r"line 1 is not 'x, y, z;'"),
        ("a, b, c;" * 5, "line 1"),
        ("", "holds no line"),
        (lines_of(0, {}, 2), r"has 2 lines, .*color 3 images"),
        (lines_of(0, {}, 3, 0.001), "expected millimetres"),
        (lines_of(0, {}, 3, 50), "finger tips measure .* expected millimetres"),
    ],
)
def test_bad_annotations(root, text, message):
    (root / "data" / "Grasp2" / "annotations" / "my_Grasp23D.txt").write_text(text)
    with pytest.raises(InputError, match=rf"my_Grasp23D\.txt:? .*{message}|my_Grasp23D\.txt {message}"):
        DexterObject(root)


def test_absent_files(root):
    with pytest.raises(InputError, match=r"my_Grasp33D\.txt: .*without labels, open the folder of images"):
        DexterObject(root, sequences=("Grasp3",))
    for sequence in SEQUENCES:
        (root / "data" / sequence / "annotations" / f"my_{sequence}3D.txt").write_text(
            lines_of(0, dict.fromkeys(range(3), range(5)))
        )
    with pytest.raises(InputError, match="no image with a labelled finger tip"):
        DexterObject(root)
