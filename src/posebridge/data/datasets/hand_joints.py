"""Joints of depth hands: text lists, checks of size, and labels of one frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posebridge.data.frames import FrameLabels
from posebridge.errors import InputError
from posebridge.skeletons.orders import convert
from posebridge.skeletons.plausible_lengths import check_unit, size_problems
from posebridge.skeletons.skeleton import Skeleton
from posebridge.text_files import read_text

_MAX_DEPTH_M = 5.0


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises ``InputError`` for a missing file or one that is not text."""
    try:
        return [line for line in read_text(path).split("\n") if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; frames can be used without it, their labels can't") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; unpack the release's annotations again") from None


def joint_rows(path: Path, texts: Sequence[str], joints: int, skipped: dict[str, str]) -> np.ndarray:
    """(N, joints, 3) float32 as the file has them; NaN for a line that isn't 3 x ``joints`` numbers, which is listed.

    Raises ``InputError`` where no line is.
    """
    rows = np.full((len(texts), joints * 3), np.nan, dtype=np.float32)
    for i, text in enumerate(texts):
        words = text.split()
        try:
            rows[i] = np.array(words, dtype=np.float32)
        except ValueError:
            skipped[f"{path} line {i + 1}"] = f"{len(words)} entries, not {joints * 3} numbers"
    if not np.isfinite(rows).any():
        raise InputError(f"{path}: no line holds {joints * 3} numbers, x y z of {joints} joints")
    return rows.reshape(len(texts), joints, 3)


def plausible_hands(path: Path, joints_m: np.ndarray, skipped: dict[str, str]) -> np.ndarray:
    """Returns ``joints_m`` (N, J, 3) in the camera frame with NaN for impossible hands, which ``skipped`` lists.

    Raises ``InputError`` where more than half of the hands are impossible, since then the unit is wrong.
    """
    check_unit(joints_m, "hand", f"{path}: hands", "millimetres")
    problems = size_problems(joints_m, "hand")
    depth_m = joints_m[..., 2]
    away = ((depth_m <= 0) | (depth_m >= _MAX_DEPTH_M)).any(axis=1)
    if 2 * away.sum() > np.isfinite(depth_m).any(axis=1).sum():
        nearest = np.median(np.nanmin(depth_m[away], axis=1))
        raise InputError(
            f"{path}: hands at {nearest:.3g} m from the camera; give the release's own file, in millimetres"
        )
    problems |= dict.fromkeys(np.flatnonzero(away).tolist(), f"lies behind the camera or beyond {_MAX_DEPTH_M:g} m")
    kept = joints_m.copy()
    for row, problem in sorted(problems.items()):
        kept[row] = np.nan
        skipped[f"{path} hand {row + 1}"] = problem
    return kept


def hand_labels(
    joints_m: np.ndarray, K: np.ndarray, names: tuple[str, ...], skeleton: Skeleton, uv_px: np.ndarray | None = None
) -> FrameLabels:
    """Labels of one frame from ``joints_m`` (J, 3), NaN where there is none, in the order of ``names``.

    Pixels are ``uv_px`` (J, 2) or else the projection. The depth releases don't mark hidden joints, so every
    labelled one counts as visible.
    """
    labelled = np.asarray(np.isfinite(joints_m).all(axis=1))
    known_m = np.where(labelled[:, None], joints_m, [0.0, 0.0, 1.0])
    if uv_px is None:
        projected = known_m @ K.T
        uv_px = projected[:, :2] / projected[:, 2:]
    uv_px, valid = convert(np.where(labelled[:, None], uv_px, 0), labelled, names, skeleton)
    joints_m, _ = convert(np.where(labelled[:, None], joints_m, 0), labelled, names, skeleton)
    return FrameLabels(uv_px, valid, valid.copy(), joints_m)
