"""The lower bound: labels of the source, and nothing from the target."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from posebridge.training.context import Context
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig, train_source
from posebridge.training.stage import Stage


@dataclass(frozen=True)
class SourceOnlyConfig:
    """Training on the source alone."""

    source: SourceTrainingConfig = field(default_factory=SourceTrainingConfig)


class SourceOnly:
    """Supervised learning on the source."""

    name = "source-only"

    def __init__(self, config: SourceOnlyConfig):
        self.config = config

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """One stage, or none where the source network is given."""
        yield from train_source(self.config.source, context)
