import dataclasses
import re

from posebridge.report.page import render_report
from report.page_checks import minimal
from report.synthetic_record import synthetic_record


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
