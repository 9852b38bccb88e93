"""Config of the dual-modality network (chapter 7 of Yang's dissertation, 2022)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from posebridge.methods.base import MethodConfig
from posebridge.methods.dual_modality.fine_tuning import FineTuningConfig
from posebridge.methods.dual_modality.pretraining import PretrainingConfig


@dataclass(frozen=True)
class DualModalityConfig(MethodConfig):
    """Defaults are the paper's."""

    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    fine_tuning: FineTuningConfig | None = field(default_factory=FineTuningConfig)  # None: the source alone
    stop_gradient: bool = True  # the fusion branch doesn't train the attention
    unconstrained: Path | None = None  # folder of images behind hands of the source; None: painted ones

    def with_unconstrained(self, folder: Path) -> Self:
        """The config with a folder of unconstrained images."""
        return replace(self, unconstrained=folder)

    def source_recipe(self) -> tuple[object, ...]:
        """The pretraining and all that it depends on."""
        return (self.pretraining, self.stop_gradient, self.unconstrained)

    def with_source_steps(self, steps: int) -> Self:
        """The config with so many steps of pretraining."""
        schedule = replace(self.pretraining.schedule, steps=steps)
        return replace(self, pretraining=replace(self.pretraining, schedule=schedule))
