"""Depth without labels: one hand explains every view (Ren et al., *Mining Multi-View Information*, CVPR 2022)."""

import copy
from dataclasses import replace

from posebridge.contracts.section import Section
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.evidence import fusion_section
from posebridge.methods.multi_view_fusion.fine_tuning import FineTuning
from posebridge.methods.multi_view_fusion.supervised_stages import FusionTraining, SingleViewTraining
from posebridge.methods.multi_view_fusion.translation import Translation, translated
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.pose_network import network_as
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.source_training import SourceTrainingConfig


class MultiViewFusion(Method[MultiViewFusionConfig]):
    """Translation where configured, single-view network, fusion network, fine-tuning."""

    def __init__(self, config: MultiViewFusionConfig):
        super().__init__(config)
        self._translated: InMemoryFrames | None = None

    def source_stages(self, config: SourceTrainingConfig | None, context: Context) -> Stages:
        """Translation of the source, and the two supervised stages unless the context has a source network."""
        if self.config.translate:
            translation = Translation(self.config.translation, context)
            yield translation, None
            self._translated = _translated_source(context, translation)
        if context.source_network is not None:
            return
        context = self._with_translated_source(context)
        network = network_as(context.new_network(), DepthHandModel)
        single = SingleViewTraining(self.config.single_view, context, network)
        yield single, None
        yield FusionTraining(self.config.fusion, context, single.result()), None

    def stages(self, context: Context) -> Stages:
        """Fine-tuning of a copy of the source model."""
        model = copy.deepcopy(network_as(context.trained_network, DepthHandModel))
        yield FineTuning(self.config, self._with_translated_source(context), model), None

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """How well the hands explain the target's depth before and after."""
        return (fusion_section(evidence.frames, evidence.predictions),)

    def _with_translated_source(self, context: Context) -> Context:
        return context if self._translated is None else replace(context, source=self._translated)


def _translated_source(context: Context, translation: Translation) -> InMemoryFrames:
    if not isinstance(context.source, InMemoryFrames):
        raise TypeError("translation needs a source in memory")
    dataset = translated(
        context.source.dataset, translation.result(), translation.config, translation.cube_m, context.seed
    )
    return replace(context.source, dataset=dataset)
