"""Settings of the dual-modality network on SynthShift hand-rgb: errors in space, mask IoU, accepted pseudo-labels.

python benchmarks/dual_modality.py --settings baseline,contrastive,pseudo-labels,full --seeds 3 --json FILE

Settings are the rows of Table 7.2 of Yang's dissertation, 2022 (methods/dual_modality/settings.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.dual_modality.settings import SETTINGS
from posebridge.presets.dual_modality import METHOD
from posebridge.presets.preset import Change, Preset
from posebridge.training.pseudo_label_section import TITLE as PSEUDO_LABELS
from studies import chosen, errors_of, report_numbers

COLUMNS = (
    "EPE mm", "PA mm", "PCK@0.05", "mask IoU, pretrained", "mask IoU, fine-tuned", "accepted", "precision", "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Study(OverSeeds):
    """Run settings and print their table."""

    settings: Annotated[
        str, tyro.conf.arg(help=f"Settings, separated by commas. There are: {', '.join(SETTINGS)}.")
    ] = "baseline,contrastive,pseudo-labels,full"

    target_domain: str = SynthShiftConfig.target_domain
    """Domain of the target. Values are chosen on varied, never on street."""

    out: Path = Path("runs/dual-modality")
    """Folder of the runs. Stages that are finished there are not trained again."""


def run(config: Study) -> list[dict[str, Any]]:
    """All rows. Settings with the same pretraining share it. Raises ``InputError`` for an unknown setting."""
    rows: list[dict[str, Any]] = []
    names = chosen(config.settings, SETTINGS)
    for seed in config.seed_numbers:
        domain = "" if config.target_domain == SynthShiftConfig.target_domain else f"-{config.target_domain}"
        cell = config.out / f"{config.preset}{domain}-{seed}"
        synthshift = SynthShiftConfig(
            method=METHOD,
            preset=config.preset,
            seed=seed,
            target_domain=config.target_domain,
            shared=cell / "shared",
            sets=config.sets,
        )
        for name in names:
            outcome = run_synthshift(synthshift, cell / name, config.hardware, change=_change(name))
            rows.append({"setting": name, **_numbers(outcome)})
            config.save(rows)
    return config.with_others(rows)


def _change(setting: str) -> Change:
    """The setting. One with a pretraining of its own leaves out the upper bound, which the others share."""

    def change(preset: Preset) -> Preset:
        full = preset.config_of(METHOD)
        assert isinstance(full, DualModalityConfig)
        config = SETTINGS[setting](full)
        same = config.source_recipe() == full.source_recipe()
        return (preset if same else preset.keeping(METHOD)).with_config(METHOD, config)

    return change


def _numbers(outcome: SynthShiftOutcome) -> dict[str, Any]:
    score = outcome.scores["adapted"]
    sections = outcome.record.sections
    numbers = report_numbers(outcome)
    tables = [table for section in sections if section.title == PSEUDO_LABELS for table in section.tables]
    last = {row.label: row.values[-1] for table in tables for row in table.rows}
    return {
        **outcome.row(),
        **errors_of(score),
        "mask IoU, pretrained": numbers.get("mask IoU, after pretraining"),
        "mask IoU, fine-tuned": numbers.get("mask IoU, after fine-tuning"),
        "accepted": last.get("coverage"),
        "precision": last.get("precision"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    return seeds_table(rows, "setting", COLUMNS, lambda column: 1 if column in ("EPE mm", "PA mm", "minutes") else 3)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Study))))
    except InputError as error:
        raise SystemExit(f"dual_modality: {error}") from None
