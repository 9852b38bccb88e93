"""UniFrame (Kim et al., ECCV 2022): pseudo-labels of a slow teacher, and style transfer both ways.

Joints pass from the teacher's view to the student's by composed maps, and the target heat map is drawn there. No map is
warped back, so consistency across augmentations is exact.
"""

from posebridge.methods.base import Method, Stages
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.training.context import Context
from posebridge.training.style import train_style


class MeanTeacher(Method[MeanTeacherConfig]):
    """A style stage where one is needed, and adaptation."""

    def stages(self, context: Context) -> Stages:
        """The stages in order; each is made when the one before is done."""
        network = network_as(context.trained_network, HeatmapNetwork)
        stylist = yield from train_style(self.config.style, context)
        yield Adaptation(self.config, context, network, stylist), context.selection
