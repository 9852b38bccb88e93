"""UniFrame (Kim et al., ECCV 2022): pseudo-labels of a slow teacher, and style transfer both ways.

Composed pixel maps take joints from the teacher's view to the student's, where target heat maps are encoded. No map is
warped back, so consistency across augmentations is exact.
"""

from posebridge.methods.base import Method, Stages
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.training.context import Context
from posebridge.training.style import train_style


class MeanTeacher(Method[MeanTeacherConfig]):
    """Style training where configured, and adaptation of the source model."""

    def stages(self, context: Context) -> Stages:
        """The stages in order; each is made when the one before is done."""
        network = network_as(context.trained_network, HeatmapNetwork)
        restyler = yield from train_style(self.config.style, context)
        yield Adaptation(self.config, context, network, restyler), context.selection
