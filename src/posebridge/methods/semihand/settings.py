"""The rows of Table 6.1 as changes of one config, and the rows without diversity augmentation (Sec. 6.3.4).

A row differs from "full" in what its name says. "baseline" is the pretraining alone, without any image of the target.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.methods.semihand.views import NO_DIVERSITY

Setting = Callable[[SemiHandConfig], SemiHandConfig]

FULL = "full"


def _full(config: SemiHandConfig) -> SemiHandConfig:
    return config


def _baseline(config: SemiHandConfig) -> SemiHandConfig:
    return replace(config, adaptation=None)


def _adapted(**changes: Any) -> Setting:
    """With other values of the adaptation."""

    def change(config: SemiHandConfig) -> SemiHandConfig:
        assert config.adaptation is not None
        return replace(config, adaptation=replace(config.adaptation, **changes))

    return change


def _with_angles(config: SemiHandConfig) -> SemiHandConfig:
    return replace(config, correction=replace(config.correction, angles=True))


SETTINGS: Mapping[str, Setting] = {
    FULL: _full,
    # Table 6.1
    "baseline": _baseline,
    "vc": _adapted(pseudo_labels=False, cross_modal=False),
    "cc": _adapted(pseudo_labels=False, view_consistency=False),
    "vc+cc": _adapted(pseudo_labels=False),
    "pseudo-labels": _adapted(view_consistency=False, cross_modal=False),
    # Views of source and pseudo-labelled samples as they are: the collapse that the dissertation reports.
    "vc-without-diversity": _adapted(pseudo_labels=False, cross_modal=False, diversity=NO_DIVERSITY),
    "without-diversity": _adapted(diversity=NO_DIVERSITY),
    # Ours: joint angles are corrected beside bone lengths.
    "with-angles": _with_angles,
}
