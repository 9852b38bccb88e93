"""The preset of a run on depth, with what its config changes."""

from dataclasses import replace

from posebridge.experiments.preset import Preset
from posebridge.experiments.presets.table import find_preset
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.registry import MethodEntry
from posebridge.networks.depth_hand import DepthHandConfig


def depth_preset(family: str, name: str, method: MethodEntry, *, translate: bool, stacks: int) -> Preset:
    """The preset, with a translation of the source or with stacked single-view networks where asked."""
    preset = find_preset(family, name, method.name).keeping(method.name)
    config = preset.config_of(method.name)
    if translate and isinstance(config, MultiViewFusionConfig):
        preset = preset.with_config(method.name, replace(config, translate=True))
    if isinstance(preset.network, DepthHandConfig):
        preset = replace(preset, network=replace(preset.network, stacks=stacks))
    return preset
