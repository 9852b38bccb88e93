"""Temporal consistency of heat maps in neighbouring frames (Lin et al., NeurIPS 2023, Table 5a).

A baseline for geometric reconstruction that uses videos without geometry.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.pairs import PairConfig
from posebridge.data.streams import Stream
from posebridge.losses.keypoints import heatmap_l2
from posebridge.rendering.photometry import apply_appearance
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.context import Context
from posebridge.training.source_training import Augmentation


@dataclass(frozen=True)
class TemporalConsistency:
    """Pairs of neighbouring frames and the weight of the term."""

    weight: float = 1.0
    batch_pairs: int = 16
    pairs: PairConfig = field(default_factory=lambda: PairConfig(stride=(1, 1)))

    def stream(self, context: Context) -> Stream[UnlabelledBatch]:
        """Pairs of target frames. Raises ``InputError`` for a target without pairs."""
        return context.target_frames.pairs(self.batch_pairs, self.pairs)


def temporal_term(
    maps: PoseMaps,
    predict_heatmaps: Callable[[Tensor], Float[Tensor, "B J h w"]],
    pairs: Observation,
    config: Augmentation,
    generator: Generator,
) -> Float[Tensor, ""]:
    """The mean over joints of ||h^i - h^{i+1}||_2.

    Both frames of a pair get the same geometric view and different colours. Logits are compared as probabilities.
    """
    size = pairs.rgb.shape[-1]
    T_view = draw_views(config.geometry, len(pairs) // 2, size, generator, pairs.rgb.device).repeat(2, 1, 1)
    images = apply_appearance(warp_batch(pairs, T_view).rgb, config.appearance, generator)
    heat = predict_heatmaps(images)
    compared = maps.probability(heat) if maps.heatmap_type == "softmax" else heat
    return heatmap_l2(*compared.chunk(2)).mean()
