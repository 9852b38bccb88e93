"""Ablations of geometric reconstruction on SynthShift's videos, each row beside the same source model and bounds.

python benchmarks/ablations.py --track body-rgb --study combinations --seeds 3 --json FILE

Studies, with the tables of Lin et al., NeurIPS 2023: components (3a), combinations (B(a), supplement), strides (4),
temporal (5a), lengths of bones, masks.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.data.pairs import PairConfig
from posebridge.errors import InputError
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.mean_teacher.temporal import TemporalConsistency
from posebridge.recipes.synthshift import TRACKS, MethodName, SynthShiftConfig, run_synthshift
from posebridge.recipes.track import TrackSize
from posebridge.synthesis.domains import Track

Study = Literal["components", "combinations", "strides", "temporal", "lengths", "masks"]
Change = Callable[[TrackSize], TrackSize]
WORD = re.compile(r"\w+")
PSEUDO, WHOLE, TEACHER = "integrated_pseudo_labels", "geometric_reconstruction", "mean_teacher"


@dataclass(frozen=True)
class Ablation(OverSeeds):
    """Run one study and print its table."""

    track: Track = "body-rgb"
    """Which track; hand-depth has no videos."""

    study: Study = "components"
    """What is varied."""

    annotation_gap: float = 0.0
    """Share of the way to a neighbour by which some joints of the source are moved; see recipes/annotation_gap.py."""

    out: Path = Path("runs/ablations")
    """Folder of the runs; finished stages there are not trained again."""


def _geometric(**changes: Any) -> Change:
    """A recipe with another geometric reconstruction."""

    def change(size: TrackSize) -> TrackSize:
        return replace(size, geometric_reconstruction=replace(_of(size), **changes))

    return change


def _labels(**changes: Any) -> Change:
    return lambda size: _geometric(labels=replace(_of(size).labels, **changes))(size)


def _reconstruction(**changes: Any) -> Change:
    def change(size: TrackSize) -> TrackSize:
        reconstruction = _of(size).reconstruction
        assert reconstruction is not None
        return _geometric(reconstruction=replace(reconstruction, **changes))(size)

    return change


def _pretrained(size: TrackSize) -> TrackSize:
    """Eq. 10 between the benchmark's source model and fine-tuning, for as many steps as those of fine-tuning."""
    config = _of(size)
    schedule = config.without_reconstruction().schedule
    return _geometric(pretraining=PretrainingConfig(schedule))(size)


def _masks_of_bones(weight: float) -> Change:
    """Masks that learn nothing, and so no convention of joints; lambda_r is the usual one times ``weight``."""

    def change(size: TrackSize) -> TrackSize:
        reconstruction = _of(size).reconstruction
        assert reconstruction is not None
        redrawing = reconstruction.reconstructor
        redrawing = replace(redrawing, warping=replace(redrawing.warping, learnt_masks=False))
        return _reconstruction(reconstructor=redrawing, weight=weight * reconstruction.weight)(size)

    return change


def _guided_by_heat_maps(size: TrackSize) -> TrackSize:
    reconstruction = _of(size).reconstruction
    assert reconstruction is not None
    return _reconstruction(reconstructor=replace(reconstruction.reconstructor, guide="heatmaps"))(size)


def _temporal(size: TrackSize) -> TrackSize:
    return replace(size, mean_teacher=replace(size.mean_teacher, temporal=TemporalConsistency()))


def _of(size: TrackSize) -> GeometricReconstructionConfig:
    if size.geometric_reconstruction is None:
        raise InputError("this track has no geometric reconstruction: choose hand-rgb or body-rgb")
    return size.geometric_reconstruction


def _same(size: TrackSize) -> TrackSize:
    return size


STUDIES: Mapping[Study, Mapping[str, tuple[MethodName, Change]]] = {
    "components": {
        "mean teacher": (TEACHER, _same),
        "UniFrame's pseudo-labels": (PSEUDO, _labels(combination="2d")),
        "integrated pseudo-labels": (PSEUDO, _same),
        "reconstruction from heat maps": (WHOLE, _guided_by_heat_maps),
        "UniFrame's and reconstruction": (WHOLE, _labels(combination="2d")),
        "whole": (WHOLE, _same),
        "whole, reconstructor from the target alone": (WHOLE, _reconstruction(source_videos=False)),
        "whole, after pretraining": (WHOLE, _pretrained),
    },
    "combinations": {
        name: (PSEUDO, _labels(combination=name)) for name in ("2d", "3d", "union", "separate", "separate_then_union")
    },
    "strides": {
        f"{low} to {high}": (WHOLE, _reconstruction(pairs=PairConfig((low, high))))
        for low, high in ((0, 5), (0, 15), (5, 15), (15, 23))
    },
    "temporal": {
        "mean teacher": (TEACHER, _same),
        "mean teacher, temporal consistency": (TEACHER, _temporal),
        "geometric reconstruction": (WHOLE, _same),
    },
    "masks": {
        "pseudo-labels alone": (PSEUDO, _same),
        "learnt masks": (WHOLE, _same),
        "masks of bones": (WHOLE, _masks_of_bones(1.0)),
        "masks of bones, 3 lambda_r": (WHOLE, _masks_of_bones(3.0)),
    },
    "lengths": {name: (PSEUDO, _labels(lengths=name)) for name in ("source", "estimated", "learnt")},
}


def run(config: Ablation) -> list[dict[str, Any]]:
    """All rows."""
    rows: list[dict[str, Any]] = []
    for seed in config.seed_numbers:
        gap = f"-{config.annotation_gap:g}" if config.annotation_gap else ""
        cell = config.out / f"{config.track}-{config.size}{gap}-{seed}"
        usual = TRACKS[config.track].sizes[config.size]
        for name, (method, change) in STUDIES[config.study].items():
            what = SynthShiftConfig(
                config.track,
                method,
                config.size,
                seed,
                "videos",
                config.annotation_gap,
                bounds=cell / "bounds",
                sets=config.sets,
            )
            # What several studies have in common is trained once.
            folder = cell / (method if change(usual) == usual else f"{config.study}-{'-'.join(WORD.findall(name))}")
            outcome = run_synthshift(what, folder, config.hardware, change=change)
            rows.append({**outcome.row(), "variant": name, **outcome.groups("adapted")})
            config.keep(rows)
    return config.with_others(rows)


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    columns = [
        "source_only",
        "adapted",
        "gap_closed",
        "gap_left_adapted",
        *(name for name in rows[0] if name.startswith("PCK ")),
    ]
    return seeds_table(rows, "variant", columns)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Ablation))))
    except InputError as error:
        raise SystemExit(f"ablations: {error}") from None
