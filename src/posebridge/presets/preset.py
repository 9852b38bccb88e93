"""A preset: the numbers behind a run, in one place. ``presets/`` has one file for each family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.deployment.model_spec import ModelSpec
from posebridge.errors import InputError
from posebridge.methods.base import MethodConfig
from posebridge.networks.vgg import VggEncoder
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.training.source_training import SourceTrainingConfig


@dataclass(frozen=True)
class DataSizes:
    """How much data a run takes. None: all that there is."""

    source: int | None = None  # labelled samples
    source_with_model: int | None = None  # likewise, where a trained source model is given
    source_video_frames: int | None = None  # for methods that train on videos of the source
    source_clips: int | None = None  # of datasets of clips, evenly chosen
    target: int | None = None  # unlabelled samples
    test: int | None = None  # scored samples
    views: int = 1  # of each moment of rendered depth
    contents: int = 0  # that recur in rendered single images; 0: each image has its own
    # Of renders that are replayed beside a given source model, the fraction before pictures of the target.
    target_backgrounds: float = 0.0


@dataclass(frozen=True)
class SelectionConfig:
    """How checkpoints are compared without labels of the target."""

    evaluations: int = 8
    appearance: AppearanceConfig = WEAK  # how the compared views are re-coloured
    against_source: bool = False  # whether the unadapted model is kept unless the adapted one is clearly better


@dataclass(frozen=True)
class Preset:
    """Network, data and training of a run, for each of the methods."""

    family: str  # what it is for, such as "synthshift/hand-rgb"
    name: str  # its name within the family: small for two CPU cores, full for a GPU
    model: ModelSpec  # the networks that it trains: image size, architecture, skeleton
    methods: Mapping[str, MethodConfig]  # by name of the method
    source: SourceTrainingConfig | None = None  # None: the method trains its own source model
    data: DataSizes = field(default_factory=DataSizes)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    space_mb: int = 300  # that a run leaves on disk, checkpoints included

    def config_of(self, method: str) -> MethodConfig:
        """The config of a method. Raises ``InputError`` for a method that the preset doesn't have."""
        if method not in self.methods:
            raise InputError(f"preset {self.name} of {self.family} has no {method}: choose {', '.join(self.methods)}")
        return self.methods[method]

    def model_of(self, method: str) -> ModelSpec:
        """The network that a method trains. Raises ``InputError`` as ``config_of`` and ``model_spec`` do."""
        return self.config_of(method).model_spec(self.model)

    @property
    def own_models(self) -> tuple[ModelSpec, ...]:
        """The networks of methods that each have one of their own; empty where a method trains the preset's network."""
        own = tuple(self.model_of(method) for method in self.methods)
        return () if self.model in own else own

    def keeping(self, *methods: str) -> "Preset":
        """The preset with these methods alone, as far as it has them."""
        return replace(self, methods={name: self.methods[name] for name in methods if name in self.methods})

    def with_config(self, method: str, config: MethodConfig) -> "Preset":
        """The preset with another config of a method."""
        return replace(self, methods={**self.methods, method: config})

    def with_depth_options(self, method: str, *, translate: bool, stacks: int) -> "Preset":
        """The preset with a method that translates source images first, and with stacked networks, where given.

        Raises ``InputError`` for a method without translation, and for networks that can't be stacked.
        """
        preset = self if stacks == 1 else replace(self, model=self.model.with_stacks(stacks))
        return preset.with_config(method, preset.config_of(method).with_translation()) if translate else preset

    def with_weights(self, encoder: str | Path | None, features: str | Path | None) -> "Preset":
        """The preset with weights from elsewhere: "timm", a file, or "none". None keeps what the preset has.

        ``encoder`` are those of the encoder that the methods train, ``features`` those of their feature networks. The
        preset's own network keeps its weights where each method has another one.
        """
        preset = self
        if encoder is not None and self.own_models:
            methods = {name: config.with_encoder_weights(str(encoder)) for name, config in self.methods.items()}
            preset = replace(preset, methods=methods)
        elif encoder is not None:
            preset = replace(preset, model=self.model.with_encoder_weights(str(encoder)))
        if features is not None:
            methods = {name: config.with_feature_weights(str(features)) for name, config in preset.methods.items()}
            preset = replace(preset, methods=methods)
        return preset

    def with_unconstrained(self, method: str, folder: Path | None) -> "Preset":
        """The preset with a folder of unconstrained images for a method; None keeps what it has.

        Raises ``InputError`` for a method that exchanges no backgrounds, and for a folder without a readable image.
        """
        if folder is None:
            return self
        preset = self.with_config(method, self.config_of(method).with_unconstrained(folder))
        UnconstrainedImages(folder)  # read once more when they are needed
        return preset

    def check_weights(self, model_given: bool = False) -> None:
        """Load initial weights once, those of feature networks included. Raises ``InputError`` where they can't be had.

        With a given model, the initial weights of the preset's own network are not needed.
        """
        for spec in (*(() if model_given else (self.model,)), *self.own_models):
            kind_of_spec(spec).build(spec)
        for config in self.methods.values():
            for encoder in config.feature_networks():
                VggEncoder(encoder)


Change = Callable[[Preset], Preset]


def unchanged(preset: Preset) -> Preset:
    """The preset itself."""
    return preset


def presets_of_rows(
    preset: Preset, method: str, rows: Mapping[str, Callable[[Any], MethodConfig]], full: str, prefix: str = ""
) -> tuple[Preset, ...]:
    """The presets of the rows of a method's tables, each of this method alone; none for a preset without the method.

    Args:
        preset: whose config of the method the rows change.
        method: its name.
        rows: changes of that config, by the row's name.
        full: the row that changes nothing, which is the preset itself.
        prefix: of the rows in the names of the presets.
    """
    if method not in preset.methods:
        return ()
    alone = preset.keeping(method)
    return tuple(
        replace(alone.with_config(method, change(preset.methods[method])), name=f"{preset.name}-{prefix}{name}")
        for name, change in rows.items()
        if name != full
    )
