"""Predictions as a table for spreadsheets and pandas: one row for each frame and joint."""

import csv
import io

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet

COLUMNS = ("key", "joint", "u_px", "v_px", "confidence", "x_mm", "y_mm", "z_mm")
_NUMBERS = {"uv_px": 2, "confidence": 1, "xyz_mm": 3}  # columns of each array, in the order of ``COLUMNS``


def keypoints_csv(keypoints: KeypointSet) -> bytes:
    """The table in UTF-8, with a header. Columns and their order are the same for every model.

    A row a joint is what ``groupby``, ``pivot`` and filters of spreadsheets take; tables of all skeletons can be
    joined. Numbers have the digits of their 32-bit value. Cells of values that are missing are empty: those of
    millimetres where nothing is known in millimetres. Bytes of names that are no UTF-8 become ``\\udcf1``, as in JSON.
    """
    joints = keypoints.joint_names or tuple(map(str, range(keypoints.n_joints)))
    poses = zip(keypoints.key.tolist(), _cells(keypoints).tolist(), strict=True)
    rows = ((key, joint, *cells) for key, pose in poses for joint, cells in zip(joints, pose, strict=True))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return table.getvalue().encode(errors="backslashreplace")


def _cells(keypoints: KeypointSet) -> np.ndarray:
    """(N, J, 6) texts, empty for missing values."""
    n, j = len(keypoints), keypoints.n_joints
    columns: list[np.ndarray] = []
    for name, width in _NUMBERS.items():
        array = getattr(keypoints, name)
        if array is None:
            columns.append(np.full((n, j, width), ""))
            continue
        values = np.asarray(array).reshape(n, j, width)
        present = np.isfinite(values) if name == "confidence" else keypoints.present(name)[..., None]
        columns.append(np.where(present, values.astype(str), ""))
    return np.concatenate(columns, axis=-1)
