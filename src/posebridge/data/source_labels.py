"""Keeps the labels of a source that a method requests, and drops all others."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.source_labels import FIELDS_OF, SourceLabel, SourceLabels, describe_missing
from posebridge.errors import InputError
from posebridge.representations.depth_image import depth_image
from posebridge.synthesis.depth_scene import with_meshes


def missing_label(batch: LabelledBatch, labels: SourceLabels) -> SourceLabel | None:
    """The first requested label that the batch lacks; None where it has all."""
    return next((label for label in FIELDS_OF if label in labels and getattr(batch, FIELDS_OF[label][0]) is None), None)


def select_labels(batch: LabelledBatch, labels: SourceLabels) -> LabelledBatch:
    """The batch with the given labels and no others."""
    dropped = chain.from_iterable(FIELDS_OF[label] for label in FIELDS_OF if label not in labels)
    return replace(batch, **dict.fromkeys(dropped))


def select_rendered(chunk: LabelledBatch, labels: SourceLabels, mano: Path | None = None) -> LabelledBatch:
    """Rendered samples with the given labels and no others. Meshes of hands are made here: renders don't carry them.

    ``mano`` is the file of the hand that was rendered; None for Anny's. Raises ``InputError`` for a label that these
    renders lack.
    """
    if "vertices" in labels and chunk.vertices_m is None and chunk.hand_mask is not None:
        chunk = with_meshes(chunk, mano)
    if missing := missing_label(chunk, labels):
        raise InputError(f"{chunk.key[0]}: these renders have {describe_missing(missing)}: choose another source")
    return select_labels(chunk, labels)


def rendered_source(
    chunk: LabelledBatch, labels: SourceLabels, cube_m: float | None = None, mano: Path | None = None
) -> LabelledBatch:
    """Rendered samples as a network that takes images is given them, with the given labels and no others.

    Args:
        chunk: samples of a renderer, or of a rendered set on disk.
        labels: what is kept.
        cube_m: side of the cube that depth crops show, of which pictures are made. None for colour.
        mano: the file of the hand that was rendered; None for Anny's.

    Raises ``InputError`` for a label that these renders lack.
    """
    kept = select_rendered(chunk, labels, mano)
    image = chunk.image
    if image is None:
        if cube_m is None or chunk.depth_m is None or chunk.centre_m is None:
            raise ValueError("these samples are depth crops: give the side of their cube, cube_m")
        image = depth_image(chunk.depth_m, chunk.centre_m, cube_m)
    return replace(kept, image=image, depth_m=None)
