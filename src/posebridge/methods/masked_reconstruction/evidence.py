"""Sections of the report, made from the trained stages."""

from posebridge.contracts.section import Section
from posebridge.methods.base import Evidence
from posebridge.methods.masked_reconstruction.attention_section import attention_section
from posebridge.methods.masked_reconstruction.fine_tuning import FineTuning
from posebridge.methods.masked_reconstruction.mask_evidence import mask_sections
from posebridge.methods.masked_reconstruction.pretraining import Pretraining
from posebridge.methods.masked_reconstruction.reconstruction_section import reconstruction_section
from posebridge.training.frames import distinct_frames
from posebridge.training.stage import last_stage

_SHOWN = 6  # images
_MEASURED = 256  # images whose attention is measured


def masked_reconstruction_sections(evidence: Evidence) -> tuple[Section, ...]:
    """Masks and reconstruction where the run has them; attention in target images before and after fine-tuning."""
    sections = list(mask_sections(evidence))
    pretraining = last_stage(evidence.stages, Pretraining)
    if pretraining is not None:
        sections.append(reconstruction_section(pretraining, _SHOWN))
    sections += _attention(evidence, pretraining)
    return tuple(sections)


def _attention(evidence: Evidence, pretraining: Pretraining | None) -> tuple[Section, ...]:
    tuning = last_stage(evidence.stages, FineTuning)
    if tuning is None:
        return ()
    before = "before fine-tuning" if pretraining is None else "after pretraining"
    encoders = {before: tuning.pretrained.eval(), "after fine-tuning": tuning.result().encoder.eval()}
    labels = evidence.frame_labels
    if labels is not None and labels.mask is not None:
        frames, masks = labels[:_MEASURED], labels.mask[:_MEASURED]
    else:
        frames = distinct_frames(evidence.context.target_frames.batches(_MEASURED).batch(0))
        predicted = None if pretraining is None else pretraining.foreground.target
        masks = None if predicted is None else predicted(frames).cpu()
    return (attention_section(frames.rgb, frames.key, encoders, masks, _SHOWN),)
