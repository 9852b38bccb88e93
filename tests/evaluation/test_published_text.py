"""The papers' tables against the papers' texts."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from evaluation.published_cells import DATA, DISSERTATION, GEOMETRIC, VIEWS, cells

PAPERS = Path(__file__).resolve().parents[3] / "shared" / "papers"
TEXTS = {
    "auxiliary-information": ["auxiliary-information-dissertation-2022"],
    "geometric-reconstruction": ["geometric-reconstruction-neurips2023", "geometric-reconstruction-supplement"],
    "masked-reconstruction": ["masked-reconstruction-2025"],
    "multi-view-information": ["multi-view-information-cvpr2022"],
}
# Rows that the text prints column by column or in sentences: their numbers are searched one by one.
SCATTERED = {
    (GEOMETRIC, "Table 1"): {"SemiHand", "DualNet"},
    (GEOMETRIC, "Table 5 (b)"): {"Source only", "SemiHand", "DualNet", "Ours"},
    (GEOMETRIC, "Table B (b)"): {"integrated pseudo-labels"},
    (DISSERTATION, "Sec. 6.4.3"): {"baseline"},
    (DISSERTATION, "Sec. 6.4.4"): {"baseline", "SemiHand", "Mueller et al."},
}
needs_papers = pytest.mark.skipif(not PAPERS.is_dir(), reason="../shared/papers is absent")
every_paper = pytest.mark.parametrize("paper", sorted(TEXTS))


def text_of(paper: str) -> str:
    return "\n".join((PAPERS / f"{name}.txt").read_text(encoding="utf-8") for name in TEXTS[paper])


def as_printed(paper: str) -> list[tuple[str, str, str, list[str]]]:
    """Table, method, citation and numbers with their decimals, parsed without the code under test."""
    content = tomllib.loads((DATA / f"{paper}.toml").read_text(encoding="utf-8"), parse_float=Decimal)
    return [
        (table["name"], method, citation, [str(cell) for cell in cells if not isinstance(cell, str)])
        for table in content["table"]
        for method, citation, _, *cells in table["rows"]
    ]


@needs_papers
@every_paper
def test_every_row_is_in_the_text(paper):
    """The numbers of each row follow the label of its reference, in order and with their decimals."""
    text, missing = text_of(paper), []
    for name, method, citation, numbers in as_printed(paper):
        gain = r"(?: ?\(\+[\d.]+\))?"
        sequence = (gain + r"[^\d]{0,40}?").join(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)" for number in numbers)
        if method in SCATTERED.get((paper, name), ()):
            found = all(re.search(rf"(?<![\d.]){re.escape(number)}(?!\d|\.\d)", text) for number in numbers)
        elif citation and "UniFrame's" not in method and "temporal" not in method:
            first = re.escape(re.split(r"[\s,(]", method)[0])
            found = re.search(rf"{first}[^\n]{{0,30}}?{re.escape(citation)}[^\d\n]{{0,40}}{sequence}", text)
        else:
            found = re.search(sequence, text)
        if numbers and not found:
            missing.append((name, method, numbers))
    assert missing == []


@needs_papers
@every_paper
def test_every_number_of_the_text_is_in_the_tables(paper):
    """For lines that look like rows: cells between tabs or bars, with two numbers or more."""
    ours = {number for _, _, _, numbers in as_printed(paper) for number in numbers}
    left_out = set()
    for line in text_of(paper).splitlines():
        if line.count("\t") + line.count("|") >= 2 and len(line) < 600 and not re.match(r"\d|\$\$", line):
            line = re.sub(r"\(?(?:[+↑]|\(† ?)[\d.]+%?\)?|= 0\.\d+|(?:Eq|Alg)\. [\d.]+", " ", line)  # gains
            numbers = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", line)
            left_out |= set(numbers) - ours if len(numbers) >= 2 else set()
    assert left_out == set()


@needs_papers
@pytest.mark.parametrize(
    ("paper", "name", "places", "sentence"),
    [
        (GEOMETRIC, "Table 5 (b)", [("Ours", "H3D EPE"), ("Ours", "MVHand EPE")], r"Ours[ \t]+{}[ \t]+{}"),
        (
            *(GEOMETRIC, "Table 3 (b)"),
            [
                (method, "MVHand correct pseudo-labels")
                for method in ("UniFrame's pseudo-labels", "integrated pseudo-labels")
            ],
            r"saturates to {}% for the pseudo-labelling strategy and to {}%",
        ),
        (
            *(VIEWS, "Figure 4"),
            [
                (f"{method}, {views}", "NYU success rate at 20 mm")
                for views in ("multi-view", "single view")
                for method in ("best earlier method", "Ours")
            ],
            r"from {}% to {}% in the multi-view scenario and from {}% to {}%",
        ),
        (
            *(DISSERTATION, "Sec. 6.4.4"),
            [(method, f"{target} AUC") for target in ("STB", "DO") for method in ("baseline", "SemiHand")],
            r"\({} to {} for STB, {} to {} for DO\)",
        ),
        (DISSERTATION, "Sec. 6.4.4", [("SemiHand", "STB AUC"), ("Mueller et al.", "STB AUC")], r"\({} vs\. {}\)"),
    ],
)
def test_numbers_stated_in_the_papers_texts(paper, name, places, sentence):
    numbers = [re.escape(f"{cells(paper, name, method)[column]:g}") for method, column in places]
    assert re.search(sentence.format(*numbers), text_of(paper))
