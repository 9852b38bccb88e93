"""Multi-view fusion on SynthShift's depth hands: how views are fused (Table 1), and what each loss is worth (Table 2).

python benchmarks/depth_fusion.py --study losses --seeds 3 --json FILE

Tables of Ren et al., CVPR 2022. All rows of a seed start from the same pretrained model. Errors are in mm, on held-out
street hands, nothing aligned.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.methods.multi_view_fusion import FineTuningConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.recipes.depth_fusion import SIZES, DepthFusionConfig, DepthFusionSize, render_data, run_depth_fusion

Study = Literal["losses", "fusion", "views"]
Change = Callable[[DepthFusionSize], DepthFusionSize]


@dataclass(frozen=True)
class DepthFusion(OverSeeds):
    """Run one study and print its table."""

    study: Study = "losses"
    """What is varied: terms of the loss (Table 2), what nodes of the graph hold (Table 1), or how many views there are
    (Table 3)."""

    target: Literal["street", "varied"] = "street"
    """What is adapted to and scored."""

    out: Path = Path("runs/depth_fusion")
    """Folder of the runs; finished stages there are not trained again."""


def _tuned(**changes: Any) -> Change:
    def change(size: DepthFusionSize) -> DepthFusionSize:
        tuning: FineTuningConfig = replace(size.method.fine_tuning, **changes)
        return replace(size, method=replace(size.method, fine_tuning=tuning))

    return change


def _fused(**changes: Any) -> Change:
    """Another graph, and no fine-tuning: Table 1 is about pretrained models."""

    def change(size: DepthFusionSize) -> DepthFusionSize:
        still = _tuned(schedule=replace(size.method.fine_tuning.schedule, steps=0))(size)
        return replace(still, fusion=replace(ViewFusionConfig(), **changes))

    return change


STUDIES: Mapping[Study, Mapping[str, Change]] = {
    "losses": {
        "L_sm": _tuned(cross_weight=0.0, distillation_weight=0.0),
        "L_sm, L_cm": _tuned(distillation_weight=0.0),
        "L_sm, L_ms": _tuned(cross_weight=0.0),
        "L_sm, L_cm, L_ms": _tuned(),
        "without L_prior": _tuned(prior_weight=0.0),
    },
    "fusion": {
        "joints": _fused(visual=False, confidence="none"),
        "joints, features": _fused(confidence="none"),
        "joints, features, confidence": _fused(confidence="shared"),
        "joints, features, grouped confidence": _fused(),
    },
    "views": {"three views": _tuned(), "one view": _tuned(single_view=True)},
}


def run(config: DepthFusion) -> list[dict[str, Any]]:
    """All rows."""
    rows: list[dict[str, Any]] = []
    for seed in range(config.seeds):
        cell = config.out / f"{config.target}-{config.size}-{seed}"
        base = DepthFusionConfig(config.size, seed, config.target)
        data = render_data(SIZES[config.size], base)
        for name, change in STUDIES[config.study].items():
            shared = cell / (f"pretrained-{name}" if config.study == "fusion" else "pretrained")
            what = replace(base, pretrained=shared)
            found = run_depth_fusion(what, cell / f"{config.study}-{name}", config.hardware, change, data)
            for phase, errors in found.items():
                values = asdict(errors)
                rows.append({"seed": seed, "variant": f"{name}: {phase}", **values.pop("rules_mm"), **values})
            config.keep(rows)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    columns = [name for name in rows[0] if name not in ("seed", "variant")]
    return seeds_table(rows, "variant", columns, lambda column: 2)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(DepthFusion))))
    except InputError as error:
        raise SystemExit(f"depth_fusion: {error}") from None
