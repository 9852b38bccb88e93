import dataclasses
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posebridge.contracts.record import GalleryFrame, Provenance, Record, Skipped
from posebridge.contracts.section import GroupChart, LineChart, Number, Section, Table, TableRow
from posebridge.errors import InputError
from posebridge.report.formats import duration
from posebridge.report.page import render_report, summary, write_report
from posebridge.training.pseudo_label_section import pseudo_label_sections
from report.synthetic_record import candidates, depth_record, reconstructed_record, score, synthetic_record, toy_section

VOID = {"meta", "line", "path", "rect", "circle", "image", "br", "link", "img"}


class Checker(HTMLParser):
    """Tags must close in order; nothing may be fetched or run."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag not in {"script", "iframe", "link", "object"}
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"src", "href"}:
                assert value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def minimal() -> Record:
    provenance = Provenance(command="posebridge demo", seed=0, seconds=3.0)
    return Record("Nothing yet", "source_only", ("wrist",), (), provenance)


@pytest.mark.parametrize(
    "record",
    [synthetic_record(), synthetic_record(False), minimal(), reconstructed_record(), reconstructed_record(False)],
    ids=["full", "no truth", "bare", "reconstructed", "reconstructed, no truth"],
)
def test_page_is_well_formed_and_needs_nothing_else(record):
    page = render_report(record)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "url(" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert page.count("<svg") == page.count('role="img" aria-label="')


def test_sections_follow_what_the_record_has():
    full, blind, bare = (render_report(r) for r in (synthetic_record(), synthetic_record(False), minimal()))
    for heading in ("Accuracy", "Error per joint", "Frames", "Pseudo-labels", "Learning curves", "Checkpoint choice"):
        assert f"<h2>{heading}" in full
    assert "<h2>Error per joint" not in blind
    assert "No labels of the target were given" in blind
    assert "Precision wasn&#39;t measured" in blind
    assert "there is no oracle for comparison" in blind
    for heading in ("Frames", "Pseudo-labels", "Learning curves", "Checkpoint choice"):
        assert f"<h2>{heading}" not in bare
    assert "Oracle, not used." in full
    assert "Oracle, not used." not in blind


def test_sections_of_reconstruction_stand_on_its_pages_only():
    headings = ("<h2>Reconstructed frames", "<h2>Trusted joints", "correct at least once", "<b>Displacement.")
    full, blind = render_report(reconstructed_record()), render_report(reconstructed_record(False))
    for trace in headings:
        assert trace in full
        assert trace not in render_report(synthetic_record())
    assert "<h2>Reconstructed frames" in blind
    assert "White crosses mark the true joints" in full
    assert "White crosses mark the true joints" not in blind
    assert "<h2>Trusted joints" not in blind
    # The rest of the page is the same: every line of it, in the same order.
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


def test_hands_beside_their_depth():
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


def test_a_summary_in_millimetres():
    scores = {
        role: dataclasses.replace(score(0.5, 5.0), mean_error_mm=mm)
        for role, mm in (("source_only", 31.26), ("adapted", 22.1))
    }
    found = summary(dataclasses.replace(minimal(), scores=scores, metric="mean_error_mm"))
    assert "changed the mean error from 31.3 to 22.1 mm" in found


def rows_of(page: str, table: int) -> list[list[str]]:
    """The cells of a table of published numbers, as text."""
    found = re.findall(r'<table class="comparison">(.*?)</table>', page, re.DOTALL)[table]
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    ]


def test_published_numbers_are_shown_beside_a_run():
    page = render_report(synthetic_record())
    assert page.count('<table class="comparison">') == 2
    assert rows_of(page, 0) == [
        ["method", "training data", "MCP", "Fin", "All"],
        ["Rival", "unlabelled target", "\N{EN DASH}", "\N{EN DASH}", "55.5"],
        ["theirs", "unlabelled target", "66.6", "44.4", "60.1"],
        ["this run", "source only", "45.2", "33.2", "41.2"],
        ["this run", "unlabelled target", "61.4", "49.4", "57.4"],
        ["this run", "target labels", "90.1", "78.1", "86.1"],
    ]
    assert rows_of(page, 1)[1:3] == [
        ["theirs1", "unlabelled target", "17.25"],
        ["this run", "source only", "37.24"],
    ]
    assert "the scan is hard to read." in page
    assert page.count('<tr class="this-run">') == 6
    assert page.count('<tr class="proposed">') == 2
    assert "Published numbers" not in render_report(minimal())


def test_published_numbers_are_of_the_same_metric():
    record = synthetic_record()
    scores = {"adapted": dataclasses.replace(record.scores["adapted"], alignment="root", mean_error_mm=12.5)}
    page = render_report(dataclasses.replace(record, scores=scores))
    assert [row[0] for row in rows_of(page, 1)] == ["method", "theirs1"]  # EPE needs the scale of the truth
    in_space = dataclasses.replace(record.published[-1], metric="MPJPE")
    page = render_report(dataclasses.replace(record, scores=scores, published=(in_space,)))
    assert rows_of(page, 0)[-1] == ["this run", "unlabelled target", "12.50"]
    blind = render_report(synthetic_record(with_truth=False))
    assert "this-run" not in blind.split("</style>")[1]


def test_texts_are_escaped():
    evil = "<script>alert(1)</script>\"'&"
    record = reconstructed_record()
    record = dataclasses.replace(
        record,
        sections=(toy_section(evil),),
        title=evil,
        method=evil,
        notes=(evil,),
        joint_names=(evil, *record.joint_names[1:]),
        curves={evil: {evil: ((0, 1.0), (1, 2.0))}},
        skipped=(Skipped(evil, evil),),
        gallery=tuple(dataclasses.replace(frame, key=evil) for frame in record.gallery),
        published=(
            dataclasses.replace(
                record.published[0], paper=evil, split=evil, method=evil, values={evil: 1.0, "All": 2.0}
            ),
        ),
        provenance=dataclasses.replace(record.provenance, command=evil, config={evil: evil}, versions={evil: evil}),
    )
    page = render_report(record)
    Checker().feed(page)
    assert "<script" not in page


def test_characters_that_reverse_text_are_escaped():
    page = render_report(dataclasses.replace(minimal(), title="\u202egpj.exe", notes=("\u2066hidden",)))
    assert not set(page) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert "<h1>\\u202egpj.exe</h1>" in page
    assert "\\u2066hidden" in page


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
    assert section.count('class="thin bone') == 40  # predicted in one picture, after in the other
    assert section.count("data:image/png") == 2  # the map and the swatch
    assert section.count("data:image/jpeg") == 1
    assert "toy summary" not in page  # which stands on pages without scores
    assert "toy summary" in render_report(dataclasses.replace(synthetic_record(False), sections=(toy_section("toy"),)))


def test_odd_records_still_render():
    nothing = dataclasses.replace(
        score(0.5, 3.0),
        pck_005=float("nan"),
        mean_error_px=float("nan"),
        per_joint_error_px=(float("nan"),) * 21,
        per_joint_pck=(float("nan"),) * 21,
        pck_curve=(float("nan"),) * 41,
    )
    empty = Section(
        "No numbers",
        numbers=(Number("nothing", math.nan),),
        tables=(Table(("value",), (TableRow("nothing", (None,)),)),),
        line_charts=(LineChart("gaps", "x", "y", {"a": ((0, math.nan),), "b": ()}),),
        group_charts=(GroupChart("none", "value", ("all",), {"one": (math.nan,)}),),
    )
    nowhere = GalleryFrame("k", "sample", np.zeros((48, 80, 3), np.uint8), np.full((21, 2), np.nan))
    record = dataclasses.replace(
        synthetic_record(),
        scores={"adapted": nothing},
        curves={"stage": {"flat": ((0, 1.0),), "none": (), "broken": ((0, float("nan")), (5, float("inf")))}},
        gallery=(nowhere,),
        sections=(*pseudo_label_sections(candidates(True)[:1]), empty, Section("Nothing to show")),
    )
    page = render_report(record)
    Checker().feed(page)
    assert "n/a" in page
    assert not re.search(r'="(nan|inf|-inf)"', page)


def test_summaries():
    low, high = score(0.4, 9.0), score(0.8, 3.0)

    def said(**scores) -> str:
        return summary(dataclasses.replace(synthetic_record(), scores=scores))

    assert "closed 50% of the gap" in said(source_only=low, adapted=score(0.6, 5), supervised_target=high)
    assert "worse" in said(source_only=low, adapted=score(0.3, 10), supervised_target=high)
    assert "+40.0 points" in said(source_only=low, adapted=high)
    assert "is no better" in said(source_only=high, adapted=high, supervised_target=low)
    assert "Fewer than two" in said(adapted=low)
    assert "No labels" in said()


def test_durations():
    assert [duration(s) for s in (3.4, 61, 3600, 9000)] == ["3 s", "1 min 1 s", "1 h 0 min", "2 h 30 min"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        write_report(minimal(), tmp_path / "taken" / "report.html")


def test_report_never_imports_torch():
    code = "import posebridge.report.page, posebridge.contracts.record_file, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def browse(page: Path, *arguments: str) -> bytes:
    """Run headless Chromium on a page, cut off from the network."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    offline = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    offline += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    profile = page.parent / f"profile_{len(list(page.parent.iterdir()))}"
    command = [browser, *flags, *offline, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, check=True, timeout=90).stdout


def test_page_in_a_browser(tmp_path):
    page = tmp_path / "report.html"
    write_report(synthetic_record(), page)
    dom = browse(page, "--dump-dom").decode()
    for element, text in {
        "pck-source_only": "0.412",
        "pck-adapted": "0.574",
        "pck-supervised_target": "0.861",
        "gap-closed": "36%",
        "chosen-step": "1400",
    }.items():
        assert re.search(rf'id="{element}">{re.escape(text)}<', dom), element
    assert dom.count('class="overlay"') == 12

    browse(page, f"--screenshot={tmp_path / 'wide.png'}", "--window-size=1280,3200")
    picture = np.asarray(Image.open(tmp_path / "wide.png").convert("RGB")).astype(int)
    assert picture.shape == (3200, 1280, 3)
    # Ink all the way down, on a light page, and the accent colour in it.
    assert ((picture.std((1, 2)) > 2).reshape(16, 200).any(1)).all()
    assert picture.mean() > 200
    assert (np.abs(picture - [15, 123, 108]).max(-1) < 12).mean() > 0.005


@pytest.mark.parametrize("record", [synthetic_record(), reconstructed_record()], ids=["scored", "reconstructed"])
def test_page_fits_a_phone(tmp_path, record):
    page = tmp_path / "report.html"
    write_report(record, page)
    probe = page.read_text().replace(
        "</body>", "<script>document.title = 'wide ' + document.documentElement.scrollWidth</script></body>"
    )
    page.write_text(probe)
    width = int(
        re.search(r"<title>wide (\d+)</title>", browse(page, "--window-size=500,900", "--dump-dom").decode())[1]
    )
    assert width <= 500
