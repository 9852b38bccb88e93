"""Geometric reconstruction (Lin, Gu, Yang and Yao, NeurIPS 2023): redraw one frame of a video from another.

Pseudo-labels can be confident and wrong. If the joints are right, they tell how every bone moved between two frames,
and one frame can be redrawn from the other; where they are wrong the redrawing fails, and its error moves the joints.
"""

import copy
from collections.abc import Generator, Iterator

from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.pretraining import Pretraining
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    reconstruction_streams,
)
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.context import Context
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import train_source
from posebridge.training.stage import Stage
from posebridge.training.style import train_style


class GeometricReconstruction:
    """Pretraining, a style stage where one is needed, the generator, and fine-tuning."""

    name = "geometric-reconstruction"

    def __init__(self, config: GeometricReconstructionConfig):
        self.config = config

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """The stages in order; each is made when the one before is done."""
        config, reconstruction = self.config, self.config.reconstruction
        if reconstruction is not None:
            reconstruction_streams(context, reconstruction)  # refuses what has no pairs before anything is trained
        network = yield from self._source_network(context)
        stylist = yield from train_style(config.style, context)
        if config.pretraining is not None:
            pretraining = Pretraining(config, config.pretraining, context, copy.deepcopy(network), stylist)
            yield pretraining, None
            network = pretraining.result()
        if reconstruction is None:
            yield FineTuning(config, Phase(config.schedule), context, network, stylist), context.selection
            return
        phase = Phase(reconstruction.warm_start, until=reconstruction.warm_share(config.schedule))
        warm = FineTuning(config, phase, context, network, stylist)
        warm.name = "warm-start"
        yield warm, context.selection
        drawing = ReconstructorTraining(config.geometry, reconstruction, context, warm.result())
        yield drawing, None
        phase = Phase(config.schedule, since=phase.until)
        yield FineTuning(config, phase, context, warm.result(), stylist, drawing.result()), context.selection

    def _source_network(self, context: Context) -> Generator[tuple[Stage, SelectionPlan | None], None, PoseResNet]:
        if self.config.source is not None:
            return network_as((yield from train_source(self.config.source, context)), PoseResNet)
        return network_as(context.source_network or context.new_network(), PoseResNet)
