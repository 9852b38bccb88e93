"""Self-training: rounds of pseudo-labels by the network itself, plain or with consistent views.

CC-SSL (Mu et al., Learning from Synthetic Animals, CVPR 2020) labels a frame by the mean over several views of it, and
keeps more joints from round to round.
"""

from posebridge.methods.base import Method, Stages
from posebridge.methods.self_training.config import SelfTrainingConfig
from posebridge.methods.self_training.training import SelfTraining
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.training.context import Context


class SelfTrainingMethod(Method[SelfTrainingConfig]):
    """One stage after the source model."""

    def stages(self, context: Context) -> Stages:
        """The rounds. The checkpoint is chosen without labels of the target."""
        network = network_as(context.trained_network, HeatmapNetwork)
        yield SelfTraining(self.config, context, network), context.selection
