"""UniFrame (Kim et al., ECCV 2022): a slow teacher's pseudo-labels, and style transfer both ways.

The teacher's joints are taken from its view to the student's by composing the two views' maps, and the heat map that
the student should give is drawn there: nothing is ever warped back, so consistency across augmentations is exact.
"""

from collections.abc import Iterator

from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.training.context import Context
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import train_source
from posebridge.training.stage import Stage
from posebridge.training.style import train_style


class MeanTeacher:
    """Source training, a style stage where one is needed, and adaptation."""

    name = "mean-teacher"

    def __init__(self, config: MeanTeacherConfig):
        self.config = config

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """The stages in order; each is made when the one before is done."""
        network = yield from train_source(self.config.source, context)
        stylist = yield from train_style(self.config.style, context)
        yield Adaptation(self.config, context, network, stylist), context.selection
