"""Disentangled VAE (Yang's dissertation, 2022, chapter 4; Yang and Yao, CVPR 2019).

It trains on labelled source samples alone; the target is scored.
"""

import torch

from posebridge.contracts.section import Section
from posebridge.errors import InputError
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.disentangled_vae.config import DisentangledVAEConfig, EstimationConfig
from posebridge.methods.disentangled_vae.estimation import PoseDisentangling, PoseEmbedding, pose_vae
from posebridge.methods.disentangled_vae.evidence import disentangled_vae_sections
from posebridge.methods.disentangled_vae.synthesis import ImageDisentangling, ImageEmbedding
from posebridge.networks.image_synthesis import ImageSynthesisNetwork
from posebridge.networks.latent_pose import LatentPoseNetwork
from posebridge.networks.pose_network import network_as
from posebridge.training.context import Context
from posebridge.training.source_training import SourceTrainingConfig


class DisentangledVAE(Method[DisentangledVAEConfig]):
    """The disentangling step and the embedding step. Both train the source model, which is the result."""

    def source_stages(self, config: SourceTrainingConfig | None, context: Context) -> Stages:
        """Both steps. The last checkpoints are kept: the target must not influence the source model.

        Raises ``InputError`` for a given model, and for a source that lacks what the model needs.
        """
        if context.source_network is not None:
            raise InputError("the disentangled VAE is trained from new weights: leave the source model out")
        task = self.config.task
        if isinstance(task, EstimationConfig):
            network = network_as(context.new_network(), LatentPoseNetwork)
            torch.manual_seed(context.seed)
            pose = PoseDisentangling(task, context, pose_vae(network.config))
            yield pose, None
            yield PoseEmbedding(task, context, network, pose.result()), None
        else:
            synthesis = network_as(context.new_network(), ImageSynthesisNetwork)
            yield ImageDisentangling(task, context, synthesis), None
            yield ImageEmbedding(task, context, synthesis), None

    def stages(self, context: Context) -> Stages:
        """None: the source model is the result."""
        yield from ()

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Divergence by dimension; latent walks and pose transfer, or errors of the factors."""
        return disentangled_vae_sections(evidence)
