"""Sections of the report, made from the trained stages."""

import torch

from posebridge.contracts.section import Section
from posebridge.methods.base import Evidence
from posebridge.methods.disentangled_vae.divergence_section import divergence_section
from posebridge.methods.disentangled_vae.estimation import PoseEmbedding
from posebridge.methods.disentangled_vae.estimation_section import estimation_section
from posebridge.methods.disentangled_vae.synthesis import ImageEmbedding
from posebridge.methods.disentangled_vae.synthesis_section import synthesis_sections
from posebridge.training.stage import last_stage

_MEASURED = 64  # images of the target


@torch.inference_mode()
def disentangled_vae_sections(evidence: Evidence) -> tuple[Section, ...]:
    """Divergences; then walks and transfer, or errors of the factors where the target has labels."""
    images = evidence.context.target_frames.batches(_MEASURED).batch(0).rgb
    synthesis = last_stage(evidence.stages, ImageEmbedding)
    if synthesis is not None:
        network = synthesis.network.eval()
        images = images.to(next(network.parameters()).device)
        parts = network.vae.split_posterior(network.encoder(images))
        return (divergence_section(parts), *synthesis_sections(network, images))
    estimation = last_stage(evidence.stages, PoseEmbedding)
    if estimation is None:
        return ()
    estimation.eval()
    images = images.to(next(estimation.network.parameters()).device)
    sections = [divergence_section(estimation.vae.split_posterior(estimation.network.encode(images)))]
    if evidence.frame_labels is not None:
        sections.append(estimation_section(estimation, evidence.frame_labels))
    return tuple(sections)
