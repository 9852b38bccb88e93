"""Tables of the docs from committed rows: everything between a marker and its end is written by this command.

python benchmarks/pages.py            # writes the tables
python benchmarks/pages.py --check    # fails where a page differs from its rows

A marker in a page names a benchmark and files of ``benchmarks/results/``, which the benchmark wrote with --json:

    <!-- table: masked_reconstruction hand-rgb-street.json -->
    <!-- end of table -->
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path

import tyro

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_MARKED = re.compile(r"(<!-- table: (?P<benchmark>\w+) (?P<files>[^>]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class Options:
    """Write the tables of the docs."""

    check: bool = False
    """Write nothing, and fail where a page differs from its rows."""


def written(page: str) -> str:
    """The page with all of its marked tables made from their rows."""

    def table(match: re.Match[str]) -> str:
        rows = [row for name in match["files"].split() for row in json.loads((RESULTS / name).read_text())]
        benchmark = run_path(str(ROOT / "benchmarks" / f"{match['benchmark']}.py"))  # by path: names aren't unique
        return f"{match[1]}{benchmark['table'](rows)}\n{match[4]}"

    return _MARKED.sub(table, page)


def used_results(page: str) -> set[str]:
    """Names of the files of rows that a page shows."""
    return {name for match in _MARKED.finditer(page) for name in match["files"].split()}


def main(options: Options) -> int:
    """The exit code."""
    changed = []
    for path in sorted(ROOT.glob("docs/**/*.md")):
        before = path.read_text()
        after = written(before)
        if after != before:
            changed.append(path.relative_to(ROOT))
            if not options.check:
                path.write_text(after)
    for path in changed:
        print(f"{path}: {'differs from its rows, run benchmarks/pages.py' if options.check else 'written'}")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
