"""Renders whose contents recur: one of a few backgrounds with its light, skin and sleeve, and every pose of the domain.

Two samples of one content show the same scene with another hand pose, as frames of one recording do. Either is then a
tag image of the other (Sec. 4.3.3 of Yang's dissertation, 2022).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.rendering.photometry import apply_appearance
from posebridge.synthesis.backgrounds import sample_backgrounds
from posebridge.synthesis.lights import sample_lighting
from posebridge.synthesis.sample_selection import select_samples
from posebridge.synthesis.scene import ImageLayers, Shading, place_subjects, render_scene
from posebridge.synthesis.subject import Subject

MOST_CONTENTS = 64
_SEED = 11  # contents belong to the definition of a domain, not of a run


def check_contents(contents: int) -> None:
    """Raise ``InputError`` for a number of contents that there isn't; 0 stands for a new content in every image."""
    if not 0 <= contents <= MOST_CONTENTS:
        raise InputError(f"{contents} contents are impossible: give 1 to {MOST_CONTENTS}, or 0 for new ones each time")


def render_contents(
    subject: Subject, count: int, contents: int, size_px: int, generator: Generator
) -> tuple[LabelledBatch, Sequence[int]]:
    """``count`` labelled images of random contents, and the number of each one's content, below ``contents``.

    Contents are those of the domain in every set. Nothing hides the subject: an occluder would not recur.
    """
    content = torch.randint(contents, (count,), generator=generator)
    shading, backgrounds = _bank(subject, size_px)
    pose_shape = subject.sample_pose_shape(count, generator)
    placed = place_subjects(subject, pose_shape, size_px, generator)
    background = backgrounds[content]
    layers = ImageLayers(background, background, torch.zeros(count, size_px, size_px, dtype=torch.bool))
    batch = render_scene(subject, pose_shape, placed, select_samples(shading, content), layers)
    image = apply_appearance(batch.rgb, subject.domain.sensor, generator)
    return replace(batch, image=image), content.tolist()


@lru_cache(maxsize=4)
def _bank(subject: Subject, size_px: int) -> tuple[Shading, Float[Tensor, "N 3 S S"]]:
    """All contents of a domain: surface and light, and backgrounds."""
    generator = generator_for(_SEED, 1)
    shading = Shading(
        appearance=subject.sample_appearance(MOST_CONTENTS, generator),
        lighting=sample_lighting(subject.domain.lights, MOST_CONTENTS, generator),
    )
    return shading, sample_backgrounds(subject.domain.backgrounds, MOST_CONTENTS, size_px, generator)
