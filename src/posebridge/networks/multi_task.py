"""A pose network with heads that predict further maps of each pixel: the subject's mask, and its depth.

SemiHand has the mask, the dual-modality network has both (chapters 6 and 7 of Yang's dissertation, 2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.pose_network import FeatureNetwork

Task = Literal["mask", "depth_map"]


@dataclass(frozen=True)
class MultiTaskMaps:
    """The maps that one stack predicts. A task that the network doesn't have is None."""

    heat: Float[Tensor, "B K h w"]  # logits, as the pose network's
    depth: Float[Tensor, "B K h w"]  # of the joints
    mask: Float[Tensor, "B h w"] | None = None  # logits
    depth_map: Float[Tensor, "B h w"] | None = None  # of the visible surface, as ``training.multi_task`` scales it

    def float(self) -> "MultiTaskMaps":
        """The maps in float32."""
        return self._map(Tensor.float)

    def split(self, sizes: Sequence[int]) -> "tuple[MultiTaskMaps, ...]":
        """The maps of consecutive parts of the batch."""
        spans = [slice(*span) for span in pairwise(accumulate(sizes, initial=0))]
        return tuple(self._map(lambda values, span=span: values[span]) for span in spans)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "MultiTaskMaps":
        optional = (None if values is None else function(values) for values in (self.mask, self.depth_map))
        return MultiTaskMaps(function(self.heat), function(self.depth), *optional)


class MultiTaskNetwork(nn.Module):
    """Images to the maps of each stack. ``pose`` is the network of joints alone, which shares its weights."""

    def __init__(self, pose: FeatureNetwork, tasks: Sequence[Task]):
        super().__init__()
        self.pose = pose
        self.tasks = tuple(tasks)
        self.heads = nn.ModuleList(nn.Conv2d(pose.feature_channels, len(tasks), 1) for _ in range(pose.stacks))

    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[MultiTaskMaps, ...]:
        """The maps of each stack; the last are the prediction."""
        return self.maps_of(self.pose.map_features(images))

    def maps_of(self, features: Sequence[Float[Tensor, "B C h w"]]) -> tuple[MultiTaskMaps, ...]:
        """The maps from the features of each stack."""
        maps = []
        for stack, (values, head) in enumerate(zip(features, self.heads, strict=True)):
            heat, depth = self.pose.maps_of(values, stack)
            maps.append(MultiTaskMaps(heat, depth, **dict(zip(self.tasks, head(values).unbind(1), strict=True))))
        return tuple(maps)
