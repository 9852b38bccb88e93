import dataclasses
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from posebridge.contracts.record import GalleryFrame, Skipped
from posebridge.contracts.section import GroupChart, LineChart, Number, Section, Table, TableRow
from posebridge.errors import InputError
from posebridge.report.page import render_report, write_report
from posebridge.training.pseudo_label_section import pseudo_label_sections
from report.page_checks import Checker, minimal
from report.reconstructed_record import reconstructed_record
from report.synthetic_record import candidates, score, synthetic_record
from report.synthetic_sections import toy_section


@pytest.mark.parametrize(
    "record",
    [synthetic_record(), synthetic_record(False), minimal(), reconstructed_record(), reconstructed_record(False)],
    ids=["full", "no truth", "bare", "reconstructed", "reconstructed, no truth"],
)
def test_page_is_well_formed_and_self_contained(record):
    page = render_report(record)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "url(" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert page.count("<svg") == page.count('role="img" aria-label="')


def test_sections_depend_on_the_record():
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


def test_records_without_finite_values_render():
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


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        write_report(minimal(), tmp_path / "taken" / "report.html")


def test_report_never_imports_torch():
    code = "import posebridge.report.page, posebridge.contracts.record_file, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
