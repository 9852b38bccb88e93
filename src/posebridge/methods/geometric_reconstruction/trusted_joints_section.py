"""The accuracy of trusted joints before and after reconstruction, as a section of the report. Free of torch."""

from collections.abc import Mapping

from posebridge.contracts.section import GroupChart, Section, Table, TableRow

TITLE = "Trusted joints"
_TEXT = (
    "These joints were trusted as pseudo-labels before reconstruction joined the training. Hollow marks show their "
    "accuracy then, filled marks their accuracy at the end. Pseudo-labels alone can't correct a joint that was trusted "
    "and wrong. The true joints were used for this section only."
)


def trusted_joints(counts: Mapping[str, int], before: Mapping[str, float], after: Mapping[str, float]) -> Section:
    """The section of trusted joints, by group of joints. Table 3 (c) of Lin et al., NeurIPS 2023.

    Args:
        counts: the number of trusted joints that have a label.
        before: the share of them with an error below 5% of the image side, before reconstruction joined; NaN for none.
        after: the share at the end.

    Raises:
        ValueError: for arguments with different groups.
    """
    if not counts.keys() == before.keys() == after.keys():
        raise ValueError("counts and shares of trusted joints have different groups")
    groups = tuple(counts)
    series = {
        "before": tuple(before[group] for group in groups),
        "after": tuple(after[group] for group in groups),
    }
    chart = GroupChart(
        "accuracy before and after reconstruction",
        "share with an error below 5% of the image side",
        groups,
        series,
        counts=tuple(counts.values()),
        count_label="joints",
        value_range=(0, 1),
        higher_is_better=True,
    )
    rows = (
        TableRow("joints", tuple(counts.values()), digits=0),
        *(TableRow(name, values) for name, values in series.items()),
    )
    return Section(TITLE, _TEXT, tables=(Table(groups, rows),), group_charts=(chart,))
