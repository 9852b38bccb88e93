"""The upper bound, for measuring only: the source network, fine-tuned on labels of the target."""

import copy
from dataclasses import dataclass, field

from posebridge.methods.base import Method, MethodConfig, Stages
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.training.context import Context
from posebridge.training.source_training import SourceTraining, SourceTrainingConfig


@dataclass(frozen=True)
class SupervisedTargetConfig(MethodConfig):
    """Training on labelled target samples."""

    training: SourceTrainingConfig = field(default_factory=SourceTrainingConfig)


class SupervisedTarget(Method[SupervisedTargetConfig]):
    """Training on labels of the target. Its context has the labelled target in the place of the source.

    The runner makes that context for this method alone; no other method can reach those labels.
    """

    def stages(self, context: Context) -> Stages:
        """One stage on the target's labels, from the source network."""
        network = copy.deepcopy(network_as(context.trained_network, HeatmapNetwork))
        stage = SourceTraining(self.config.training, context, network)
        stage.name = "supervised-target"
        yield stage, None
