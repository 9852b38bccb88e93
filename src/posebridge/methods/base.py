"""What every method has: a frozen config, stages in order, and sections for the report."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.roles import Role
from posebridge.contracts.section import Section
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.pairs import PairConfig
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.model_spec import ModelSpec
from posebridge.errors import InputError
from posebridge.networks.vgg import VggConfig
from posebridge.training.context import Context
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig, train_source
from posebridge.training.stage import Stage

Stages = Iterator[tuple[Stage, SelectionPlan | None]]


@dataclass(frozen=True)
class MethodConfig:
    """Base of all methods' configs. Runs call these functions; the defaults suit most methods."""

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """Pretrained networks whose features the method needs, such as VGG."""
        return ()

    def with_feature_weights(self, weights: str) -> Self:
        """The config with other weights of these networks: "timm", a file, or "none", which does without them."""
        return self

    def model_spec(self, preset_spec: ModelSpec) -> ModelSpec:
        """The network that the method trains: the preset's, unless the method has one of its own.

        ``preset_spec`` is the preset's, or that of the model that the user gives to start from. It has the size and the
        joints of the run's crops. A method with a network of its own returns a given one of the same kind unchanged, so
        that it starts from that model.
        """
        return preset_spec

    def source_labels(self, labels: SourceLabels) -> SourceLabels:
        """The labels of the source that the method needs with this config: ``labels``, which its entry has, or more."""
        return labels

    def check_source(self, name: str, offered: SourceLabels) -> None:
        """Raise ``InputError`` where the labels that the dataset ``name`` offers don't suffice for this config.

        The default leaves it to the reader, which names the missing label.
        """

    def with_encoder_weights(self, weights: str) -> Self:
        """The config with other initial weights of the method's own encoder; the config itself where it has none."""
        return self

    def with_pairs(self, pairs: PairConfig) -> Self:
        """The config with other pairs of target frames, for methods that take pairs."""
        return self

    @property
    def target_pairs(self) -> PairConfig | None:
        """The pairs of target frames that the method draws; None for methods that take no pairs."""
        return None

    def with_translation(self) -> Self:
        """The config with a translation of source images to the target's style.

        Raises ``InputError`` for methods without one.
        """
        raise InputError("the method has no translation of source images: leave --translate out")

    def with_unconstrained(self, folder: Path) -> Self:
        """The config with a folder of images unrelated to the subject, which become backgrounds.

        Raises ``InputError`` for methods that exchange no backgrounds.
        """
        raise InputError("the method exchanges no backgrounds: leave --unconstrained out")

    @property
    def needs_target_masks(self) -> bool:
        """Whether the method uses foreground masks of the target, which may be given."""
        return False

    def with_moving_camera(self) -> Self:
        """The config for videos whose camera moves."""
        return self

    def for_target(self, frames: Observation) -> Self:
        """The config for these target frames, given without images."""
        return self

    def notes(self) -> tuple[str, ...]:
        """Sentences about the config for the record."""
        return ()

    def source_recipe(self) -> tuple[object, ...]:
        """The settings of the method's own source stages, for runs that share them; empty for the preset's stages."""
        return ()

    def with_source_steps(self, steps: int) -> Self:
        """The config with so many steps of the method's own source training; ``ValueError`` where it has none."""
        raise ValueError("the method has no source training of its own")

    @property
    def source_videos(self) -> bool:
        """Whether the method trains on videos of the source."""
        return False

    @property
    def starts_untrained(self) -> bool:
        """Whether the method starts from a new network instead of the source-trained one."""
        return False


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True)
class Evidence:
    """What a method makes its sections from, after training."""

    stages: tuple[Stage, ...]  # of the method, in order
    context: Context
    frames: UnlabelledBatch  # of the target, those that were predicted
    predictions: Mapping[Role, FramePredictions]  # of these frames, by each model
    frame_labels: LabelledBatch | None = None  # labelled frames of the target, for metrics of pseudo-labels
    pair_labels: LabelledBatch | None = None  # labelled frames of the target, drawn over pairs of the same key


class Method(ABC, Generic[ConfigT]):
    """Base of all methods."""

    def __init__(self, config: ConfigT):
        self.config = config

    def source_stages(self, config: SourceTrainingConfig | None, context: Context) -> Stages:
        """The stages that train the source model; ``config`` is the preset's source training."""
        if config is None:
            raise ValueError("the preset has no source training, which this method needs")
        yield from train_source(config, context)

    @abstractmethod
    def stages(self, context: Context) -> Stages:
        """The stages that follow the source model, in order; each is made when the one before is done."""

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """The sections that the method adds to the report."""
        return ()
