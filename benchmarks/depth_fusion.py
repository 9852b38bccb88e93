"""Studies of multi-view fusion on SynthShift's depth hands, with the tables of Ren et al., CVPR 2022.

python benchmarks/depth_fusion.py --study losses --seeds 3 --json FILE

Studies: fusion of views (Table 1), losses (Table 2), frames and translation (Table 3), views, stacks. All rows of a
seed start from the same pretrained model. Errors are in mm, on test hands of the target, nothing aligned.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from depth_studies import (
    compare_fusions,
    fine_tuning,
    fine_tuning_steps,
    one_camera,
    run_depth_study,
    stacked,
    study_sets,
    translated,
)
from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig, TargetSplit
from posebridge.methods.multi_view_fusion.hand_errors import HandErrors
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.presets.preset import Change, unchanged

Study = Literal["losses", "fusion", "views", "frames", "stacks", "translation"]
RowT = TypeVar("RowT")


@dataclass(frozen=True)
class DepthFusion(OverSeeds):
    """Run one study and print its table."""

    study: Study = "losses"
    """What is varied. losses: the terms of the loss. fusion: the inputs of the fusion network. views: three cameras or
    one. frames: the frames that are adapted to. stacks: the number of single-view networks. translation: whether
    renders are translated to the target's style."""

    target: str = "street"
    """Domain that is adapted to and scored: street; bare, the same without clutter; or varied, for development."""

    steps: int | None = None
    """Steps of fine-tuning. Default: those of the preset."""

    rows: tuple[str, ...] = ()
    """Rows of the study to run. Default: all."""

    out: Path = Path("runs/depth_fusion")
    """Folder of the runs. Stages that are finished there are not trained again."""


def _paper(**changes: Any) -> Change:
    """The paper's losses: fused hands become pseudo-labels without being fitted to their views."""
    return fine_tuning(teacher_fitting=None, **changes)


@dataclass(frozen=True)
class Variant:
    """A row: how the preset is changed, and the frames that are adapted to.

    A name means the same in all studies, so that each row is trained once.
    """

    change: Change = unchanged
    frames: TargetSplit = "train"


FUSIONS: Mapping[str, ViewFusionConfig] = {
    "joints": ViewFusionConfig(visual=False, confidence="none"),
    "joints, features": ViewFusionConfig(confidence="none"),
    "joints, features, confidence": ViewFusionConfig(confidence="shared"),
    "joints, features, grouped confidence": ViewFusionConfig(),
}
STUDIES: Mapping[str, Mapping[str, Variant]] = {
    "losses": {
        # As many more steps on the source as the other rows have.
        "source alone": Variant(
            _paper(fitting_weight=0.0, cross_weight=0.0, distillation_weight=0.0, prior_weight=0.0)
        ),
        "L_sm": Variant(_paper(cross_weight=0.0, distillation_weight=0.0)),
        "L_sm, L_cm": Variant(_paper(distillation_weight=0.0)),
        "L_sm, L_ms": Variant(_paper(cross_weight=0.0)),
        "L_sm, L_cm, L_ms": Variant(_paper()),
        "L_sm, L_cm, L_ms, without L_prior": Variant(_paper(prior_weight=0.0)),
        "preset": Variant(),  # with fitted teachers
    },
    "views": {"preset": Variant(), "one view": Variant(one_camera)},
    "frames": {
        "preset": Variant(),
        "scored frames": Variant(frames="test"),
        "all frames": Variant(frames="both"),
        "one view": Variant(one_camera),
        "one view, scored frames": Variant(one_camera, "test"),
        "one view, all frames": Variant(one_camera, "both"),
    },
    "stacks": {"preset": Variant(), "two stacks": Variant(stacked(2))},
    "translation": {"preset": Variant(), "translated source": Variant(translated)},
}


def run(config: DepthFusion) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for a row that the study doesn't have."""
    rows: list[dict[str, Any]] = []
    fusions = _chosen(config, FUSIONS) if config.study == "fusion" else {}
    variants = {} if config.study == "fusion" else _chosen(config, STUDIES[config.study])
    for seed in config.seed_numbers:
        steps = "" if config.steps is None else f"-{config.steps}"
        cell = config.out / f"{config.target}-{config.preset}-{seed}{steps}"
        base = SynthShiftConfig(
            track="hand-depth",
            method="multi-view-fusion",
            preset=config.preset,
            seed=seed,
            target_domain=config.target,
            shared=config.out / f"pretrained-{config.preset}-{seed}",
            sets=config.sets,
        )
        sets = study_sets(base)
        if config.study == "fusion":
            errors = compare_fusions(base, cell / "fusion", config.hardware, fusions, sets)
            rows += [_row(seed, name, found) for name, found in errors.items()]
            config.save(rows)
        for name, variant in variants.items():
            own = replace(base, target_split=variant.frames)
            change = _with_steps(variant.change, config.steps)
            errors = run_depth_study(own, cell / name, config.hardware, change, sets)
            rows += [_row(seed, f"{name}: {phase}", found) for phase, found in errors.items()]
            config.save(rows)
    return config.with_others(rows)


def _chosen(config: DepthFusion, all_rows: Mapping[str, RowT]) -> Mapping[str, RowT]:
    if unknown := set(config.rows) - set(all_rows):
        known = "; ".join(all_rows)
        raise InputError(f"study {config.study} has no row {', '.join(sorted(unknown))}: choose {known}")
    return {name: row for name, row in all_rows.items() if not config.rows or name in config.rows}


def _with_steps(change: Change, steps: int | None) -> Change:
    return change if steps is None else lambda preset: fine_tuning_steps(steps)(change(preset))


def _row(seed: int, variant: str, errors: HandErrors) -> dict[str, Any]:
    values = asdict(errors)
    return {"seed": seed, "variant": variant, **values.pop("rules_mm"), **values}


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    columns = [name for name in rows[0] if name not in ("seed", "variant")]
    return seeds_table(rows, "variant", columns, lambda column: 2)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(DepthFusion))))
    except InputError as error:
        raise SystemExit(f"depth_fusion: {error}") from None
