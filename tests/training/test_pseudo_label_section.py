import numpy as np

from posebridge.training.pseudo_label_section import pseudo_label_sections


def test_metrics_over_the_checkpoints_where_they_were_measured():
    candidates = (
        {"step": 0, "score": 0.1, "coverage": 0.5},
        {"step": 5, "score": 0.1, "coverage": 0.6, "precision": 0.9, "repeated_errors": 0.2},
        {"step": 9, "score": 0.1},
        {"step": 12, "coverage": 0.7, "precision": float("nan")},
    )
    (section,) = pseudo_label_sections(candidates)
    main, errors = section.line_charts
    assert list(main.series) == ["coverage", "precision"]
    assert main.series["coverage"] == ((0, 0.5), (5, 0.6), (12, 0.7))
    assert [errors.title, *errors.series] == ["repeated errors", "repeated errors"]
    for found, value in ((main.series["precision"], 0.9), (errors.series["repeated errors"], 0.2)):
        np.testing.assert_array_equal(found, [(0, np.nan), (5, value), (12, np.nan)])
    (table,) = section.tables
    assert table.columns == ("step 0", "step 12")
    assert [(row.label, row.values[0]) for row in table.rows] == [("coverage", 0.5), ("precision", None)]
    assert "used for this chart only" in section.text


def test_without_truth_there_is_no_precision():
    (section,) = pseudo_label_sections([{"step": 3, "coverage": 0.25}])
    assert list(section.line_charts[0].series) == ["coverage"]
    assert "Precision wasn't measured" in section.text


def test_stages_without_pseudo_labels_have_no_section():
    assert pseudo_label_sections([{"step": 3, "score": 0.25, "oracle": 0.5}]) == ()
    assert pseudo_label_sections([]) == ()
