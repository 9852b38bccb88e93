"""The table of presets. A run finds its preset by family, name and method."""

from posebridge.errors import InputError
from posebridge.methods.registry import find_method
from posebridge.presets import (
    adapt_rgb,
    aligned_latent_spaces,
    datasets_rgb,
    disentangled_vae,
    hand_depth,
    multi_view_fusion,
    source_models,
    synthshift_rgb,
)
from posebridge.presets.preset import Preset

PRESETS: list[Preset] = [
    *synthshift_rgb.PRESETS,
    *hand_depth.PRESETS,
    *adapt_rgb.PRESETS,
    *datasets_rgb.PRESETS,
    *multi_view_fusion.PRESETS,
    *disentangled_vae.PRESETS,
    *aligned_latent_spaces.PRESETS,
    *source_models.PRESETS,
]


def find_preset(family: str, name: str, method: str) -> Preset:
    """The preset of a family that has the method. Raises ``InputError`` with the choices where there is none."""
    find_method(method)
    own = [preset for preset in PRESETS if preset.family == family]
    named = [preset for preset in own if preset.name == name]
    if not named:
        names = ", ".join(dict.fromkeys(preset.name for preset in own))
        raise InputError(f"{family} has no preset {name!r}: choose {names}")
    for preset in named:
        if method in preset.methods:
            return preset
    methods = ", ".join(dict.fromkeys(known for preset in named for known in preset.methods))
    raise InputError(f"preset {name} of {family} has no method {method}: choose {methods}")
