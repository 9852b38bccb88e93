"""The papers' tables against one another and against arithmetic (against the texts: ``test_published_text``)."""

import re
import subprocess
import sys
import tomllib
from itertools import combinations

import pytest

from evaluation.published_cells import DATA, DISSERTATION, GEOMETRIC, MASKED, VIEWS, cells, table
from posebridge.errors import InputError
from posebridge.evaluation.protocols import BENCHMARKS, PCK_005, PCK_005_BODY
from posebridge.evaluation.published import find_published, published_tables
from posebridge.evaluation.published_tables import METRICS, PublishedTable, Row, papers


def body_parts(row: Row, found: PublishedTable, target: str) -> dict[str, float | None]:
    pairs = zip(found.columns, row.values, strict=True)
    return {c.joints: value for c, value in pairs if (c.target, c.metric) == (target, "PCK@0.05")}


def test_every_paper_has_a_table():
    assert set(papers()) == {GEOMETRIC, MASKED, VIEWS, DISSERTATION}
    assert len({(t.paper.key, t.name) for t in published_tables()}) == len(published_tables())
    assert {t.paper.citation for t in published_tables()} == {
        "Lin et al., NeurIPS 2023",
        "Park et al., arXiv:2501.08408 2025",
        "Ren et al., CVPR 2022",
        "Yang, dissertation 2022",
    }


@pytest.mark.parametrize("found", published_tables(), ids=lambda t: f"{t.paper.key} {t.name}")
def test_structure(found: PublishedTable):
    assert found.caption.endswith((".", ")"))
    labels = {column.label for column in found.columns}
    for column in found.columns:
        assert column.unit in {METRICS[column.metric][0], "share"}
        assert bool(column.source) == bool(column.target)
        assert not column.target or found.paper.splits[column.target]
    for row in found.rows:
        for column, value in zip(found.columns, row.values, strict=True):
            if value is not None:
                assert 0 < value <= {"%": 100, "share": 1}.get(column.unit, float("inf"))
    for caveat in found.caveats:
        assert caveat.row in {row.method for row in found.rows}
        assert caveat.column in {"", *labels}


@pytest.mark.parametrize("paper", papers())
def test_proposed_methods_have_rows_and_gaps_have_caveats(paper):
    for entry in tomllib.loads((DATA / f"{paper}.toml").read_text(encoding="utf-8"))["table"]:
        methods = [row[0] for row in entry["rows"]]
        assert set(entry["proposed"]) <= set(methods), entry["name"]
        found = table(paper, entry["name"])
        for row, (method, _, _, *printed) in zip(found.rows, entry["rows"], strict=True):
            for column, cell in zip(found.columns, printed, strict=True):
                if cell == "?":
                    assert found.caveats_for(row, [column]), (entry["name"], method, column.label)


def test_all_column_is_the_mean_of_its_parts():
    """Hands: 20 joints of the four columns and the wrist. Bodies: a mean of the columns, or the cell has a caveat."""
    for found in published_tables():
        for row in found.rows:
            for target in ("H3D", "MVHand"):
                parts = body_parts(row, found, target)
                if all(parts.get(name) is not None for name in ("MCP", "PIP", "DIP", "Fin")):
                    fingers = 5 * sum(parts[name] for name in ("MCP", "PIP", "DIP", "Fin"))
                    assert (fingers - 0.6) / 21 <= parts["All"] <= (fingers + 100.6) / 21, (found.name, row.method)
            parts = body_parts(row, found, "3DPW")
            if "Head" in parts:
                assert min(parts.values()) < parts["All"] < max(parts.values()), (found.name, row.method)


def test_human36m_means_include_or_exclude_the_head():
    odd = set()
    for found in published_tables(GEOMETRIC):
        for row in found.rows:
            parts = body_parts(row, found, "Human3.6M")
            if len(parts) == 8:
                rest = [value for name, value in parts.items() if name not in ("Head", "All")]
                means = [sum(rest) / 6] + ([(sum(rest) + parts["Head"]) / 7] if parts["Head"] is not None else [])
                if all(abs(parts["All"] - mean) > 0.1 for mean in means):
                    odd.add((found.name, row.method))
    marked = {(f.name, d.row) for f in published_tables(GEOMETRIC) for d in f.caveats if "no mean" in d.reason}
    assert odd == marked == {("Table A", "Baseline"), ("Table A", "+ pseudo"), ("Table A", "+ rec")}


@pytest.mark.parametrize(
    ("paper", "name", "column", "new", "old", "printed"),
    [
        (GEOMETRIC, "Table 1", "H3D All", "Ours", "UniFrame", 5.7),
        (GEOMETRIC, "Table 1", "MVHand All", "Ours", "UniFrame", 12.6),
        (GEOMETRIC, "Table 1", "H3D MCP", "Ours", "UniFrame", 3.1),
        (GEOMETRIC, "Table 1", "H3D Fin", "Ours", "UniFrame", 8.5),
        (GEOMETRIC, "Table 2", "Human3.6M All", "Ours", "UniFrame", 5.9),
        (GEOMETRIC, "Table 2", "3DPW All", "Ours", "UniFrame", 8.8),
        (GEOMETRIC, "Table 2", "Human3.6M Hip", "Ours", "UniFrame", 32.1),
        (VIEWS, "Table 1", "NYU HME", "UGCN: J, F, C", "UGCN: J, F", -6.3),
        (VIEWS, "Table 2", "NYU HME", "sm, ms, prior", "sm, prior", -28.4),
        (VIEWS, "Table 2", "NYU HPE", "sm, ms, prior", "sm, prior", -14.1),
        (VIEWS, "Table 4", "NYU cropped by a network", "Ours-HPE, multi-view", "SM, multi-view", -17.5),
        (VIEWS, "Table 4", "NYU cropped by a network", "Ours-HPE, single view", "MM, single view", -30.3),
        (DISSERTATION, "Table 7.1 (a)", "STB All", "Ours", "SemiHand", 16.0),
        (DISSERTATION, "Table 7.1 (a)", "FreiHAND All", "Ours", "CC-SSL", 4.3),
        (DISSERTATION, "Table 7.1 (a)", "H3D All", "Ours", "RegDA", 4.0),
        (DISSERTATION, "Table 7.1 (a)", "MVHand All", "Ours", "AnimalDA", 7.7),
        (DISSERTATION, "Table 7.1 (a)", "MVHand All", "Ours", "SemiHand", 22.4),
        (DISSERTATION, "Table 7.1 (b)", "STB EPE", "Ours", "SemiHand", -17.9),
        (DISSERTATION, "Table 7.1 (b)", "FreiHAND EPE", "Ours", "SemiHand", -19.2),
        (DISSERTATION, "Table 7.1 (b)", "H3D EPE", "Ours", "SemiHand", -11.0),
        (DISSERTATION, "Table 7.1 (b)", "MVHand EPE", "Ours", "SemiHand", -16.7),
        (DISSERTATION, "Table 7.2 (b)", "STB EPE", "with SG", "None", -16.7),
        (DISSERTATION, "Table 5.2", "STB EPE", "Ours", "Yang et al.", -18.6),
    ],
)
def test_improvements_stated_by_the_papers(paper, name, column, new, old, printed):
    better, worse = cells(paper, name, new)[column], cells(paper, name, old)[column]
    assert 100 * (better / worse - 1) == pytest.approx(printed, abs=0.06)


def test_papers_agree_on_shared_numbers():
    """SemiHand, DualNet (the dissertation's chapter 7) and the source model are in two papers."""
    hands, space = table(DISSERTATION, "Table 7.1 (a)"), table(DISSERTATION, "Table 7.1 (b)")
    for here, there in (("SemiHand", "SemiHand"), ("DualNet", "Ours")):
        for target in ("H3D", "MVHand"):
            share = cells(DISSERTATION, hands.name, there)[f"{target} All"]
            assert cells(GEOMETRIC, "Table 1", here)[f"{target} All"] == pytest.approx(100 * share)
            error = cells(DISSERTATION, space.name, there)[f"{target} EPE"]
            assert cells(GEOMETRIC, "Table 5 (b)", here)[f"{target} EPE"] == error

    for target in ("H3D", "MVHand"):
        baseline = cells(DISSERTATION, space.name, "Baseline")[f"{target} EPE"]
        assert cells(GEOMETRIC, "Table 5 (b)", "Source only")[f"{target} EPE"] == baseline


@pytest.mark.parametrize(
    ("paper", "same"),
    [
        (GEOMETRIC, [("Table 1", "Ours"), ("Table 5 (a)", "Ours"), ("Table A", "+ pseudo + rec")]),
        (GEOMETRIC, [("Table 2", "Ours"), ("Table 4", "stride 5 to 15"), ("Table A", "+ pseudo + rec")]),
        (GEOMETRIC, [("Table A", "+ pseudo"), ("Table B (a)", "separate, then their union")]),
        (MASKED, [("Table 1", "Ours"), ("Table 3", "Ours"), ("Table 4", "Ours")]),
        (MASKED, [("Table 2", "Ours"), ("Table 3", "Ours"), ("Table 9", "mask ratio 0.75, foreground weight 4")]),
        (MASKED, [("Table 1", "Ours (MAE)"), ("Table 3", "Ours without FCR and AR")]),
        (MASKED, [("Table 3", "Ours without FCR"), ("Table 4", "Ours without masks of source and target")]),
        (VIEWS, [("Table 1", "No fusion"), ("Table 3", "pre-training with style transfer")]),
        (VIEWS, [("Table 2", "sm, cm, ms, prior"), ("Table 3", "multi-view fine-tuning, train frames")]),
        (DISSERTATION, [("Table 5.1", "S4: R+C to C+H+P"), ("Table 5.2", "Ours")]),
        (DISSERTATION, [("Table 6.1", "baseline: RHD"), ("Sec. 6.4.3", "baseline")]),
        (DISSERTATION, [("Table 7.1 (b)", "Ours"), ("Table 7.2 (a)", "+ self-distillation")]),
        (DISSERTATION, [("Table 7.2 (a)", "+ contrastive learning"), ("Table 7.2 (b)", "with SG")]),
    ],
)
def test_a_model_has_the_same_numbers_in_every_table(paper, same):
    for first, second in combinations([cells(paper, *place) for place in same], 2):
        shared = [label for label in first if first[label] is not None and second.get(label) is not None]
        assert shared or "Sec. 6.4.3" in {name for name, _ in same}
        assert [first[label] for label in shared] == [second[label] for label in shared]


def test_rows_for_comparison_with_a_result():
    rows = find_published("H3D", "PCK@0.05")
    assert {(row.paper, row.table) for row in rows} == {
        ("Lin et al., NeurIPS 2023", "Table 1"),
        ("Yang, dissertation 2022", "Table 7.1 (a)"),
    }
    ours = next(row for row in rows if row.proposed and row.table == "Table 1")
    assert ours.values == {"MCP": 89.4, "PIP": 88.3, "DIP": 81.9, "Fin": 73.9, "All": 84.1}
    assert (ours.unit, ours.higher_is_better, ours.backbone) == ("%", True, "ResNet-101")
    shares = {row.method: row.values["All"] for row in rows if row.table == "Table 7.1 (a)"}
    assert shares["Ours"] == 74.9  # printed as 0.749
    assert {row.method for row in find_published("H3D", "PCK@0.05", joints="Fin")} == {
        *("Source only", "CC-SSL", "RegDA", "UniFrame", "Ours"),
    }
    assert len(find_published("H3D", "PCK@0.05", ablations=True)) > len(rows)
    assert [r.values["All"] for r in find_published("STB", "EPE", source="FreiHAND", supervision="source only")] == [
        *(36.1, 27.0, 24.7, 22.7, 22.0),
    ]
    assert all(row.values["All"] is not None for row in find_published("NYU", "mean joint error", ablations=True))
    assert {row.variant for row in find_published("NYU", "mean joint error")} == {
        "cropped by a network",
        "cropped by annotation",
    }
    assert find_published("H3D", "EPE", source="RHD", supervision="unlabelled target")[2].caveats


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: published_tables("regda"), "no paper 'regda': there are auxiliary-information, geometric-"),
        (lambda: find_published("Mars", "EPE"), "the targets are 3DPW, DO, FreiHAND, "),
        (lambda: find_published("STB", "MPJPE"), "on STB there are AUC over All from RHD, EPE over All from FreiHAND"),
        (lambda: find_published("H3D", "PCK@0.05", joints="Toe"), "PCK@0.05, Toe: on H3D"),
    ],
)
def test_unknown_names_list_the_known_ones(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_metrics_are_those_of_the_protocols():
    assert set(BENCHMARKS) <= set(METRICS)
    assert {PCK_005.name, PCK_005_BODY.name} <= set(METRICS)
    for protocol, target in ((PCK_005, "H3D"), (PCK_005_BODY, "3DPW")):
        printed = {
            c.joints for t in published_tables() for c in t.columns if (c.target, c.metric) == (target, protocol.name)
        }
        assert printed == {*protocol.groups, "All"}


def test_the_page_lists_every_table():
    page = (DATA.parents[3] / "docs" / "published.md").read_text(encoding="utf-8")
    for found in published_tables():
        pairs = {c.source and f"{c.source} to {c.target}" for c in found.columns} - {""}
        metrics = {c.metric for c in found.columns}
        lines = [line for line in page.splitlines() if line.startswith(f"| {found.name} |")]
        here = [line for line in lines if line.endswith(f"| {len(found.rows)} |")]
        assert any(all(word in line for word in (*pairs, *metrics)) for line in here), (found.paper.key, found.name)
    assert len(re.findall(r"^\| (?:Table|Sec\.|Figure) [^|]", page, re.MULTILINE)) == len(published_tables())


def test_tables_do_not_import_torch():
    code = (
        "import sys; from posebridge.evaluation.published import published_tables; published_tables(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
