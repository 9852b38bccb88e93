"""The upper bound, for measuring only: the source network trained on with labels of the target."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.streams import Stream
from posebridge.training.context import Context
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTraining, SourceTrainingConfig, train_source
from posebridge.training.stage import Stage

StreamMaker = Callable[[int], Stream[LabelledBatch]]  # from the batch size


@dataclass(frozen=True)
class SupervisedTargetConfig:
    """Source training, then the same with labelled target samples in the source's place."""

    source: SourceTrainingConfig = field(default_factory=SourceTrainingConfig)
    target: SourceTrainingConfig = field(default_factory=SourceTrainingConfig)


class SupervisedTarget:
    """What labels of the target would be worth. Gets them from whoever measures; no other method can."""

    name = "supervised-target"

    def __init__(self, config: SupervisedTargetConfig, labelled_target: StreamMaker):
        self.config = config
        self.labelled_target = labelled_target

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """Source training where it is still to be done, then training on the target's labels."""
        network = yield from train_source(self.config.source, context)
        measured = replace(context, source=self.labelled_target)
        stage = SourceTraining(self.config.target, measured, copy.deepcopy(network))
        stage.name = self.name
        yield stage, None
