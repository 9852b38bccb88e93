"""Config of SemiHand (Yang, Chen and Yao, ICCV 2021; chapter 6 of Yang's dissertation, 2022)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from posebridge.contracts.batch import Observation
from posebridge.deployment.model_spec import HourglassPoseSpec, ModelSpec
from posebridge.errors import InputError
from posebridge.geometry.joint_limits import CorrectionConfig
from posebridge.methods.base import MethodConfig
from posebridge.methods.semihand.adaptation import AdaptationConfig
from posebridge.methods.semihand.circle_training import CircleTrainingConfig
from posebridge.methods.semihand.pretraining import PretrainingConfig


@dataclass(frozen=True)
class SemiHandConfig(MethodConfig):
    """Defaults are the dissertation's."""

    model: HourglassPoseSpec | None = field(default_factory=HourglassPoseSpec)  # None: the preset's network
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    circles: CircleTrainingConfig = field(default_factory=CircleTrainingConfig)
    adaptation: AdaptationConfig | None = field(default_factory=AdaptationConfig)  # None: pretraining alone
    correction: CorrectionConfig = field(default_factory=lambda: CorrectionConfig(angles=False))  # P of Eq. 6.5
    # The template of P: lengths of bones in any unit, in the order of the skeleton's bones. None: the source's means.
    bone_lengths: tuple[float, ...] | None = None
    unconstrained: Path | None = None  # folder of images unrelated to hands, for backgrounds; None: painted ones

    def model_spec(self, preset_spec: ModelSpec) -> ModelSpec:
        """A given hourglass network, or this config's for crops of the preset's size; without one, the preset's.

        Raises ``InputError`` as ``HourglassPoseSpec.for_crops_of`` does.
        """
        if self.model is None or isinstance(preset_spec, HourglassPoseSpec):
            return preset_spec
        return self.model.for_crops_of(preset_spec)

    def with_encoder_weights(self, weights: str) -> Self:
        """Raises ``InputError`` for the hourglass network, which has no encoder."""
        return self if self.model is None else replace(self, model=self.model.with_encoder_weights(weights))

    def with_unconstrained(self, folder: Path) -> Self:
        """The config with a folder of unconstrained images."""
        return replace(self, unconstrained=folder)

    def for_target(self, frames: Observation) -> Self:
        """The config itself. Raises ``InputError`` for a target of one frame."""
        check_target(len(frames))
        return self


def check_target(frames: int) -> None:
    """Raise ``InputError`` for a target of so few frames that iterations only repeat their own predictions."""
    if frames < 2:
        raise InputError(
            "semihand selects pseudo-labels among the frames of the target, and this one has a single frame: "
            "give more images, or predict it without adaptation (posebridge predict)"
        )
