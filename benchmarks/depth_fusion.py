"""Multi-view fusion on SynthShift's depth hands: how views are fused (Table 1), what each loss is worth (Table 2), and
which data are trained on (Table 3).

python benchmarks/depth_fusion.py --study losses --seeds 3 --json FILE

Tables of Ren et al., CVPR 2022. All rows of a seed start from the same pretrained model. Errors are in mm, on held-out
hands of the target, nothing aligned.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.methods.multi_view_fusion.config import FineTuningConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.recipes.depth_fusion import (
    SIZES,
    DepthFusionConfig,
    DepthFusionSize,
    DepthTarget,
    UnlabelledFrames,
    compare_fusions,
    render_data,
    run_depth_fusion,
)
from posebridge.recipes.depth_fusion_measure import HandErrors

Study = Literal["losses", "fusion", "views", "frames", "stacks", "translation"]
Change = Callable[[DepthFusionSize], DepthFusionSize]
RowT = TypeVar("RowT")


@dataclass(frozen=True)
class DepthFusion(OverSeeds):
    """Run one study and print its table."""

    study: Study = "losses"
    """What is varied: terms of the loss (Table 2), what nodes of the graph hold (Table 1), how many views there are,
    which frames are adapted to or whether renders are given the target's look (Table 3), or how many networks of single
    views are stacked."""

    target: DepthTarget = "street"
    """What is adapted to and scored."""

    steps: int | None = None
    """Of fine-tuning; without it as many as the size has."""

    rows: tuple[str, ...] = ()
    """Those of the study that are wanted; without it all."""

    out: Path = Path("runs/depth_fusion")
    """Folder of the runs; finished stages there are not trained again."""


def _tuned(**changes: Any) -> Change:
    def change(size: DepthFusionSize) -> DepthFusionSize:
        tuning: FineTuningConfig = replace(size.method.fine_tuning, **changes)
        return replace(size, method=replace(size.method, fine_tuning=tuning))

    return change


def _paper(**changes: Any) -> Change:
    """The paper's losses as they are: fused hands teach as they were told."""
    return _tuned(teacher=None, **changes)


@dataclass(frozen=True)
class Variant:
    """A row: what it makes of the size's recipe, and the frames that it is adapted to.

    A name stands for the same in all studies, which find what has been trained for another.
    """

    change: Change = field(default_factory=_tuned)
    frames: UnlabelledFrames = "train"


FUSIONS: Mapping[str, ViewFusionConfig] = {
    "joints": ViewFusionConfig(visual=False, confidence="none"),
    "joints, features": ViewFusionConfig(confidence="none"),
    "joints, features, confidence": ViewFusionConfig(confidence="shared"),
    "joints, features, grouped confidence": ViewFusionConfig(),
}
STUDIES: Mapping[str, Mapping[str, Variant]] = {
    "losses": {
        # Longer training on the source, which every row has had.
        "source alone": Variant(
            _paper(fitting_weight=0.0, cross_weight=0.0, distillation_weight=0.0, prior_weight=0.0)
        ),
        "L_sm": Variant(_paper(cross_weight=0.0, distillation_weight=0.0)),
        "L_sm, L_cm": Variant(_paper(distillation_weight=0.0)),
        "L_sm, L_ms": Variant(_paper(cross_weight=0.0)),
        "L_sm, L_cm, L_ms": Variant(_paper()),
        "L_sm, L_cm, L_ms, without L_prior": Variant(_paper(prior_weight=0.0)),
        "whole": Variant(),  # the recipe as it is, with fitted teachers
    },
    "views": {"whole": Variant(), "one view": Variant(DepthFusionSize.from_one_camera)},
    "frames": {
        "whole": Variant(),
        "scored frames": Variant(frames="test"),
        "all frames": Variant(frames="both"),
        "one view": Variant(DepthFusionSize.from_one_camera),
        "one view, scored frames": Variant(DepthFusionSize.from_one_camera, "test"),
        "one view, all frames": Variant(DepthFusionSize.from_one_camera, "both"),
    },
    "stacks": {"whole": Variant(), "two stacks": Variant(lambda size: size.stacked(2))},
    "translation": {"whole": Variant(), "translated source": Variant(DepthFusionSize.translating)},
}


def run(config: DepthFusion) -> list[dict[str, Any]]:
    """All rows. Raises ``InputError`` for a row that the study doesn't have."""
    rows: list[dict[str, Any]] = []
    fusions = _chosen(config, FUSIONS) if config.study == "fusion" else {}
    variants = {} if config.study == "fusion" else _chosen(config, STUDIES[config.study])
    for seed in config.seed_numbers:
        length = "" if config.steps is None else f"-{config.steps}"
        cell = config.out / f"{config.target}-{config.size}-{seed}{length}"
        base = DepthFusionConfig(config.size, seed, config.target)
        data = render_data(SIZES[config.size], base)
        shared = replace(base, pretrained=config.out / f"pretrained-{config.size}-{seed}")
        if config.study == "fusion":
            found = compare_fusions(shared, cell / "fusion", config.hardware, fusions, data)
            rows += [_row(seed, name, errors) for name, errors in found.items()]
            config.keep(rows)
        for name, variant in variants.items():
            own, change = replace(shared, frames=variant.frames), _for_steps(config.steps, variant.change)
            found = run_depth_fusion(own, cell / name, config.hardware, change, data)
            rows += [_row(seed, f"{name}: {phase}", errors) for phase, errors in found.items()]
            config.keep(rows)
    return config.with_others(rows)


def _chosen(config: DepthFusion, all_rows: Mapping[str, RowT]) -> Mapping[str, RowT]:
    if unknown := set(config.rows) - set(all_rows):
        known = "; ".join(all_rows)
        raise InputError(f"{config.study} has no row {', '.join(sorted(unknown))}: choose from {known}")
    return {name: row for name, row in all_rows.items() if not config.rows or name in config.rows}


def _for_steps(steps: int | None, change: Change) -> Change:
    if steps is None:
        return change

    def changed(size: DepthFusionSize) -> DepthFusionSize:
        size = change(size)
        return _tuned(schedule=replace(size.method.fine_tuning.schedule, steps=steps))(size)

    return changed


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
