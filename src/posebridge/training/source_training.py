"""The first stage of every method: learn from the labelled source (Lin et al., NeurIPS 2023, Sec. 3.2, Eq. 1)."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.networks.pose_network import HeatmapNetwork, network_as
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.run import SelectionPlan
from posebridge.training.stage import PoseStage, Stage, Terms
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class SourceTrainingConfig:
    """Adam 1e-4 falling to a tenth at epochs 45 and 60 of UniFrame's schedule, 40 epochs of 500 steps, batch 32."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=1e-4, decay="none"))
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    heat_weight: float = 1.0
    depth_weight: float = 0.1  # lambda_d of Eq. 1; not given, chosen so that both terms move alike


class SourceTraining(PoseStage):
    """Supervised learning on augmented source samples."""

    name = "source"

    def __init__(self, config: SourceTrainingConfig, context: Context, network: HeatmapNetwork):
        super().__init__(
            config.schedule,
            {"source": context.source.batches(config.batch_size)},
            {"heat": config.heat_weight, "depth": config.depth_weight},
            **context.stage_options(1),
        )
        self.config = config
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.network = network.train()

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """Eq. 1 on augmented samples."""
        view = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        return supervised_terms(self.maps, self.maps_of(self.network, view.rgb), view, self.skeleton)

    def result(self) -> HeatmapNetwork:
        """The source-trained network."""
        return self.network


def train_source(
    config: SourceTrainingConfig, context: Context
) -> Generator[tuple[Stage, SelectionPlan | None], None, HeatmapNetwork]:
    """The source stage, unless the context brings a source network; returns the network. For ``yield from``.

    The last checkpoint is kept, since nothing of the target may choose.
    """
    if context.source_network is not None:
        return network_as(context.source_network, HeatmapNetwork)
    stage = SourceTraining(config, context, network_as(context.new_network(), HeatmapNetwork))
    yield stage, None
    return stage.result()


class Augmentation(Protocol):
    """The part of a method's config that says how far views may go."""

    @property
    def geometry(self) -> GeometryConfig:
        """Of the view."""
        ...

    @property
    def appearance(self) -> AppearanceConfig:
        """Of its colours."""
        ...


def augmented(
    batch: Observation, config: Augmentation, generator: torch.Generator, mirror: Sequence[int]
) -> LabelledBatch:
    """A labelled batch, moved and re-coloured; ``mirror`` are the joints' mirror images, for flips."""
    assert isinstance(batch, LabelledBatch)
    T_view_crop = draw_views(config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)
    view = warp_batch(batch, T_view_crop, mirror)
    return replace(view, image=apply_appearance(view.rgb, config.appearance, generator))
