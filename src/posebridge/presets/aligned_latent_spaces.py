"""Aligned latent spaces: the dissertation's values, values for two CPU cores, and the strategies of Table 5.1."""

from collections.abc import Mapping
from dataclasses import replace

from posebridge.data.augment import GeometryConfig
from posebridge.deployment.model_spec import AlignedPoseSpec
from posebridge.methods.aligned_latent_spaces.config import AlignedLatentSpacesConfig, LatentAlignment, hue_alone
from posebridge.networks.aligned_latents import AlignedPoseConfig, HeatMapConfig
from posebridge.networks.latent_coders import ImageEncoderConfig
from posebridge.networks.point_clouds import CloudCoderConfig
from posebridge.presets.preset import Change, DataSizes, Preset, unchanged
from posebridge.training.optimisers import Schedule

METHOD = "aligned-latent-spaces"
FAMILIES = ("synthshift/hand-rgb", "datasets/hand-rgb")
BEST = "RC2CHP"  # by a product of experts, as in Table 5.2


def config_in(preset: Preset) -> AlignedLatentSpacesConfig:
    """The config of the method in a preset that has it."""
    config = preset.config_of(METHOD)
    assert isinstance(config, AlignedLatentSpacesConfig)
    return config


def with_method(**changes) -> Change:
    """A preset with other values of the method's config."""
    return lambda preset: preset.with_config(METHOD, replace(config_in(preset), **changes))


def with_network(**changes) -> Change:
    """A preset with other values of the network's config."""

    def change(preset: Preset) -> Preset:
        assert isinstance(preset.model, AlignedPoseSpec)
        return replace(preset, model=replace(preset.model, network=replace(preset.model.network, **changes)))

    return change


def _strategy(alignment: LatentAlignment = "none", *, heat_maps: bool = False, clouds: bool = False) -> Change:
    """The decoders and encoders of a strategy; poses are always decoded, and images always encoded."""

    def change(preset: Preset) -> Preset:
        preset = preset if heat_maps else with_network(heat_maps=None)(preset)
        kept = config_in(preset).clouds if clouds else None
        return with_method(alignment=alignment, clouds=kept)(preset)

    return change


def _then(*changes: Change) -> Change:
    def change(preset: Preset) -> Preset:
        for one in changes:
            preset = one(preset)
        return preset

    return change


_UNCORRECTED = with_network(view_correction=False)
_R2P = _strategy()
# Rows of Table 5.1, of Fig. 5.5 without "vc", and the product with the prior expert that the text names.
STRATEGIES: Mapping[str, Change] = {
    "R2P": _R2P,
    "R2HP": _strategy(heat_maps=True),
    "R2CP": _strategy(clouds=True),
    "R2CHP": _strategy(heat_maps=True, clouds=True),
    "RC2CHP-KL": _strategy("divergence", heat_maps=True, clouds=True),
    BEST: unchanged,
    "R2P-uncorrected": _then(_R2P, _UNCORRECTED),
    "RC2CHP-uncorrected": _UNCORRECTED,
    "RC2CHP-prior": with_method(prior_expert=True),
}

_SMALL_ENCODER = ImageEncoderConfig(stride=16, hidden=256)  # without the last block, of 2 x 2 pixels at 64 px
_SMALL = Preset(
    family="",
    name="small",
    model=AlignedPoseSpec(
        network=AlignedPoseConfig(
            size_px=64, encoder=_SMALL_ENCODER, heat_maps=HeatMapConfig(side=16, sigma=1.0, width=32)
        )
    ),
    data=DataSizes(source=1_000, target=256, test=1_000),
    methods={
        METHOD: AlignedLatentSpacesConfig(
            schedule=Schedule(steps=2_400, learning_rate=1e-3, decay="steps", drops=(0.6, 0.85), clip_norm=10.0),
            clouds=CloudCoderConfig(points=64, encoder_widths=(32, 64, 128), hidden=128, folding_width=128),
            geometry=GeometryConfig(rotation_deg=30, shear_deg=0, translation=20 / 256, scale=(1.0, 1.2)),
            appearance=hue_alone(0.1),
        )
    },
)
_FULL = Preset(
    family="",
    name="full",
    model=AlignedPoseSpec(),
    data=DataSizes(source=40_000, target=256, test=3_200),
    space_mb=500,
    methods={METHOD: AlignedLatentSpacesConfig()},
)
# Of a public dataset: all of the labelled frames, and so many of the test split.
_DATASET_SIZES = {"small": DataSizes(source=1_000, test=1_000), "full": DataSizes(source=40_000)}


def presets_of_strategies(preset: Preset) -> tuple[Preset, ...]:
    """The presets of the other strategies, named by them."""
    return tuple(
        replace(change(preset), name=f"{preset.name}-{name}") for name, change in STRATEGIES.items() if name != BEST
    )


def _for_family(preset: Preset, family: str) -> Preset:
    if not family.startswith("datasets/"):
        return replace(preset, family=family)
    weights = "timm" if preset.name == "full" else "none"
    return replace(
        preset, family=family, model=preset.model.with_encoder_weights(weights), data=_DATASET_SIZES[preset.name]
    )


_NAMED = tuple(_for_family(preset, family) for family in FAMILIES for preset in (_SMALL, _FULL))
PRESETS = (*_NAMED, *(row for preset in _NAMED for row in presets_of_strategies(preset)))
