"""Rendered cut-outs in one file, so that a run that was stopped doesn't render them again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from posebridge.contracts.files import atomic_file
from posebridge.contracts.subjects import SubjectKind
from posebridge.errors import InputError
from posebridge.npz_files import ArrayFileError, load_npz
from posebridge.synthesis.cutouts import Cutout, cutouts

_ARRAYS = ("rgba", "sizes_px", "uv_px")


def load_or_render(
    folder: Path, kind: SubjectKind, count: int, seed: int, on_progress: Callable[[int], None] = lambda _: None
) -> list[Cutout]:
    """``count`` cut-outs of a seed, from their file in the folder, which is written where there is none.

    ``on_progress`` is called with the number of each that is there. Raises ``InputError`` for a damaged file.
    """
    file = folder / f"{kind}-{seed}-{count}.npz"
    if file.exists():
        loaded = read_cutouts(file, kind)
        on_progress(len(loaded))
        return loaded
    rendered: list[Cutout] = []
    for cutout in cutouts(kind, count, seed):
        rendered.append(cutout)
        on_progress(1)
    write_cutouts(file, rendered)
    return rendered


def write_cutouts(file: Path, subjects: Sequence[Cutout]) -> None:
    """Write cut-outs of one kind. Raises ``InputError`` where the disk refuses."""
    with atomic_file(file) as out:
        np.savez(
            out,
            rgba=np.concatenate([subject.rgba.reshape(-1) for subject in subjects]),
            sizes_px=np.array([subject.rgba.shape[:2] for subject in subjects]),
            uv_px=np.stack([subject.uv_px for subject in subjects]),
        )


def read_cutouts(file: Path, kind: SubjectKind) -> list[Cutout]:
    """The cut-outs of a file. Raises ``InputError`` for a damaged one."""
    try:
        arrays = load_npz(file, _ARRAYS)
        rgba, sizes, uv = (arrays[name] for name in _ARRAYS)
        pixels = np.split(rgba, np.cumsum(sizes.prod(axis=1) * 4)[:-1])
        return [
            Cutout(part.reshape(*size, 4), joints, kind) for part, size, joints in zip(pixels, sizes, uv, strict=True)
        ]
    except (ArrayFileError, KeyError, ValueError, OSError) as error:
        raise InputError(f"{file} is damaged ({error}): delete it, and it is rendered again") from error
