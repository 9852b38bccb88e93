"""Supervised training on the labelled source (Lin et al., NeurIPS 2023, Sec. 3.2, Eq. 1)."""

import copy
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.networks.pose_network import HeatmapNetwork, PoseNetwork, network_as
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import ParameterGroup, Schedule, groups_with_rate
from posebridge.training.pseudo_labels import copy_buffers, update_average
from posebridge.training.run import SelectionPlan
from posebridge.training.stage import PoseStage, Stage, Terms
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class SourceTrainingConfig:
    """Defaults are UniFrame's: Adam with rate 1e-4, 40 epochs of 500 steps, batches of 32.

    UniFrame divides the rate by ten at epochs 45 and 60, after these 40 epochs.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=1e-4, decay="none"))
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    encoder_rate: float = 1.0  # of the encoder, as a fraction of the schedule's: less where it starts trained
    average_decay: float = 0.0  # of a moving average of the weights, which is the result; 0: the last weights
    heat_weight: float = 1.0
    depth_weight: float = 0.1  # lambda_d of Eq. 1; not given, chosen so that both terms have similar gradients


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
        self.average = copy.deepcopy(network).eval().requires_grad_(False) if config.average_decay else None

    def terms(self, batches: dict[str, Observation], generator: torch.Generator) -> Terms:
        """Eq. 1 on augmented samples."""
        view = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        return supervised_terms(self.maps, self.predict_maps(self.network, view.rgb), view, self.skeleton)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The encoder's rate may differ from that of the rest."""
        if self.config.encoder_rate == 1.0:
            return super().parameter_groups()
        return groups_with_rate(self.network.parameters(), self.network.encoder_parameters(), self.config.encoder_rate)

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: update the network, then the average of its weights."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            # The average forgets initial weights as fast as it can: its decay rises with the number of steps.
            decay = min(self.config.average_decay, (self.global_step + 1) / (self.global_step + 10))
            update_average(self.average, self.network, decay)
            copy_buffers(self.average, self.network)

    def result(self) -> HeatmapNetwork:
        """The source-trained network."""
        return self.network if self.average is None else self.average


def train_source(
    config: SourceTrainingConfig, context: Context
) -> Generator[tuple[Stage, SelectionPlan | None], None, PoseNetwork]:
    """The source stage, unless the context has a source network; returns the network. For ``yield from``.

    The last checkpoint is kept: the target must not influence the source model.
    """
    if context.source_network is not None:
        return network_as(context.source_network, PoseNetwork)
    stage = SourceTraining(config, context, network_as(context.new_network(), HeatmapNetwork))
    yield stage, None
    return stage.result()


class Augmentation(Protocol):
    """The part of a method's config that sets the augmentation."""

    @property
    def geometry(self) -> GeometryConfig:
        """Ranges of random views."""
        ...

    @property
    def appearance(self) -> AppearanceConfig:
        """Ranges of photometric changes."""
        ...


def augmented_target(
    target: Observation, config: Augmentation, generator: torch.Generator
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 3"]]:
    """Augmented images of frames without labels, and T_view_crop of each."""
    T_view_crop = draw_views(config.geometry, len(target), target.rgb.shape[-1], generator, target.rgb.device)
    return apply_appearance(warp_batch(target, T_view_crop).rgb, config.appearance, generator), T_view_crop


def augmented(
    batch: Observation, config: Augmentation, generator: torch.Generator, mirror: Sequence[int]
) -> LabelledBatch:
    """An augmented labelled batch. ``mirror`` has the index of each joint's mirror joint, for flips."""
    assert isinstance(batch, LabelledBatch)
    T_view_crop = draw_views(config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)
    view = warp_batch(batch, T_view_crop, mirror)
    return replace(view, image=apply_appearance(view.rgb, config.appearance, generator))
