"""What a method receives to build its stages from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from posebridge.bodies.parametric_hand import ParametricHand
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.mask_store import MaskStore
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import Frames
from posebridge.training.run import SelectionPlan


@dataclass(frozen=True)
class Context:
    """A labelled source, an unlabelled target, and the network to adapt from one to the other."""

    new_network: Callable[[], nn.Module]  # the same initial weights at each call
    skeleton: Skeleton
    source: Frames[LabelledBatch]
    target: Frames[UnlabelledBatch] | None
    selection: SelectionPlan | None  # how a stage's checkpoint is chosen; None: the last one is kept
    seed: int
    workers: int = 0
    source_network: nn.Module | None = None  # trained on the source already
    target_masks: MaskStore | None = None  # foreground masks of all target frames, where they are given
    # Of depth crops: the hand whose meshes the source has, and the side of the crops' cube.
    hand: ParametricHand | None = None
    cube_m: float | None = None

    def stage_options(self, offset: int) -> dict[str, Any]:
        """Seed and workers of a stage. Stages of one run have different ``offset`` and so different seeds."""
        return {"seed": self.seed * 100 + offset, "workers": self.workers}

    @property
    def target_frames(self) -> Frames[UnlabelledBatch]:
        """The target. Raises ``ValueError`` for a context without one."""
        if self.target is None:
            raise ValueError("this stage trains on a target, and the context has none")
        return self.target

    @property
    def trained_network(self) -> nn.Module:
        """The source-trained network. Raises ``ValueError`` for a context without one."""
        if self.source_network is None:
            raise ValueError("this stage starts from a source-trained network, and the context has none")
        return self.source_network
