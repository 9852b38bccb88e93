"""Tables of the docs are those of the committed rows."""

import json

import pytest

import pages

MARKED = "a\n<!-- table: synthshift one.json two.json -->\n{table}<!-- end of table -->\nb\n"


def test_pages_agree_with_their_rows():
    assert pages.main(pages.Options(check=True)) == 0


def test_all_rows_stand_on_a_page_with_seed_and_machine():
    used = set().union(*(pages.used_results(path.read_text()) for path in pages.ROOT.glob("docs/**/*.md")))
    committed = {path.name: json.loads(path.read_text()) for path in pages.RESULTS.glob("*.json")}
    assert used == committed.keys()
    for rows in committed.values():
        assert all("seed" in row and row["environment"]["posebridge"] for row in rows)


@pytest.fixture
def results(tmp_path, monkeypatch):
    row = {"track": "hand-rgb", "method": "regda", "metric": "pck_005", "seed": 0, "adapted": 0.5}
    for name, seed, value in (("one.json", 0, 0.5), ("two.json", 1, 0.7)):
        (tmp_path / name).write_text(json.dumps([{**row, "seed": seed, "adapted": value}]))
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    return tmp_path


def test_a_table_is_made_from_the_files_of_its_marker(results):
    page = pages.written(MARKED.format(table="| old |\n"))
    assert "0.600" in page
    assert "old" not in page
    assert page.startswith("a\n<!-- table: synthshift one.json two.json -->\n|")
    assert page.endswith("|\n<!-- end of table -->\nb\n")
    assert pages.written(page) == page
    assert pages.used_results(page) == {"one.json", "two.json"}


def test_a_changed_number_is_found(results):
    page = pages.written(MARKED.format(table=""))
    assert pages.written(page.replace("0.600", "0.610")) == page
