"""``posebridge report``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run: one HTML page that needs no other file."""

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a run; its record.json is read."""

    out: Path | None = None
    """File of the page. Without it: report.html in the run's folder."""

    def run(self) -> None:
        """Read the record, write the page."""
        from posebridge.contracts.record_file import load_record
        from posebridge.contracts.run_layout import RunLayout
        from posebridge.report.page import write_report

        out = self.out or RunLayout(self.run_folder).report
        write_report(load_record(self.run_folder), out)
        print(out)
