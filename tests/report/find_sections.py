"""Sections of a record by title, and values of their tables by row and column."""

from posebridge.contracts.record import Record
from posebridge.contracts.section import Section


def section_of(record: Record, title: str) -> Section:
    """The one section of this title."""
    (section,) = (section for section in record.sections if section.title == title)
    return section


def titles(record: Record) -> list[str]:
    """The titles of all sections."""
    return [section.title for section in record.sections]


def value_of(section: Section, row: str, column: str) -> float | None:
    """A value of the section's first table, by its column and the beginning of its row's label."""
    table = section.tables[0]
    (found,) = (found for found in table.rows if found.label.startswith(row))
    return found.values[table.columns.index(column)]


def series_of(section: Section, name: str) -> list[float]:
    """The values of a series, over all line charts; empty where no chart has it."""
    return [y for chart in section.line_charts for _, y in chart.series.get(name, ())]
