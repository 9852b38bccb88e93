"""What a method is given to make its stages from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.pairs import PairConfig
from posebridge.data.streams import Stream
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.run import SelectionPlan


@dataclass(frozen=True)
class Context:
    """A labelled source, an unlabelled target, and the network to move from one to the other.

    Streams are made by the batch size, since each stage has its own.
    """

    new_network: Callable[[], PoseResNet]
    maps: PoseMaps
    skeleton: Skeleton
    source: Callable[[int], Stream[LabelledBatch]]
    target: Callable[[int], Stream[UnlabelledBatch]] | None
    selection: SelectionPlan | None
    seed: int
    workers: int = 0
    source_network: PoseResNet | None = None  # trained already; its stage is then left out
    # By how many pairs a batch has; raises ``InputError`` where the target has no pair of frames.
    pairs: Callable[[int, PairConfig], Stream[UnlabelledBatch]] | None = None
    source_pairs: Callable[[int, PairConfig], Stream[LabelledBatch]] | None = None  # where the source has videos

    def stage_options(self, offset: int) -> dict[str, Any]:
        """Seed and workers of a stage; stages of one run draw different numbers."""
        return {"seed": self.seed * 100 + offset, "workers": self.workers}
