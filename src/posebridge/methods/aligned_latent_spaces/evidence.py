"""Sections of the report."""

from posebridge.contracts.section import Section
from posebridge.methods.base import Evidence


def aligned_sections(evidence: Evidence) -> tuple[Section, ...]:
    return ()
