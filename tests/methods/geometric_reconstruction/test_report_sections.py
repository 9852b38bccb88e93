"""Pictures are decoded from the page and compared with its legend."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from posebridge.methods.geometric_reconstruction.flow_vis import (
    FULL_DIFFERENCE,
    difference_map,
    flow_to_rgb,
    flow_wheel,
    max_flow_px,
    regions_to_rgb,
)
from posebridge.methods.geometric_reconstruction.reconstruction_section import ReconstructedPair, reconstructed_frames
from posebridge.methods.geometric_reconstruction.trusted_joints_section import trusted_joints
from posebridge.report.formats import quantity
from posebridge.report.page import render_report
from posebridge.report.sections import RowView, section_view
from posebridge.report.skeleton_overlay import SkeletonStyle
from posebridge.skeletons.hand import HAND21
from report.reconstructed_record import reconstructed_pair, reconstructed_record

TITLES = ["Base frame", "Driving frame", "Reconstruction", "Difference", "Regions", "Displacement", "Inpainting"]
HAND = SkeletonStyle(HAND21.joints, HAND21.bones)
RING = (("wrist", "ring_1"), ("ring_1", "ring_2"))


def decoded(drawing: str) -> np.ndarray:
    """The picture in a drawing."""
    uri = re.search(r'href="data:image/(?:png|jpeg);base64,([^"]+)"', drawing)
    assert uri
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))))


def drawn_rows(*pairs: ReconstructedPair) -> tuple[RowView, ...]:
    return section_view(reconstructed_frames(pairs, HAND21.joints, HAND21.bones), HAND).rows


def only_row(pair: ReconstructedPair) -> RowView:
    return drawn_rows(pair)[0]


def drawing_of(row: RowView, title: str) -> str:
    return next(str(drawing) for caption, drawing in row.pictures if caption == title)


def numbers_of(pair: ReconstructedPair) -> dict[str, str]:
    numbers = only_row(pair).row.numbers
    return {number.label: quantity(number.value, number.unit, number.digits) for number in numbers}


def wheel_at(key: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The colours of the wheel for displacements (..., 2) of length 1 at most."""
    column, row = np.moveaxis(((way + 1) / 2 * len(key) - 0.5).round().astype(int), -1, 0)
    return key[row, column, :3].astype(int)


@pytest.mark.parametrize("shift", [(9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0), (5.0, -7.0)])
def test_colour_of_a_shift_is_that_of_its_backward_direction(shift):
    drawn = reconstructed_pair(0, shift=shift)
    max_px = max_flow_px([drawn.displacement_px])
    assert max_px == 9
    picture = decoded(drawing_of(only_row(drawn), "Displacement"))
    assert picture.shape == (32, 32, 3)
    expected = wheel_at(flow_wheel(), -0.96 * np.array(shift) / max_px)
    assert np.abs(picture.reshape(-1, 3) - expected).max() <= 14


def test_right_is_red_and_opposite_directions_have_opposite_colours():
    ways = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [4.0, 0.0]]])
    right, left, still, far = flow_to_rgb(ways, 1.0)[0].astype(int)
    assert right[0] == 255
    assert right[1] == right[2] < 70
    assert left[0] < 5
    assert left[1] == left[2] > 180
    assert still.tolist() == [255, 255, 255]
    assert far.tolist() == right.tolist()


def test_a_rotation_has_the_colours_of_the_wheel():
    angle, side = 0.3, 128
    drawn = reconstructed_pair(1, side=side, angle=angle)
    max_px = max_flow_px([drawn.displacement_px])
    picture = decoded(drawing_of(only_row(drawn), "Displacement")).astype(int)
    cells = (np.arange(32) + 0.5) * 4 - 0.5 - (side - 1) / 2
    # Rotation by complex numbers; v points down, so a positive angle leads from right to down.
    ways = (np.exp(-1j * angle) - 1) * (cells[None, :] + 1j * cells[:, None]) / max_px
    inside = np.abs(ways) < 0.97
    assert inside.mean() > 0.9
    key = flow_wheel()
    expected = wheel_at(key, np.stack([ways.real, ways.imag], -1)[inside])
    assert np.abs(picture[inside] - expected).max() <= 16


def test_colour_scale_is_shared_and_ignores_outliers():
    drawn = reconstructed_pair(0, shift=(3.0, 4.0))
    stray = drawn.displacement_px.copy()
    stray[0, :3] = [[1e6], [np.nan], [np.inf]]
    drawn = dataclasses.replace(drawn, displacement_px=stray)
    assert max_flow_px([drawn.displacement_px]) == 5
    picture = decoded(drawing_of(only_row(drawn), "Displacement"))
    assert picture[0, 1].tolist() == [128, 128, 128]
    assert max_flow_px([reconstructed_pair(0).displacement_px]) == 1  # nothing moves
    farther = reconstructed_pair(0, shift=(12.0, 0.0))
    assert max_flow_px([drawn.displacement_px, farther.displacement_px]) == 12


def test_regions_have_the_colours_of_the_skeleton():
    regions = np.zeros((21, 1, 4), np.uint8)
    ring = [HAND21.bones.index((HAND21.joints.index(a), HAND21.joints.index(b))) for a, b in RING]
    regions[0, 0, 0] = 255
    regions[1 + ring[0], 0, 1] = 255
    regions[1 + ring[1], 0, 2] = 255
    regions[[0, 1 + ring[0]], 0, 3] = 127
    background, first, second, mixed = regions_to_rgb(regions, HAND21.bones, HAND21.joints)[0].astype(int)
    assert background.max() < 50
    assert first.tolist() == [0x33, 0xA6, 0xFF]  # --ring in the style sheet
    assert (second >= first).all()
    assert second[0] > first[0] + 60
    np.testing.assert_allclose(mixed, (background + first) / 2, atol=1)
    assert regions_to_rgb(np.zeros((21, 1, 1), np.uint8), HAND21.bones, HAND21.joints).max() < 50


def arrows(drawing: str) -> list[np.ndarray]:
    """The points of every arrow: start, end, one side of the head, end, the other side."""
    found = re.findall(r'<path d="([^"]+)" fill="none" class="arrow"', drawing)
    return [np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path), float) for path in found]


def test_arrows_lead_from_before_to_after_for_moved_joints():
    drawn = reconstructed_pair(0)
    before, after = drawn.uv_truth.copy(), drawn.uv_truth.copy()
    after[4] += 30.0, 0.0
    after[8] -= 0.0, 1.2
    after[12] += 0.9, 0.0  # too short to count
    before[16] = np.nan
    drawn = dataclasses.replace(drawn, uv_before=before, uv_after=after)
    pair = only_row(drawn)
    drawing = drawing_of(pair, "Driving frame")
    found = arrows(drawing)
    assert len(found) == 2
    for points, joint in zip(found, (4, 8), strict=True):
        np.testing.assert_allclose(points[0], before[joint] + 0.5, atol=0.006)
        np.testing.assert_allclose(points[[1, 3]], [after[joint] + 0.5] * 2, atol=0.006)
        way = (after - before)[joint]
        along = (points[[2, 4]] - points[1]) @ way / np.linalg.norm(way)
        assert (along < 0).all()
        assert (along > -np.linalg.norm(way)).all()
        across = (points[[2, 4]] - points[1]) @ [-way[1], way[0]]
        assert across.prod() < 0
    assert numbers_of(drawn)["moved joints"] == "2 of 20"
    assert "2 of 21 joints moved by more than 1 px" in drawing
    assert drawing.count('class="cross"') == 21
    without = drawing_of(only_row(dataclasses.replace(drawn, uv_truth=None)), "Driving frame")
    assert 'class="cross"' not in without


def test_pictures_have_the_aspect_ratio_of_the_frame():
    drawn = reconstructed_pair(3, side=64, shift=(2.0, 1.0))
    wide = dataclasses.replace(
        drawn,
        base=drawn.base[:48],
        driving=drawn.driving[:48],
        reconstruction=drawn.reconstruction[:48],
        regions=drawn.regions[:, :12],
        displacement_px=drawn.displacement_px[:12],
        inpainting=drawn.inpainting[:12],
    )
    pair = only_row(wide)
    assert [caption for caption, _ in pair.pictures] == TITLES
    for _, drawing in pair.pictures:
        width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', str(drawing)).groups())
        assert width / height == pytest.approx(4 / 3)
    np.testing.assert_array_equal(decoded(drawing_of(pair, "Inpainting")), np.repeat(wide.inpainting[..., None], 3, -1))
    shown = decoded(drawing_of(pair, "Reconstruction")).astype(int)
    assert np.abs(shown - wide.reconstruction).mean() < 4


def test_differences():
    one, other = np.zeros((1, 3, 3), np.uint8), np.zeros((1, 3, 3), np.uint8)
    one[0, 1] = 30, 60, 90
    other[0, 2] = 255
    expected = [0, round(255 * 60 / FULL_DIFFERENCE), 255]
    for found in (difference_map(one, other), difference_map(other, one)):
        assert found.tolist() == [[[grey] * 3 for grey in expected]]


def test_numbers_of_a_pair():
    drawn = reconstructed_pair(0)
    truth = drawn.uv_truth.copy()
    truth[0] = np.nan
    drawn = dataclasses.replace(
        drawn,
        base=np.full_like(drawn.base, 100),
        driving=np.full_like(drawn.base, 130),
        reconstruction=np.full_like(drawn.base, 125),
        inpainting=np.full_like(drawn.inpainting, 204),
        uv_truth=truth,
        uv_before=drawn.uv_truth + np.array([3.0, 4.0]),
        uv_after=drawn.uv_truth + np.array([0.0, 2.0]),
    )
    assert numbers_of(drawn) == {
        "moved joints": "21 of 21",
        "joint error before": "5.0 px",
        "joint error after": "2.0 px",
        "difference of base frame": "30.0 of 255",
        "difference of reconstruction": "5.0 of 255",
        "painted": "20%",
    }
    assert not any("joint error" in label for label in numbers_of(dataclasses.replace(drawn, uv_truth=None)))


def test_twelve_pairs_need_less_than_a_megabyte():
    rng = np.random.default_rng(0)

    def noisy(index: int) -> ReconstructedPair:  # fields of a network after little training
        pair = reconstructed_pair(index, side=256, angle=0.2)
        flow = pair.displacement_px + rng.normal(0, 2, pair.displacement_px.shape).astype(np.float32)
        return dataclasses.replace(pair, displacement_px=flow)

    rows = drawn_rows(*(noisy(i) for i in range(12)))
    maps = [drawing_of(row, title) for row in rows for title in ("Regions", "Displacement", "Inpainting")]
    assert sum(map(len, maps)) < 350_000
    assert sum(len(str(drawing)) for row in rows for _, drawing in row.pictures) < 1_000_000


def test_trusted_joints_before_and_after():
    page = render_report(reconstructed_record())
    section = page[page.index("<h2>Trusted joints") :]
    svg = section[: section.index("</svg>")]
    ticks = {
        share: float(x)
        for x, share in re.findall(r'<text x="(\S+)" [^>]*text-anchor="middle"[^>]*class="tick">(0|1)</text>', svg)
    }

    def shares(style: str) -> list[float]:
        places = re.findall(rf'<circle cx="(\S+)" [^>]*class="mark {style}', svg)
        return [(float(x) - ticks["0"]) / (ticks["1"] - ticks["0"]) for x in places]

    assert shares("hollow") == pytest.approx([0.91, 0.78, 0.65], abs=1e-3)
    assert shares("fill-worse") == pytest.approx([0.89], abs=1e-3)
    assert shares("fill-better") == pytest.approx([0.80, 0.81], abs=1e-3)
    for group, count in (("MCP", 812), ("PIP", 640), ("DIP", 411), ("Fin", 0)):
        assert f">{group}</text>" in svg
        assert f">{count}</text>" in svg
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", section, re.DOTALL)[1:4]]
    assert list(zip(*cells, strict=True))[2:] == [("411", "0.650", "0.810"), ("0", "n/a", "n/a")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reconstruction": np.zeros((128, 128, 3))},
            "reconstruction of the reconstruction of video_07_00009 is float64",
        ),
        ({"driving": np.zeros((64, 128, 3), np.uint8)}, "driving of the reconstruction"),
        ({"base": np.zeros((128, 128), np.uint8)}, "base"),
        ({"displacement_px": np.zeros((32, 32, 3), np.float32)}, "displacement_px of"),
        ({"displacement_px": np.zeros((32, 32, 2), int)}, "displacement_px of"),
        ({"inpainting": np.zeros((32, 16), np.uint8)}, "regions of"),
        ({"regions": np.zeros((20, 32, 32), np.uint8)}, "has 20 regions"),
        ({"uv_truth": np.zeros((21, 3))}, "truth pose"),
    ],
)
def test_pairs_of_wrong_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        drawn_rows(dataclasses.replace(reconstructed_pair(0), **change))


def test_trusted_joints_have_one_set_of_groups():
    with pytest.raises(ValueError, match="groups"):
        trusted_joints({"MCP": 1}, {"MCP": 0.5}, {"PIP": 0.5})
