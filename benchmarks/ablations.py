"""Ablations of geometric reconstruction on videos of SynthShift. All rows of a seed share source model and upper bound.

python benchmarks/ablations.py --track body-rgb --study combinations --seeds 3 --json FILE

Studies, with the tables of Lin et al., NeurIPS 2023: components (3a), combinations (B(a), supplement), strides (4),
temporal (5a), lengths of bones, masks, fine-tuning of the reconstructor.
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
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.base import MethodConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.mean_teacher.temporal import TemporalConsistency
from posebridge.presets.preset import Change, Preset, unchanged
from posebridge.presets.table import find_preset
from posebridge.synthesis.domains import Track

Study = Literal["components", "combinations", "strides", "temporal", "lengths", "masks", "reconstructor"]
WORD = re.compile(r"\w+")
LABELS, RECONSTRUCTION, TEACHER = "integrated-pseudo-labels", "geometric-reconstruction", "mean-teacher"


@dataclass(frozen=True)
class Ablation(OverSeeds):
    """Run one study and print its table."""

    track: Track = "body-rgb"
    """The track. hand-depth has no videos."""

    study: Study = "components"
    """What is varied."""

    annotation_gap: float = 0.0
    """Interpolation factor by which some joints of the source are moved. See data/annotation_gap.py."""

    target_domain: str = SynthShiftConfig.target_domain
    """Domain of the target. Values are chosen on varied, never on street."""

    out: Path = Path("runs/ablations")
    """Folder of the runs. Stages that are finished there are not trained again."""


@dataclass(frozen=True)
class Variant:
    """A row: a method, and how its preset is changed."""

    method: str
    change: Change = unchanged


def _with_labels(**changes: Any) -> Variant:
    """Integrated pseudo-labels with other values of ``LabelIntegration``."""

    def change(config: GeometricReconstructionConfig) -> MethodConfig:
        return replace(config, labels=replace(config.labels, **changes))

    return Variant(LABELS, _configured(LABELS, change))


def _reconstructing(**changes: Any) -> Variant:
    """Geometric reconstruction with other values of ``ReconstructionConfig``."""

    def change(config: GeometricReconstructionConfig) -> MethodConfig:
        assert config.reconstruction is not None
        return replace(config, reconstruction=replace(config.reconstruction, **changes))

    return Variant(RECONSTRUCTION, _configured(RECONSTRUCTION, change))


def _configured(method: str, change: Callable[[GeometricReconstructionConfig], MethodConfig]) -> Change:
    """A change of a method's config in its preset."""

    def changed(preset: Preset) -> Preset:
        config = preset.config_of(method)
        assert isinstance(config, GeometricReconstructionConfig)
        return preset.with_config(method, change(config))

    return changed


def _with_2d_labels(config: GeometricReconstructionConfig) -> MethodConfig:
    """UniFrame's pseudo-labels, which the image alone selects."""
    return replace(config, labels=replace(config.labels, combination="2d"))


def _pretrained(config: GeometricReconstructionConfig) -> MethodConfig:
    """With Eq. 10 between the source model and fine-tuning, for as many steps as fine-tuning has."""
    return replace(config, pretraining=PretrainingConfig(config.without_reconstruction().schedule))


def _guided_by_heat_maps(config: GeometricReconstructionConfig) -> MethodConfig:
    """Reconstruction from heat maps in place of displaced pixels."""
    reconstruction = config.reconstruction
    assert reconstruction is not None
    reconstructor = replace(reconstruction.reconstructor, guide="heatmaps")
    return replace(config, reconstruction=replace(reconstruction, reconstructor=reconstructor))


def _with_bone_masks(weight: float) -> Variant:
    """Masks that are bone maps and not learnt. The preset's lambda_r is multiplied by ``weight``."""

    def change(config: GeometricReconstructionConfig) -> MethodConfig:
        reconstruction = config.reconstruction
        assert reconstruction is not None
        reconstructor = reconstruction.reconstructor
        reconstructor = replace(reconstructor, warping=replace(reconstructor.warping, learnt_masks=False))
        other = replace(reconstruction, reconstructor=reconstructor, weight=weight * reconstruction.weight)
        return replace(config, reconstruction=other)

    return Variant(RECONSTRUCTION, _configured(RECONSTRUCTION, change))


def _with_temporal_consistency(preset: Preset) -> Preset:
    config = preset.config_of(TEACHER)
    assert isinstance(config, MeanTeacherConfig)
    return preset.with_config(TEACHER, replace(config, temporal=TemporalConsistency()))


STUDIES: Mapping[Study, Mapping[str, Variant]] = {
    "components": {
        "mean teacher": Variant(TEACHER),
        "UniFrame's pseudo-labels": _with_labels(combination="2d"),
        "integrated pseudo-labels": Variant(LABELS),
        "reconstruction from heat maps": Variant(RECONSTRUCTION, _configured(RECONSTRUCTION, _guided_by_heat_maps)),
        "UniFrame's pseudo-labels and reconstruction": Variant(
            RECONSTRUCTION, _configured(RECONSTRUCTION, _with_2d_labels)
        ),
        "lambda_r = 0": _reconstructing(weight=0.0),
        "geometric reconstruction": Variant(RECONSTRUCTION),
        "reconstructor trained on the target alone": _reconstructing(source_videos=False),
        "after pretraining": Variant(RECONSTRUCTION, _configured(RECONSTRUCTION, _pretrained)),
    },
    "combinations": {
        name: _with_labels(combination=name) for name in ("2d", "3d", "union", "separate", "separate_then_union")
    },
    "strides": {
        f"{low} to {high}": _reconstructing(pairs=PairConfig((low, high)))
        for low, high in ((0, 5), (0, 15), (5, 15), (15, 23))
    },
    "temporal": {
        "mean teacher": Variant(TEACHER),
        "mean teacher, temporal consistency": Variant(TEACHER, _with_temporal_consistency),
        "geometric reconstruction": Variant(RECONSTRUCTION),
    },
    "masks": {
        "pseudo-labels alone": Variant(LABELS),
        "learnt masks": Variant(RECONSTRUCTION),
        "bone masks": _with_bone_masks(1.0),
        "bone masks, 3 lambda_r": _with_bone_masks(3.0),
    },
    "reconstructor": {
        "lambda_r = 0": _reconstructing(weight=0.0),
        "full rate, target alone": _reconstructing(fine_tuning_rate=1.0, fine_tune_on_source=False),
        "target alone": _reconstructing(fine_tune_on_source=False),
        "geometric reconstruction": Variant(RECONSTRUCTION),
    },
    "lengths": {name: _with_labels(lengths=name) for name in ("source", "estimated", "learnt")},
}


def run(config: Ablation) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for a track without videos."""
    rows: list[dict[str, Any]] = []
    if TRACKS[config.track].video_frames is None:
        with_videos = ", ".join(track.name for track in TRACKS.values() if track.video_frames is not None)
        raise InputError(f"track {config.track} has no videos: choose {with_videos}")
    for seed in config.seed_numbers:
        gap = f"-{config.annotation_gap:g}" if config.annotation_gap else ""
        domain = "" if config.target_domain == SynthShiftConfig.target_domain else f"-{config.target_domain}"
        cell = config.out / f"{config.track}-{config.preset}{domain}{gap}-{seed}"
        for name, variant in STUDIES[config.study].items():
            synthshift = SynthShiftConfig(
                track=config.track,
                method=variant.method,
                preset=config.preset,
                seed=seed,
                target_frames="videos",
                target_domain=config.target_domain,
                annotation_gap=config.annotation_gap,
                shared=cell / "shared",
                sets=config.sets,
            )
            folder = cell / _folder_name(config, name, variant)
            outcome = run_synthshift(synthshift, folder, config.hardware, change=variant.change)
            rows.append({**outcome.row(), "variant": name, **outcome.groups("adapted")})
            config.save(rows)
    return config.with_others(rows)


def _folder_name(config: Ablation, name: str, variant: Variant) -> str:
    """The folder of a row. Rows that change nothing are the same in all studies, and are trained once."""
    preset = find_preset(TRACKS[config.track].preset_family(videos=True), config.preset, variant.method)
    if variant.change(preset) == preset:
        return variant.method
    return f"{config.study}-{'-'.join(WORD.findall(name))}"


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    groups = [name for name in rows[0] if name.startswith("PCK ")]
    return seeds_table(rows, "variant", ["source_only", "adapted", "gap_closed", "residual_gap_adapted", *groups])


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Ablation))))
    except InputError as error:
        raise SystemExit(f"ablations: {error}") from None
