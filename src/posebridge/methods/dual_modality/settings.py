"""The rows of Table 7.2 as changes of one config. A row of the source alone has no fine-tuning."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.dual_modality.pretraining import Pair
from posebridge.networks.dual_modality import Branch

Setting = Callable[[DualModalityConfig], DualModalityConfig]

FULL = "full"


def _full(config: DualModalityConfig) -> DualModalityConfig:
    return config


def _source_alone(config: DualModalityConfig) -> DualModalityConfig:
    return replace(config, fine_tuning=None)


def _pretrained(branches: tuple[Branch, ...], pairs: tuple[Pair, ...]) -> Setting:
    """With these branches and positive pairs, on the source alone."""

    def change(config: DualModalityConfig) -> DualModalityConfig:
        pretraining = replace(config.pretraining, branches=branches, pairs=pairs)
        return _source_alone(replace(config, pretraining=pretraining))

    return change


def _without_distillation(config: DualModalityConfig) -> DualModalityConfig:
    assert config.fine_tuning is not None
    return replace(config, fine_tuning=replace(config.fine_tuning, distillation_weight=0.0))


def _without_stop_gradient(config: DualModalityConfig) -> DualModalityConfig:
    return _source_alone(replace(config, stop_gradient=False))


SETTINGS: Mapping[str, Setting] = {
    # Table 7.2 (a): the baseline, then contrastive alignment, pseudo-labels and self-distillation one after the other.
    "baseline": _pretrained(("rgb",), ()),
    "contrastive": _source_alone,  # of Table 7.2 (b), the row with stop-gradient
    "pseudo-labels": _without_distillation,
    FULL: _full,
    # Table 7.2 (b).
    "rgb-pairs": _pretrained(("rgb",), ("rgb",)),
    "rgb-depth-pairs": _pretrained(("rgb", "depth"), ("rgb", "depth")),
    "cross-pairs": _pretrained(("rgb", "depth"), ("rgb", "depth", "rgb-depth")),
    "without-stop-gradient": _without_stop_gradient,
    # Not in the paper: three branches without contrastive alignment, which "contrastive" adds two things to otherwise.
    "branches": _pretrained(("rgb", "depth", "fusion"), ()),
}
