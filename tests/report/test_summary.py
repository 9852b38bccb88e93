import dataclasses

from posebridge.report.formats import duration
from posebridge.report.page import summary
from report.page_checks import minimal
from report.synthetic_record import score, synthetic_record


def test_a_summary_in_millimetres():
    scores = {
        role: dataclasses.replace(score(0.5, 5.0), mean_error_mm=mm)
        for role, mm in (("source_only", 31.26), ("adapted", 22.1))
    }
    found = summary(dataclasses.replace(minimal(), scores=scores, metric="mean_error_mm"))
    assert "changed the mean error from 31.3 to 22.1 mm" in found


def test_summaries():
    low, high = score(0.4, 9.0), score(0.8, 3.0)

    def summary_of(**scores) -> str:
        return summary(dataclasses.replace(synthetic_record(), scores=scores))

    assert "closed 50% of the gap" in summary_of(source_only=low, adapted=score(0.6, 5), supervised_target=high)
    assert "worse" in summary_of(source_only=low, adapted=score(0.3, 10), supervised_target=high)
    assert "+40.0 points" in summary_of(source_only=low, adapted=high)
    assert "is no better" in summary_of(source_only=high, adapted=high, supervised_target=low)
    assert "Fewer than two" in summary_of(adapted=low)
    assert "No labels" in summary_of()


def test_durations():
    assert [duration(s) for s in (3.4, 61, 3600, 9000)] == ["3 s", "1 min 1 s", "1 h 0 min", "2 h 30 min"]
