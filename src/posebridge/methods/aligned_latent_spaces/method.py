"""Aligned latent spaces (chapter 5 of Yang, *Hand Pose Estimation with Auxiliary Information*, dissertation, 2022).

Images, point clouds, heat maps and poses share one latent space, into which each modality has an encoder of its own.
Poses are predicted from images alone. The target is only scored.
"""

from posebridge.contracts.section import Section
from posebridge.methods.aligned_latent_spaces.alignment import Alignment
from posebridge.methods.aligned_latent_spaces.config import AlignedLatentSpacesConfig
from posebridge.methods.aligned_latent_spaces.evidence import aligned_sections
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.networks.aligned_latents import AlignedPoseNetwork
from posebridge.networks.pose_network import network_as
from posebridge.training.context import Context
from posebridge.training.source_training import SourceTrainingConfig


class AlignedLatentSpaces(Method[AlignedLatentSpacesConfig]):
    """One stage, on labelled samples of the source."""

    def source_stages(self, config: SourceTrainingConfig | None, context: Context) -> Stages:
        """The stage, unless the context has a trained network."""
        if context.source_network is None:
            yield Alignment(self.config, context, network_as(context.new_network(), AlignedPoseNetwork)), None

    def stages(self, context: Context) -> Stages:
        """None: nothing is adapted."""
        yield from ()

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Predicted clouds and poses, interpolation of latent vectors, divergences by dimension."""
        return aligned_sections(evidence)
