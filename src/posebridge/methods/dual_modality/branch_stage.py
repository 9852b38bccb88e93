"""What both stages of the dual-modality network share: they train three branches, of which one is the result."""

from collections.abc import Iterable, Mapping

from torch import nn

from posebridge.networks.dual_modality import DualModalityNetwork
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.stage import PoseStage


class BranchStage(PoseStage):
    """Base of the stages, which set ``network``."""

    network: DualModalityNetwork

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def result(self) -> PoseResNet:
        """The branch of colour."""
        return self.network.pose

    def other_results(self) -> Mapping[str, nn.Module]:
        """The three branches, which are fine-tuned and shown in the report."""
        return {"branches": self.network}

    def selected(self) -> nn.Module:
        """All branches, so that those of the report belong together."""
        return self.network
