"""Cut-outs: rendered hands and people without a background, from which whole scenes are composed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from posebridge.contracts.subjects import SubjectKind
from posebridge.draw import generator_for
from posebridge.skeletons.body import H36M17
from posebridge.synthesis.body_domains import VARIED_BODY, BodyDomain
from posebridge.synthesis.domains import subject_of
from posebridge.synthesis.hand_domains import VARIED, HandDomain
from posebridge.synthesis.lights import sample_lighting
from posebridge.synthesis.scene import ImageLayers, Shading, place_subjects, render_scene, soft_edges

CHUNK = 32  # cut-outs per rendered chunk; changing it changes every cut-out
SIZE_PX = 192  # of the square render; larger subjects in scenes are magnified
_HAND_EXTENT_FRAC = (0.35, 0.6)  # of the joints in the render: the rest is left for the forearm
_BODY_EXTENT_FRAC = (0.6, 0.85)


@dataclass(frozen=True)
class Cutout:
    """A right hand or a person, cut to the pixels that it covers."""

    rgba: UInt8[np.ndarray, "h w 4"]  # sRGB, multiplied by alpha, and alpha
    uv_px: Float[np.ndarray, "J 2"]  # all joints, pixels of ``rgba``; may lie outside
    kind: SubjectKind


def cutouts(kind: SubjectKind, count: int, seed: int) -> Iterator[Cutout]:
    """The first ``count`` cut-outs of a seed, rendered from the ``varied`` domain. Number i depends on seed and i."""
    for chunk in range(-(-count // CHUNK)):
        yield from _chunk(kind, seed, chunk)[: count - chunk * CHUNK]


def _chunk(kind: SubjectKind, seed: int, chunk: int) -> list[Cutout]:
    domain, generator = _domain(kind), generator_for(seed, chunk)
    subject = subject_of(domain)
    pose_shape = subject.sample_pose_shape(CHUNK, generator)
    placed = place_subjects(subject, pose_shape, SIZE_PX, generator)
    shading = Shading(subject.sample_appearance(CHUNK, generator), sample_lighting(domain.lights, CHUNK, generator))
    black = torch.zeros(CHUNK, 3, SIZE_PX, SIZE_PX)
    layers = ImageLayers(black, black, torch.zeros(CHUNK, SIZE_PX, SIZE_PX, dtype=torch.bool))
    batch = render_scene(subject, pose_shape, placed, shading, layers)
    assert batch.mask is not None
    assert batch.uv_px is not None
    # Over black, soft edges leave colours that are multiplied by alpha.
    rgba = torch.cat([batch.rgb, soft_edges(batch.mask)], dim=1).permute(0, 2, 3, 1)
    pixels = (rgba.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return [_cut(image, uv, kind) for image, uv in zip(pixels, batch.uv_px.numpy(), strict=True)]


def _cut(rgba: np.ndarray, uv_px: np.ndarray, kind: SubjectKind) -> Cutout:
    """The covered part of a render."""
    alpha = rgba[..., 3] > 0
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    covered = rgba[top : rows[-1] + 1, left : columns[-1] + 1]
    return Cutout(np.ascontiguousarray(covered), (uv_px - [left, top]).astype(np.float32), kind)


def _domain(kind: SubjectKind) -> HandDomain | BodyDomain:
    """``varied``, centred, with room for a hand's forearm."""
    if kind == "hand":
        viewpoints = replace(VARIED.viewpoints, joint_extent_frac=_HAND_EXTENT_FRAC, offset_frac=0.0)
        return replace(VARIED, viewpoints=viewpoints)
    viewpoints = replace(VARIED_BODY.viewpoints, joint_extent_frac=_BODY_EXTENT_FRAC, offset_frac=0.0)
    return replace(VARIED_BODY, viewpoints=viewpoints, joints=H36M17.name)
