"""Masked reconstruction (Leveraging 2D Masked Reconstruction for Domain Adaptation of 3D Pose Estimation, 2025).

A transformer learns to reconstruct masked patches of source and target, the subject's foremost. Fine-tuned on labels of
the source, it keeps its attention on the subject in target images.
"""

import copy
from collections.abc import Generator

import torch

from posebridge.contracts.section import Section
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.methods.base import Evidence, Method, Stages
from posebridge.methods.masked_reconstruction.config import MaskedReconstructionConfig
from posebridge.methods.masked_reconstruction.evidence import masked_reconstruction_sections
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuning
from posebridge.methods.masked_reconstruction.masks import FrameMasks, label_masks
from posebridge.methods.masked_reconstruction.pretraining import Foreground, Pretraining, PretrainingConfig
from posebridge.methods.masked_reconstruction.segmentation import SegmentationTraining
from posebridge.networks.masked_autoencoder import AutoencoderConfig, MaskedAutoencoder
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_vit import PoseViT
from posebridge.training.context import Context


class MaskedReconstruction(Method[MaskedReconstructionConfig]):
    """Segmentation where target masks are needed, pretraining, and fine-tuning."""

    def stages(self, context: Context) -> Stages:
        """The stages in order; each is made when the one before is done."""
        network = self._start(context)
        if self.config.pretraining is not None:
            foreground = yield from self._foreground(self.config.pretraining, context)
            autoencoder = self._autoencoder(network, context.seed)
            yield Pretraining(self.config.pretraining, context, autoencoder, foreground), None
            network.encoder.load_state_dict(autoencoder.encoder.state_dict())
        yield FineTuning(self.config.fine_tuning, context, network), context.selection

    def _start(self, context: Context) -> PoseViT:
        """A given model of this method's, or a new network."""
        given = context.source_network
        if isinstance(given, PoseViT):
            return copy.deepcopy(given).requires_grad_(True)
        return network_as(context.new_network(), PoseViT)

    def _autoencoder(self, network: PoseViT, seed: int) -> MaskedAutoencoder:
        """With the network's encoder."""
        config = AutoencoderConfig(network.config.vit, self.config.decoder_width, self.config.decoder_heads)
        torch.manual_seed(seed)
        autoencoder = MaskedAutoencoder(config)
        autoencoder.encoder.load_state_dict(network.encoder.state_dict())
        return autoencoder

    def _foreground(
        self, config: PretrainingConfig, context: Context
    ) -> Generator[tuple[SegmentationTraining, None], None, Foreground]:
        """Masks and backgrounds, as far as the pretraining needs them; trains the segmentation network for the target.

        For ``yield from``.
        """
        predicts_masks = config.needs_target_masks and context.target_masks is None
        target = backgrounds = None
        if predicts_masks or config.composited_frac > 0:
            backgrounds = UnconstrainedImages(self.config.unconstrained)
        if config.needs_target_masks and not predicts_masks:
            target = FrameMasks(None, context.target_masks)
        elif predicts_masks:
            assert backgrounds is not None
            stage = SegmentationTraining(self.config.segmentation, context, backgrounds)
            yield stage, None
            target = FrameMasks(stage.result())
        return Foreground(
            source=label_masks if config.needs_source_masks else None,
            target=target,
            backgrounds=backgrounds if config.composited_frac > 0 else None,
        )

    def sections(self, evidence: Evidence) -> tuple[Section, ...]:
        """Masks, reconstructed patches, and attention."""
        return masked_reconstruction_sections(evidence)
