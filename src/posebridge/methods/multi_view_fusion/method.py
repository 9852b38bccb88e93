"""Depth without labels: one hand explains every view (Ren et al., *Mining Multi-View Information*, CVPR 2022)."""

from collections.abc import Iterator
from dataclasses import replace

from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthContext
from posebridge.methods.multi_view_fusion.fine_tuning import FineTuning
from posebridge.methods.multi_view_fusion.supervised_stages import DepthStage, FusionTraining, SingleViewTraining
from posebridge.methods.multi_view_fusion.translation import Translation, translated
from posebridge.networks.depth_hand_model import DepthHandModel


class MultiViewFusion:
    """Translation where it is wanted, single views, fusion, fine-tuning."""

    name = "multi-view-fusion"

    def __init__(self, config: MultiViewFusionConfig):
        self.config = config

    def stages(self, context: DepthContext) -> Iterator[DepthStage | Translation]:
        """The stages in order, each made when the one before is done."""
        translation = self.translation(context)
        if translation is not None:
            yield translation
            context = self.looking_alike(context, translation)
        model = context.new_model()
        for stage in self.pretraining(context):
            yield stage
            model = stage.result()
        yield self.fine_tuning(context, model)

    def translation(self, context: DepthContext) -> Translation | None:
        """The stage that gives the source the target's look, where it is wanted."""
        return None if self.config.translation is None else Translation(self.config.translation, context)

    def looking_alike(self, context: DepthContext, translation: Translation) -> DepthContext:
        """The context whose source has, in part, the target's look."""
        assert self.config.translation is not None
        source = translated(context.source, translation.result(), self.config.translation, context.cube_m, context.seed)
        return replace(context, source=source)

    def pretraining(self, context: DepthContext) -> Iterator[DepthStage]:
        """The stages that learn from the labels of the source."""
        single = SingleViewTraining(self.config.single, context, context.new_model())
        yield single
        yield FusionTraining(self.config.fusion, context, single.result())

    def fine_tuning(self, context: DepthContext, model: DepthHandModel) -> "FineTuning":
        """The stage that adapts a trained model to the context's target."""
        return FineTuning(self.config, context, model)
