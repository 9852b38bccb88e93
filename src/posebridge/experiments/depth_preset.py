"""The preset of a run on depth, with what its config changes."""

from dataclasses import replace
from typing import Any

from posebridge.errors import InputError
from posebridge.experiments.preset import Change, Preset
from posebridge.experiments.presets.table import find_preset
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.registry import MethodEntry
from posebridge.networks.depth_hand import DepthHandConfig

_METHOD = "multi-view-fusion"


def depth_preset(family: str, name: str, method: MethodEntry, *, translate: bool, stacks: int) -> Preset:
    """The preset, with a translation of the source or with stacked single-view networks where asked."""
    preset = find_preset(family, name, method.name).keeping(method.name)
    preset = preset if stacks == 1 else stacked(stacks)(preset)
    return translated(preset) if translate else preset


def translated(preset: Preset) -> Preset:
    """The preset with source renders that are translated to the target's style first."""
    return preset.with_config(_METHOD, replace(fusion_config(preset), translate=True))


def stacked(stacks: int) -> Change:
    """Presets with so many single-view networks, each of which refines the one before."""

    def change(preset: Preset) -> Preset:
        if not isinstance(preset.network, DepthHandConfig):
            raise InputError(f"preset {preset.name} of {preset.family} has no stacks: leave --stacks out")
        return replace(preset, network=replace(preset.network, stacks=stacks))

    return change


def fine_tuning(**changes: Any) -> Change:
    """Presets with another fine-tuning; ``changes`` are fields of ``FineTuningConfig``."""

    def change(preset: Preset) -> Preset:
        method = fusion_config(preset)
        return preset.with_config(_METHOD, replace(method, fine_tuning=replace(method.fine_tuning, **changes)))

    return change


def fine_tuning_steps(steps: int) -> Change:
    """Presets whose fine-tuning takes so many steps."""

    def change(preset: Preset) -> Preset:
        return fine_tuning(schedule=replace(fusion_config(preset).fine_tuning.schedule, steps=steps))(preset)

    return change


def one_camera(preset: Preset) -> Preset:
    """The preset with augmented copies of single views in the place of calibrated views."""
    return preset.with_config(_METHOD, fusion_config(preset).for_one_camera())


def fusion_config(preset: Preset) -> MultiViewFusionConfig:
    """The preset's config of multi-view fusion."""
    config = preset.config_of(_METHOD)
    assert isinstance(config, MultiViewFusionConfig)
    return config
