"""The dual-modality network (chapter 7 of Yang's dissertation, 2022).

Depth maps of the source align features of colour with those of depth. Attention from depth fuses both. On the target,
pseudo-labels of colour and fusion, corrected by anatomy, train all branches; the model that is kept takes colour alone.
"""

import copy
from functools import cached_property

import torch

from posebridge.contracts.section import Section
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.dual_modality.config import DualModalityConfig
from posebridge.methods.dual_modality.evidence import dual_modality_sections
from posebridge.methods.dual_modality.fine_tuning import FineTuning
from posebridge.methods.dual_modality.pretraining import Pretraining
from posebridge.methods.dual_modality.views import ViewConfig
from posebridge.networks.dual_modality import DualModalityNetwork
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.context import Context
from posebridge.training.source_training import SourceTrainingConfig


class DualModality(Method[DualModalityConfig]):
    """Pretraining on the source, and fine-tuning.

    Pretraining is the source training of the method. A given source model is what the result is compared with, so it is
    pretrained as the first of the method's own stages instead.
    """

    def __init__(self, config: DualModalityConfig):
        super().__init__(config)
        self._pretrained: DualModalityNetwork | None = None

    def source_stages(self, config: SourceTrainingConfig | None, context: Context) -> Stages:
        """Pretraining, unless the context has a source network."""
        if context.source_network is None:
            yield from self._pretraining(context)

    def stages(self, context: Context) -> Stages:
        """Fine-tuning, after the pretraining of a given model."""
        if self._pretrained is None:
            yield from self._pretraining(context)
        tuning, pretrained = self.config.fine_tuning, self._pretrained
        if tuning is not None:
            assert pretrained is not None
            backgrounds = self._backgrounds(tuning.views)
            yield FineTuning(tuning, context, copy.deepcopy(pretrained), backgrounds), context.selection

    def _pretraining(self, context: Context) -> Stages:
        """From a given model or a new network; leaves the three branches."""
        start = context.new_network() if context.source_network is None else copy.deepcopy(context.source_network)
        pose = network_as(start, PoseResNet).requires_grad_(True)
        torch.manual_seed(context.seed)
        network = DualModalityNetwork(pose, self.config.stop_gradient)
        config = self.config.pretraining
        yield Pretraining(config, context, network, self._backgrounds(config.views)), None
        self._pretrained = network.eval()

    def _backgrounds(self, views: ViewConfig) -> UnconstrainedImages | None:
        return self._images if views.composited_frac > 0 else None

    @cached_property
    def _images(self) -> UnconstrainedImages:
        return UnconstrainedImages(self.config.unconstrained)

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Depth maps, masks and attention in target images, before and after fine-tuning."""
        return dual_modality_sections(evidence, self._pretrained)
