"""RegDA (Jiang et al., Regressive Domain Adaptation for Unsupervised Keypoint Detection, CVPR 2021).

An adversarial head is trained to predict other joints than the pose head in target images. Features are trained so that
it can't. The space of wrong predictions is that of the other joints.
"""

from posebridge.methods.base import Method, Stages
from posebridge.methods.regda.adaptation import Adaptation
from posebridge.methods.regda.config import RegDAConfig
from posebridge.networks.pose_network import FeatureNetwork, network_as
from posebridge.training.context import Context


class RegDA(Method[RegDAConfig]):
    """One stage after the source model."""

    def stages(self, context: Context) -> Stages:
        """The adaptation. Its checkpoint is chosen without labels of the target."""
        network = network_as(context.trained_network, FeatureNetwork)
        yield Adaptation(self.config, context, network), context.selection
