"""Pictures are decoded from the page's own text and compared with the key that stands on it."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image
from posebridge.report.fields import FULL_DIFFERENCE, difference, longest_way_px, region_colours, way_colours, wheel
from posebridge.report.redrawing import RedrawnPair, redrawn_frames

from posebridge.contracts.record import Redrawing
from posebridge.report.page import render_report
from posebridge.skeletons.hand import HAND21
from report.synthetic_record import reconstructed_record, redrawing, synthetic_record

TITLES = ["Base frame", "Driving frame", "ReconstructedFrames", "Difference", "Regions", "Displacement", "Inpainting"]
RING = (("wrist", "ring_1"), ("ring_1", "ring_2"))


def decoded(drawing: str) -> np.ndarray:
    """The picture in a drawing."""
    uri = re.search(r'href="data:image/(?:png|jpeg);base64,([^"]+)"', drawing)
    assert uri
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))))


def only_pair(drawn: Redrawing) -> RedrawnPair:
    return redrawn_frames(dataclasses.replace(synthetic_record(), redrawings=(drawn,))).pairs[0]


def drawing_of(pair: RedrawnPair, title: str) -> str:
    return next(str(panel.drawing) for panel in pair.panels if panel.title == title)


def wheel_at(key: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The colours that the wheel has at ways (..., 2) of length 1 at most."""
    column, row = np.moveaxis(((way + 1) / 2 * len(key) - 0.5).round().astype(int), -1, 0)
    return key[row, column, :3].astype(int)


@pytest.mark.parametrize("shift", [(9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0), (5.0, -7.0)])
def test_a_shift_has_the_colour_of_the_wheel_towards_where_it_came_from(shift):
    drawn = redrawing(0, shift=shift)
    longest_px = longest_way_px([drawn])
    assert longest_px == 9
    picture = decoded(drawing_of(only_pair(drawn), "Displacement"))
    assert picture.shape == (32, 32, 3)
    expected = wheel_at(decoded(str(wheel(longest_px))), -0.96 * np.array(shift) / longest_px)
    assert np.abs(picture.reshape(-1, 3) - expected).max() <= 14


def test_right_is_red_and_opposite_ways_have_opposite_colours():
    ways = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [4.0, 0.0]]])
    right, left, still, far = way_colours(ways, 1.0)[0].astype(int)
    assert right[0] == 255
    assert right[1] == right[2] < 70
    assert left[0] < 5
    assert left[1] == left[2] > 180
    assert still.tolist() == [255, 255, 255]
    assert far.tolist() == right.tolist()


def test_a_rotation_has_the_colours_of_the_wheel():
    angle, side = 0.3, 128
    drawn = redrawing(1, side=side, angle=angle)
    longest_px = longest_way_px([drawn])
    picture = decoded(drawing_of(only_pair(drawn), "Displacement")).astype(int)
    cells = (np.arange(32) + 0.5) * 4 - 0.5 - (side - 1) / 2
    # Complex numbers turn by themselves; v points down, so a positive angle leads from right to down.
    ways = (np.exp(-1j * angle) - 1) * (cells[None, :] + 1j * cells[:, None]) / longest_px
    inside = np.abs(ways) < 0.97
    assert inside.mean() > 0.9
    key = decoded(str(wheel(longest_px)))
    expected = wheel_at(key, np.stack([ways.real, ways.imag], -1)[inside])
    assert np.abs(picture[inside] - expected).max() <= 16


def test_a_scale_for_all_pairs_that_a_stray_way_does_not_set():
    drawn = redrawing(0, shift=(3.0, 4.0))
    stray = drawn.displacement_px.copy()
    stray[0, :3] = [[1e6], [np.nan], [np.inf]]
    drawn = dataclasses.replace(drawn, displacement_px=stray)
    assert longest_way_px([drawn]) == 5
    picture = decoded(drawing_of(only_pair(drawn), "Displacement"))
    assert picture[0, 1].tolist() == [128, 128, 128]
    assert longest_way_px([redrawing(0)]) == 1  # nothing moves
    assert longest_way_px([drawn, redrawing(0, shift=(12.0, 0.0))]) == 12


def test_regions_have_the_colours_of_the_skeleton():
    regions = np.zeros((21, 1, 4), np.uint8)
    ring = [HAND21.bones.index((HAND21.joints.index(a), HAND21.joints.index(b))) for a, b in RING]
    regions[0, 0, 0] = 255
    regions[1 + ring[0], 0, 1] = 255
    regions[1 + ring[1], 0, 2] = 255
    regions[[0, 1 + ring[0]], 0, 3] = 127
    background, first, second, mixed = region_colours(regions, HAND21.bones, HAND21.joints)[0].astype(int)
    assert background.max() < 50
    assert first.tolist() == [0x33, 0xA6, 0xFF]  # --ring in the style sheet
    assert (second >= first).all()
    assert second[0] > first[0] + 60
    np.testing.assert_allclose(mixed, (background + first) / 2, atol=1)
    assert region_colours(np.zeros((21, 1, 1), np.uint8), HAND21.bones, HAND21.joints).max() < 50


def arrows(drawing: str) -> list[np.ndarray]:
    """The points of every arrow: start, end, one side of the head, end, the other side."""
    found = re.findall(r'<path d="([^"]+)" fill="none" class="arrow"', drawing)
    return [np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path), float) for path in found]


def test_arrows_lead_from_before_to_after_where_a_joint_moved():
    drawn = redrawing(0)
    before, after = drawn.uv_truth.copy(), drawn.uv_truth.copy()
    after[4] += 30.0, 0.0
    after[8] -= 0.0, 1.2
    after[12] += 0.9, 0.0  # too short to tell
    before[16] = np.nan
    drawn = dataclasses.replace(drawn, uv_before=before, uv_after=after)
    pair = only_pair(drawn)
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
    assert ("joints that moved", "2 of 20") in pair.facts
    assert "2 of 21 moved by more than 1 px" in drawing
    assert drawing.count('class="cross"') == 21
    without = drawing_of(only_pair(dataclasses.replace(drawn, uv_truth=None)), "Driving frame")
    assert 'class="cross"' not in without


def test_pictures_stand_side_by_side_in_the_shape_of_the_frame():
    drawn = redrawing(3, side=64, shift=(2.0, 1.0))
    wide = dataclasses.replace(
        drawn,
        base=drawn.base[:48],
        driving=drawn.driving[:48],
        redrawn=drawn.redrawn[:48],
        regions=drawn.regions[:, :12],
        displacement_px=drawn.displacement_px[:12],
        inpainting=drawn.inpainting[:12],
    )
    pair = only_pair(wide)
    assert [panel.title for panel in pair.panels] == TITLES
    for panel in pair.panels:
        width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', str(panel.drawing)).groups())
        assert width / height == pytest.approx(4 / 3)
    np.testing.assert_array_equal(decoded(drawing_of(pair, "Inpainting")), wide.inpainting)
    shown = decoded(drawing_of(pair, "ReconstructedFrames")).astype(int)
    assert np.abs(shown - wide.redrawn).mean() < 4


def test_differences():
    one, other = np.zeros((1, 3, 3), np.uint8), np.zeros((1, 3, 3), np.uint8)
    one[0, 1] = 30, 60, 90
    other[0, 2] = 255
    expected = [0, round(255 * 60 / FULL_DIFFERENCE), 255]
    assert difference(one, other).tolist() == difference(other, one).tolist() == [expected]


def test_numbers_of_a_pair():
    drawn = redrawing(0)
    truth = drawn.uv_truth.copy()
    truth[0] = np.nan
    drawn = dataclasses.replace(
        drawn,
        base=np.full_like(drawn.base, 100),
        driving=np.full_like(drawn.base, 130),
        redrawn=np.full_like(drawn.base, 125),
        inpainting=np.full_like(drawn.inpainting, 204),
        uv_truth=truth,
        uv_before=drawn.uv_truth + np.array([3.0, 4.0]),
        uv_after=drawn.uv_truth + np.array([0.0, 2.0]),
    )
    assert dict(only_pair(drawn).facts) == {
        "joints that moved": "21 of 21",
        "joint error, px": "5.0 → 2.0",
        "base frame is off by": "30.0",
        "redrawing is off by": "5.0",
        "painted anew": "20%",
    }
    assert "joint error, px" not in dict(only_pair(dataclasses.replace(drawn, uv_truth=None)).facts)


def test_a_dozen_pairs_stay_light():
    record = reconstructed_record()
    rng = np.random.default_rng(0)

    def noisy(index: int) -> Redrawing:  # fields of a network that has hardly learnt
        drawn = redrawing(index, side=256, angle=0.2)
        way = drawn.displacement_px + rng.normal(0, 2, drawn.displacement_px.shape).astype(np.float32)
        return dataclasses.replace(drawn, displacement_px=way)

    frames = redrawn_frames(dataclasses.replace(record, redrawings=tuple(noisy(i) for i in range(12))))
    maps = [drawing_of(pair, title) for pair in frames.pairs for title in ("Regions", "Displacement", "Inpainting")]
    assert sum(map(len, maps)) < 350_000
    assert sum(len(str(panel.drawing)) for pair in frames.pairs for panel in pair.panels) < 1_000_000


def test_charts_of_trust():
    page = render_report(reconstructed_record())
    charts = re.findall(
        r'aria-label="(right at least once|trusted by both|wrong again) over steps, from ([^"]+)"', page
    )
    assert charts == [
        ("right at least once", "0.22 to 0.71"),
        ("trusted by both", "0.40 to 0.80"),
        ("wrong again", "0.27 to 0.27"),
    ]
    blind = render_report(reconstructed_record(with_truth=False))
    assert re.findall(r"<span>(right at least once|trusted by both|wrong again)<", blind) == ["trusted by both"]


def test_confident_joints_before_and_after():
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

    assert shares("before") == pytest.approx([0.91, 0.78, 0.65], abs=1e-3)
    assert shares("after-fell") == pytest.approx([0.89], abs=1e-3)
    assert shares("after-rose") == pytest.approx([0.80, 0.81], abs=1e-3)
    for group, count in (("MCP", 812), ("PIP", 640), ("DIP", 411), ("Fin", 0)):
        assert f">{group}</text>" in svg
        assert f">{count}</text>" in svg
    assert "<td>411</td><td>0.650</td><td>0.810</td>" in section
    assert "<td>0</td><td>n/a</td><td>n/a</td>" in section
