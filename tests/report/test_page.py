import dataclasses
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posebridge.contracts.record import ConfidentJoints, GalleryFrame, Provenance, Record, Skipped
from posebridge.errors import InputError
from posebridge.report.page import duration, render_report, verdict, write_report
from report.synthetic_record import depth_record, reconstructed_record, score, synthetic_record

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
    ids=["full", "no truth", "bare", "redrawn", "redrawn, no truth"],
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
    for heading in ("Accuracy", "Error per joint", "Frames", "Pseudo-labels", "Learning curves", "How the checkpoint"):
        assert f"<h2>{heading}" in full
    assert "<h2>Error per joint" not in blind
    assert "No labels of the target were given" in blind
    assert "Precision can&#39;t be told" in blind or "Precision can't be told" in blind
    assert "no oracle to compare" in blind
    for heading in ("Frames", "Pseudo-labels", "Learning curves", "How the checkpoint"):
        assert f"<h2>{heading}" not in bare
    assert "Oracle, not used." in full
    assert "Oracle, not used." not in blind


def test_what_reconstruction_leaves_stands_on_its_pages_only():
    headings = ("<h2>ReconstructedFrames frames", "<h2>Trusted joints", "right at least once", ".redrawn", ".reading")
    full, blind = render_report(reconstructed_record()), render_report(reconstructed_record(False))
    for trace in headings:
        assert trace in full
        assert trace not in render_report(synthetic_record())
    assert "<h2>ReconstructedFrames frames" in blind
    assert "white crosses mark the truth" in full
    assert "white crosses mark the truth" not in blind
    assert "<h2>Trusted joints" not in blind
    # The rest of the page is the same: every line of it, in the same order.
    before, after = (page.split("<body>")[1].splitlines() for page in (render_report(synthetic_record()), full))
    lines = iter(after)
    assert all(line in lines for line in before if line)


def test_hands_beside_their_depth():
    page = render_report(depth_record())
    assert "<h2>Depth explained" in page
    assert "<h2>Depth explained" not in render_report(synthetic_record())
    assert "73% of the measured surface to a centimetre, and 41% before adaptation" in page
    assert "4.5 mm from it, 11.2 mm before" in page
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", page.split('id="depth-fit"')[1])]
    assert cells[:8] == ["41.2%", "73.3%", "11.2", "4.5", "30.5", "9.8", "24.0", "8.0"]
    assert "before adaptation, n/a mm" in page
    assert page.count("joints over the depth, the mesh, and both from the side") == 4


def test_a_verdict_in_millimetres():
    scores = {
        role: dataclasses.replace(score(0.5, 5.0), mean_error_mm=mm)
        for role, mm in (("source_only", 31.26), ("adapted", 22.1))
    }
    told = verdict(dataclasses.replace(minimal(), scores=scores, metric="mean_error_mm"))
    assert "changed the mean error from 31.3 to 22.1 mm" in told


def rows_of(page: str, table: int) -> list[list[str]]:
    """The cells of a table of published numbers, as text."""
    found = re.findall(r'<table class="beside">(.*?)</table>', page, re.DOTALL)[table]
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    ]


def test_a_run_stands_beside_published_numbers():
    page = render_report(synthetic_record())
    assert page.count('<table class="beside">') == 2
    assert rows_of(page, 0) == [
        ["method", "learns from", "MCP", "Fin", "All"],
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
    assert page.count('<tr class="own">') == 2
    assert "Beside published numbers" not in render_report(minimal())


def test_only_the_same_quantity_stands_beside_published_numbers():
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
        redrawings=tuple(dataclasses.replace(d, base_key=evil, driving_key=evil) for d in record.redrawings),
        confident=ConfidentJoints({evil: 3}, {evil: 0.5}, {evil: 0.75}),
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


def test_odd_records_still_render():
    nothing = dataclasses.replace(
        score(0.5, 3.0),
        pck_005=float("nan"),
        mean_error_px=float("nan"),
        per_joint_error_px=(float("nan"),) * 21,
        per_joint_pck=(float("nan"),) * 21,
        pck_curve=(float("nan"),) * 41,
    )
    nowhere = GalleryFrame("k", "sample", np.zeros((48, 80, 3), np.uint8), np.full((21, 2), np.nan))
    record = dataclasses.replace(
        synthetic_record(),
        scores={"adapted": nothing},
        curves={"stage": {"flat": ((0, 1.0),), "none": (), "broken": ((0, float("nan")), (5, float("inf")))}},
        gallery=(nowhere,),
        pseudo_labels=synthetic_record().pseudo_labels[:1],
    )
    page = render_report(record)
    Checker().feed(page)
    assert "n/a" in page
    assert not re.search(r'="(nan|inf|-inf)"', page)


def test_verdicts():
    low, high = score(0.4, 9.0), score(0.8, 3.0)

    def said(**scores) -> str:
        return verdict(dataclasses.replace(synthetic_record(), scores=scores))

    assert "closed 50% of the distance" in said(source_only=low, adapted=score(0.6, 5), supervised_target=high)
    assert "worse" in said(source_only=low, adapted=score(0.3, 10), supervised_target=high)
    assert "+40.0 points" in said(source_only=low, adapted=high)
    assert "does no better" in said(source_only=high, adapted=high, supervised_target=low)
    assert "Too few" in said(adapted=low)
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


@pytest.mark.parametrize("record", [synthetic_record(), reconstructed_record()], ids=["scored", "redrawn"])
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
