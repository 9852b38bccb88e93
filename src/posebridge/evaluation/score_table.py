"""Scores of two files as a text table."""

from posebridge.evaluation.score import Scores


def score_table(scores: Scores) -> str:
    """Aligned text: what was compared, overall metrics, then a row per joint."""
    lines = [_frames_line(scores)]
    if scores.frames_of_reference is not None:
        frames = scores.frames_of_reference
        lines.append(f"in space: predictions {frames.predictions}, truth {frames.truth}; alignment: {scores.align}")
    lines += [f"note: {note}" for note in scores.notes]
    if scores.unmatched_joints:
        lines.append(f"ignored joints that only one file has: {', '.join(scores.unmatched_joints)}")
    if scores.joints_without_prediction:
        lines.append(
            f"{scores.joints_without_prediction} joints were not predicted: wrong at every threshold, not in the means"
        )
    rows = _overall_rows(scores)
    width = max(len(label) for label, _ in rows)
    lines += ["", *(f"{label:<{width}}  {value:>10}" for label, value in rows), "", *_joint_lines(scores)]
    if scores.mean_error_px is not None and not any(float(label) < 1 for label in scores.pck):
        lines += ["", "PCK in the image: give --image-size, the side of the images in pixels."]
    return "\n".join(lines)


def _frames_line(scores: Scores) -> str:
    line = f"{scores.frames} frames, {len(scores.per_joint)} joints"
    if scores.frames_without_prediction:
        line += f"; {scores.frames_without_prediction} frames of the truth have no prediction and are NOT in the scores"
    if scores.frames_without_truth:
        line += f"; {scores.frames_without_truth} predicted frames have no truth"
    return line


def _overall_rows(scores: Scores) -> list[tuple[str, str]]:
    """Labels and values, those of what was predicted first."""
    parts = [_space_rows(scores), _image_rows(scores)]
    return [row for part in (parts[::-1] if scores.predicted_in == "image" else parts) for row in part]


def _space_rows(scores: Scores) -> list[tuple[str, str]]:
    rows = []
    for label, value in (
        ("mean joint error", scores.mean_joint_error_mm),
        ("median joint error", scores.median_joint_error_mm),
        ("mean after similarity alignment", scores.pa_mean_joint_error_mm),
    ):
        if value is not None:
            rows.append((label, f"{value:.3f} mm"))
    if scores.auc is not None:
        rows.append((f"AUC, {scores.auc.from_mm:g} to {scores.auc.to_mm:g} mm", f"{scores.auc.value:.3f}   "))
    rows += [(f"PCK below {label} mm", f"{share:.3f}   ") for label, share in scores.pck.items() if float(label) >= 1]
    for label, share in (scores.success_rate_max or {}).items():
        rows.append((f"frames with largest error below {label} mm", f"{share:.3f}   "))
    return rows


def _image_rows(scores: Scores) -> list[tuple[str, str]]:
    rows = []
    if scores.mean_error_px is not None:
        rows.append(("mean error in the image", f"{scores.mean_error_px:.3f} px"))
    shares = {label: share for label, share in scores.pck.items() if float(label) < 1}
    return rows + [(f"PCK @{label} of the image side", f"{share:.3f}   ") for label, share in shares.items()]


def _joint_lines(scores: Scores) -> list[str]:
    units = {"mean_joint_error_mm": "mm", "mean_error_px": "px"}
    first = next(iter(scores.per_joint.values()))
    shown = {name: unit for name, unit in units.items() if name in first}
    width = max(len("joint"), *(len(name) for name in scores.per_joint))
    head = [f"{'joint':<{width}}", *(f"{unit:>8}" for unit in shown.values())]
    lines = ["".join([*head, *(f"{_column(label):>10}" for label in scores.pck)])]
    for name, numbers in scores.per_joint.items():
        cells = [f"{name:<{width}}", *(f"{numbers[key]:8.2f}" for key in shown)]
        lines.append("".join([*cells, *(f"{share:10.3f}" for share in numbers["pck"].values())]))
    return lines


def _column(label: str) -> str:
    return f"<{label} mm" if float(label) >= 1 else f"@{label}"
