"""What a method receives to build its stages from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.pairs import PairConfig
from posebridge.data.streams import Stream
from posebridge.networks.pose_network import PoseNetwork
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.run import SelectionPlan


@dataclass(frozen=True)
class Context:
    """A labelled source, an unlabelled target, and the network to adapt from one to the other.

    ``source`` and ``target`` return a stream of batches of the given size, since each stage has a size of its own.
    """

    new_network: Callable[[], PoseNetwork]  # the same initial weights at each call
    skeleton: Skeleton
    source: Callable[[int], Stream[LabelledBatch]]
    target: Callable[[int], Stream[UnlabelledBatch]] | None
    selection: SelectionPlan | None
    seed: int
    workers: int = 0
    source_network: PoseNetwork | None = None  # trained on the source already; the source stage is then left out
    # Arguments: pairs a batch, and which frames make a pair. Raises ``InputError`` for a target without pairs.
    pairs: Callable[[int, PairConfig], Stream[UnlabelledBatch]] | None = None
    source_pairs: Callable[[int, PairConfig], Stream[LabelledBatch]] | None = None  # where the source has videos

    def stage_options(self, offset: int) -> dict[str, Any]:
        """Seed and workers of a stage. Stages of one run have different ``offset`` and so different seeds."""
        return {"seed": self.seed * 100 + offset, "workers": self.workers}
