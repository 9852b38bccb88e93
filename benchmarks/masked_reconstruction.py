"""Settings of masked reconstruction on SynthShift: errors in space, attention on the foreground, mask IoU.

python benchmarks/masked_reconstruction.py --track hand-rgb --settings scratch,mae,full --seeds 3 --json FILE

Settings are the rows of Park et al., arXiv 2501.08408, Tables 1 to 4 and 9 (methods/masked_reconstruction/settings.py).
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuning
from posebridge.methods.masked_reconstruction.settings import SETTINGS
from posebridge.presets.masked_reconstruction import METHOD
from posebridge.presets.preset import Change, Preset
from posebridge.presets.table import find_preset
from posebridge.synthesis.domains import Track
from studies import chosen, errors_of, report_numbers

COLUMNS = ("EPE mm", "PA mm", "PCK@0.05", "attention after pretraining", "attention after fine-tuning", "mask IoU")


@dataclass(frozen=True)
class Study(OverSeeds):
    """Run settings and print their table."""

    track: Track = "hand-rgb"
    """hand-rgb or body-rgb."""

    settings: Annotated[
        str, tyro.conf.arg(help=f"Settings, separated by commas. There are: {', '.join(SETTINGS)}.")
    ] = "scratch,mae,without-fcr,without-ar,full"

    true_masks: bool = False
    """Take the target's true masks in place of predicted ones: an upper bound."""

    target_domain: str = SynthShiftConfig.target_domain
    """Domain of the target. Values are chosen on varied, never on street."""

    out: Path = Path("runs/masked-reconstruction")
    """Folder of the runs. Stages that are finished there are not trained again."""


def run(config: Study) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for an unknown setting."""
    rows: list[dict[str, Any]] = []
    names = chosen(config.settings, SETTINGS)
    for seed in config.seed_numbers:
        domain = "" if config.target_domain == SynthShiftConfig.target_domain else f"-{config.target_domain}"
        masks = "-true-masks" if config.true_masks else ""
        cell = config.out / f"{config.track}-{config.preset}{domain}{masks}-{seed}"
        synthshift = SynthShiftConfig(
            track=config.track,
            method=METHOD,
            preset=config.preset,
            seed=seed,
            target_domain=config.target_domain,
            true_masks=config.true_masks,
            shared=cell / "shared",
            sets=config.sets,
        )
        trained: dict[str, MaskedReconstructionConfig] = {}
        for name in names:
            change = _change(name)
            trained[name] = _config(config, change)
            _share_pretraining(cell, name, trained)
            outcome = run_synthshift(synthshift, cell / name, config.hardware, change=change)
            rows.append({"setting": name, **_numbers(outcome)})
            config.save(rows)
    return config.with_others(rows)


def _change(setting: str) -> Change:
    def change(preset: Preset) -> Preset:
        config = preset.config_of(METHOD)
        assert isinstance(config, MaskedReconstructionConfig)
        return preset.with_config(METHOD, SETTINGS[setting](config))

    return change


def _config(config: Study, change: Change) -> MaskedReconstructionConfig:
    preset = find_preset(TRACKS[config.track].preset_family(videos=False), config.preset, METHOD)
    changed = change(preset).config_of(METHOD)
    assert isinstance(changed, MaskedReconstructionConfig)
    return changed


def _share_pretraining(cell: Path, name: str, trained: Mapping[str, MaskedReconstructionConfig]) -> None:
    """Copy finished stages before fine-tuning from an earlier setting that differs in fine-tuning alone."""
    target = cell / name / "stages"
    own = trained[name]
    for other, config in trained.items():
        same = replace(config, fine_tuning=own.fine_tuning) == own and own.pretraining is not None
        source = cell / other / "stages"
        if other == name or not same or target.exists() or not source.exists():
            continue
        for stage in source.iterdir():
            if not stage.name.endswith(f"-{FineTuning.name}"):
                shutil.copytree(stage, target / stage.name)


def _numbers(outcome: SynthShiftOutcome) -> dict[str, Any]:
    score = outcome.scores["adapted"]
    numbers = report_numbers(outcome)
    return {
        **outcome.row(),
        **errors_of(score),
        "attention after pretraining": numbers.get("attention on the foreground, after pretraining"),
        "attention after fine-tuning": numbers.get("attention on the foreground, after fine-tuning"),
        "area of the foreground": numbers.get("area of the foreground"),
        "mask IoU": numbers.get("mask IoU, target"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    fractions = ("PCK@0.05", "mask IoU")
    return seeds_table(rows, "setting", COLUMNS, lambda column: 3 if column in fractions else 1)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Study))))
    except InputError as error:
        raise SystemExit(f"masked_reconstruction: {error}") from None
