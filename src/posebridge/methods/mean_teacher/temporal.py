"""Temporal consistency: heat maps of two frames that follow each other are alike (Lin et al., NeurIPS 2023, Table 5a).

What a video offers without any geometry, to compare geometric reconstruction with.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.pairs import PairConfig
from posebridge.data.streams import Stream
from posebridge.rendering.photometry import apply_appearance
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.context import Context
from posebridge.training.source_training import Augmentation


@dataclass(frozen=True)
class TemporalConsistency:
    """Pairs of neighbouring frames, and what their difference weighs."""

    weight: float = 1.0
    batch_pairs: int = 16
    pairs: PairConfig = field(default_factory=lambda: PairConfig(stride=(1, 1)))

    def stream(self, context: Context) -> Stream[UnlabelledBatch]:
        """Pairs of the target. Raises ``InputError`` where it has none."""
        return context.target_frames.pairs(self.batch_pairs, self.pairs)


def temporal_term(
    maps: PoseMaps,
    heat_of: Callable[[Tensor], Float[Tensor, "B J h w"]],
    pairs: Observation,
    config: Augmentation,
    generator: Generator,
) -> Float[Tensor, ""]:
    """||h^i - h^{i+1}||_2 of each joint, averaged; both frames of a pair through one view, in colours of their own.

    Heat maps that are distributions are compared as such.
    """
    size = pairs.rgb.shape[-1]
    T_view = draw_views(config.geometry, len(pairs) // 2, size, generator, pairs.rgb.device).repeat(2, 1, 1)
    images = apply_appearance(warp_batch(pairs, T_view).rgb, config.appearance, generator)
    heat = heat_of(images)
    shown = maps.probability(heat) if maps.heatmap_type == "softmax" else heat
    first, second = shown.flatten(2).chunk(2)
    return ((first - second).square().sum(-1) + 1e-12).sqrt().mean()
