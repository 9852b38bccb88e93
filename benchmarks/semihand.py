"""Settings of SemiHand on SynthShift hand-rgb: errors in the image and in space, mask IoU, accepted frames.

python benchmarks/semihand.py --settings baseline,vc,cc,vc+cc,pseudo-labels,full --seeds 3 --json FILE

Settings are the rows of Table 6.1 of Yang's dissertation, 2022 (methods/semihand/settings.py). Its rows on other frames
of the target are --target-split, the curve of Fig. 6.10 is --target-share.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig, TargetSplit
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift, synthshift_experiment
from posebridge.experiments.synthshift_sets import render_sets
from posebridge.methods.semihand.adaptation import Adaptation
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.semihand.settings import SETTINGS
from posebridge.presets.preset import Change, Preset
from posebridge.presets.semihand import METHOD
from posebridge.presets.table import find_preset
from studies import chosen, errors_of, report_numbers

_FAMILY = "synthshift/hand-rgb"
_SECTION_NUMBERS = {  # column -> number of the report
    "mask IoU": "mask IoU, target, after adaptation",
    "mask IoU before": "mask IoU, target, after pretraining",
    "circle IoU": "IoU of circles and true masks, source",
    "accepted first %": "accepted frames, first iteration",
    "accepted last %": "accepted frames, last iteration",
}
COLUMNS = ("EPE mm", "PA mm", "PCK@0.05", *_SECTION_NUMBERS, "precision", "minutes")


@dataclass(frozen=True)
class Study(OverSeeds):
    """Run settings and print their table."""

    settings: Annotated[
        str, tyro.conf.arg(help=f"Settings, separated by commas. There are: {', '.join(SETTINGS)}.")
    ] = "baseline,vc,cc,vc+cc,pseudo-labels,full"

    target_domain: str = SynthShiftConfig.target_domain
    """Domain of the target. Values are chosen on varied, never on street."""

    target_split: TargetSplit = "train"
    """Frames of the target to adapt to; the test frames are scored."""

    target_share: float = 1.0
    """Share of these frames that are adapted to, evenly chosen."""

    threshold: float | None = None
    """tau of Eq. 6.4; None: the preset's."""

    out: Path = Path("runs/semihand")
    """Folder of the runs. Stages that are finished there are not trained again."""


def run(config: Study) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for an unknown setting and for a share that is none."""
    names = chosen(config.settings, SETTINGS)
    if not 0 < config.target_share <= 1:
        raise InputError(f"--target-share {config.target_share} is no share: give a number in (0, 1]")
    rows: list[dict[str, Any]] = []
    for seed in config.seed_numbers:
        cell = config.out / _cell(config, seed)
        synthshift = SynthShiftConfig(
            track="hand-rgb",
            method=METHOD,
            preset=config.preset,
            seed=seed,
            target_domain=config.target_domain,
            target_split=config.target_split,
            shared=config.out / f"{config.preset}-{config.target_domain}-{seed}-shared",
            sets=config.sets,
        )
        experiment = synthshift_experiment(synthshift, config.hardware)
        sets = render_sets(synthshift, experiment.preset, experiment.method)
        sets = replace(sets, target=_share_of(sets.target, config.target_share))
        trained: dict[str, SemiHandConfig] = {}
        for name in names:
            change = _change(name, config.threshold)
            trained[name] = _config(config, change)
            _share_stages(cell, name, trained)
            outcome = run_synthshift(synthshift, cell / name, config.hardware, change=change, sets=sets)
            rows.append({"setting": name, **_numbers(outcome)})
            config.save(rows)
    return config.with_others(rows)


def _cell(config: Study, seed: int) -> str:
    changes = [] if config.target_split == "train" else [config.target_split]
    changes += [] if config.target_share == 1 else [f"{config.target_share:g}"]
    changes += [] if config.threshold is None else [f"tau-{config.threshold:g}"]
    return "-".join((config.preset, config.target_domain, str(seed), *changes))


def _share_of(target: InMemoryDataset[LabelledBatch], share: float) -> InMemoryDataset[LabelledBatch]:
    count = max(1, round(share * len(target)))
    if count == len(target):
        return target
    chosen = torch.linspace(0, len(target) - 1, count).round().long().tolist()
    return InMemoryDataset(target[i] for i in chosen)


def _change(setting: str, threshold: float | None) -> Change:
    def change(preset: Preset) -> Preset:
        config = preset.config_of(METHOD)
        assert isinstance(config, SemiHandConfig)
        if threshold is not None and config.adaptation is not None:
            config = replace(config, adaptation=replace(config.adaptation, threshold=threshold))
        return preset.with_config(METHOD, SETTINGS[setting](config))

    return change


def _config(config: Study, change: Change) -> SemiHandConfig:
    changed = change(find_preset(_FAMILY, config.preset, METHOD)).config_of(METHOD)
    assert isinstance(changed, SemiHandConfig)
    return changed


def _share_stages(cell: Path, name: str, trained: Mapping[str, SemiHandConfig]) -> None:
    """Copy finished stages before the adaptation from an earlier setting that trains them alike."""
    target, own = cell / name / "stages", trained[name]
    needs_circles = own.adaptation is not None and own.adaptation.cross_modal
    for other, config in trained.items():
        source = cell / other / "stages"
        if other == name or replace(config, adaptation=own.adaptation) != own or not source.exists():
            continue
        for stage in source.iterdir():
            kind = stage.name.partition("-")[2]
            wanted = kind != Adaptation.name and (needs_circles or kind != "circles")
            if wanted and not (target / stage.name).exists():
                shutil.copytree(stage, target / stage.name)


def _numbers(outcome: SynthShiftOutcome) -> dict[str, Any]:
    score = outcome.scores["adapted"]
    numbers = report_numbers(outcome)
    candidates = outcome.trained["adapted"].reports[-1].candidates
    precision = candidates[-1].get("precision", math.nan) if candidates else math.nan
    return {
        **outcome.row(),
        **errors_of(score),
        "precision": precision if math.isfinite(precision) else None,  # of the last candidate; none accepted: None
        **{column: numbers.get(label) for column, label in _SECTION_NUMBERS.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    percent_or_mm = ("EPE mm", "PA mm", "accepted first %", "accepted last %", "minutes")
    return seeds_table(rows, "setting", COLUMNS, lambda column: 1 if column in percent_or_mm else 3)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Study))))
    except InputError as error:
        raise SystemExit(f"semihand: {error}") from None
