import dataclasses
import re

from posebridge.report.page import render_report
from report.page_checks import Checker
from report.reconstructed_record import reconstructed_record
from report.synthetic_record import synthetic_record
from report.synthetic_sections import depth_record, toy_section


def test_only_reconstruction_has_its_sections():
    headings = ("<h2>Reconstructed frames", "<h2>Trusted joints", "correct at least once", "<b>Displacement.")
    full, blind = render_report(reconstructed_record()), render_report(reconstructed_record(False))
    for trace in headings:
        assert trace in full
        assert trace not in render_report(synthetic_record())
    assert "<h2>Reconstructed frames" in blind
    assert "White crosses mark the true joints" in full
    assert "White crosses mark the true joints" not in blind
    assert "<h2>Trusted joints" not in blind
    # All other lines of the page are the same, in the same order.
    before, after = (page.split("<body>")[1].splitlines() for page in (render_report(synthetic_record()), full))
    lines = iter(after)
    assert all(line in lines for line in before if line)


def test_charts_of_pseudo_labels():
    names = "correct at least once|selected by both criteria|repeated errors"
    page = render_report(reconstructed_record())
    charts = re.findall(rf'aria-label="({names}) over step: ([^"]+)"', page)
    assert charts == [
        ("correct at least once", "0.22 → 0.711"),
        ("selected by both criteria", "0.4 → 0.8"),
        ("repeated errors", "0.27 → 0.27"),
    ]
    assert 'aria-label="coverage and precision over step: coverage 0.5 → 0.7; precision 0.62 → 0.82"' in page
    blind = render_report(reconstructed_record(with_truth=False))
    assert re.findall(rf"<span>({names})<", blind) == ["selected by both criteria"]


def test_section_of_explained_depth():
    page = render_report(depth_record())
    assert "<h2>Explained depth" in page
    assert "<h2>Explained depth" not in render_report(synthetic_record())
    assert "73% of the measured surface to 1 cm, and 41% before adaptation" in page
    assert "is 4.5 mm, and 11.2 mm before" in page
    cells = [
        re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", page.split("<h2>Explained depth")[1])
    ]
    assert cells[:8] == ["41.2%", "73.3%", "11.2 mm", "4.5 mm", "30.5 mm", "9.8 mm", "24.0 mm", "8.0 mm"]
    assert "before adaptation, no overlap" in page
    assert len(re.findall(r'aria-label="(before|after) adaptation, [^"]+ of frame-', page)) == 4


def test_a_section_with_everything_is_drawn():
    page = render_report(dataclasses.replace(synthetic_record(), sections=(toy_section("toy"),)))
    section = re.search(r"<section>\s*<h2>toy section</h2>.*?</section>", page, re.DOTALL)[0]
    Checker().feed(section)
    for text in ("First paragraph.", "Second paragraph.", "toy note", "toy legend", "toy row", "toy caption"):
        assert text in section, text
    assert re.search(r"toy number<span class=\"note\">of all</span></th><td>12.50 mm</td>", section)
    assert re.findall(r"<td>(.*?)</td>", section)[1:4] == ["n/a", "0.250", "n/a"]
    assert len(re.findall('class="curve', section)) == 3
    assert section.count('class="mark fill-series') == 6
    assert section.count('class="arrow"') == 21
    assert section.count('class="cross"') == 21
    assert section.count('class="thin bone') == 40  # the predicted pose in one picture, the pose after in the other
    assert section.count("data:image/png") == 2  # the map and the swatch
    assert section.count("data:image/jpeg") == 1
    assert "toy summary" not in page  # summaries are on pages without scores
    assert "toy summary" in render_report(dataclasses.replace(synthetic_record(False), sections=(toy_section("toy"),)))
