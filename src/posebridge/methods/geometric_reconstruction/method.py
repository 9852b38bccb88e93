"""Geometric reconstruction (Lin, Gu, Yang and Yao, NeurIPS 2023): reconstruct video frames from one another.

Confident pseudo-labels can be wrong. Correct joints describe how each bone moves between two frames, so one frame can
be reconstructed from the other. The error of the reconstruction is a loss on the joints.
"""

import copy

from torch import nn

from posebridge.contracts.section import Section
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.evidence import reconstruction_sections
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.pretraining import Pretraining
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    reconstruction_streams,
)
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.training.context import Context
from posebridge.training.style import train_style


class GeometricReconstruction(Method[GeometricReconstructionConfig]):
    """Style and pretraining where configured, warm start, reconstructor, and fine-tuning."""

    def stages(self, context: Context) -> Stages:
        """The stages in order; each is made when the one before is done."""
        config, reconstruction = self.config, self.config.reconstruction
        if reconstruction is not None:
            reconstruction_streams(context, reconstruction)  # raises for frames without pairs before any training
        network = network_as(self._first_network(context), PoseResNet)
        restyler = yield from train_style(config.style, context)
        if config.pretraining is not None:
            pretraining = Pretraining(config, config.pretraining, context, copy.deepcopy(network), restyler)
            yield pretraining, None
            network = pretraining.result()
        warm = FineTuning(config, Phase(config.warm_start, end_frac=config.warm_start_frac), context, network, restyler)
        warm.name = "warm-start"
        yield warm, context.selection
        reconstructor = None
        if reconstruction is not None:
            training = ReconstructorTraining(config.geometry, reconstruction, context, warm.result())
            yield training, None
            reconstructor = training.result()
        phase = Phase(config.schedule, start_frac=config.warm_start_frac)
        yield FineTuning(config, phase, context, warm.result(), restyler, reconstructor), context.selection

    def _first_network(self, context: Context) -> nn.Module:
        if self.config.from_source_model:
            return context.trained_network
        return context.source_network or context.new_network()

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Reconstructed frames, and the accuracy of trusted joints; empty without reconstruction."""
        return reconstruction_sections(
            evidence.stages,
            evidence.context,
            pair_labels=evidence.pair_labels,
            frame_labels=evidence.frame_labels,
        )
