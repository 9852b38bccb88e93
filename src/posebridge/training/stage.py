"""Stages: what is trained, on which streams, by which schedule and loss terms."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypedDict, TypeVar

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Generator, Tensor, nn

from posebridge.contracts.batch import Observation
from posebridge.data.streams import StepBatches, Stream, step_loader
from posebridge.draw import generator_for
from posebridge.losses.keypoints import combine
from posebridge.networks.pose_network import HeatmapNetwork, PoseNetwork, PoseOutput
from posebridge.training.optimisers import ParameterGroup, Schedule, optimiser

Terms = dict[str, Tensor]
Arguments = ParamSpec("Arguments")


class Partial(TypedDict):
    """The batches of a step that were done when a checkpoint was saved, and the sum of their gradients."""

    batches: int
    gradients: dict[str, Tensor]


MapPair = tuple[Float[Tensor, "B J h w"], Float[Tensor, "B J h w"]]


StageT = TypeVar("StageT", bound="Stage")


class Stage(L.LightningModule):
    """One stage of a method: a step that returns named loss terms, which are weighted and summed here.

    Every random draw of batch n comes from a generator made of (seed, n), and every batch is a function of n. With
    several devices, n counts the batches of all. A resumed stage therefore continues exactly as an uninterrupted one.
    """

    name: str
    accumulated = 1  # batches of a step, whose gradients are averaged
    trains_pose_network = False  # whether ``result`` is the network that predicts poses

    def __init__(
        self,
        schedule: Schedule,
        streams: Mapping[str, Stream[Observation]],
        term_weights: Mapping[str, float],
        seed: int,
        workers: int = 0,
    ):
        super().__init__()
        self.schedule = schedule
        self.streams = dict(streams)
        self.term_weights = dict(term_weights)
        self.seed = seed
        self.workers = workers
        self.latest: Terms = {}  # the loss and its terms of the last batch
        self._partial: Partial | None = None  # of the step in which a checkpoint was saved

    @abstractmethod
    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """The loss terms of one step, each a scalar."""

    @abstractmethod
    def result(self) -> nn.Module:
        """The module that the stage has trained."""

    def other_results(self) -> Mapping[str, nn.Module]:
        """Trained modules besides the result that the report needs, by the name of their file."""
        return {}

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that the optimiser updates."""
        return self.parameters()

    def training_step(self, item: tuple[int, dict[str, Observation]], _: int) -> Tensor:
        """Called by the trainer."""
        number, batches = item
        # Pixel maps and losses need full precision. ``predict_maps`` and ``predict_poses`` use the trainer's.
        with torch.autocast(self.device.type, enabled=False):
            terms = self.terms(batches, generator_for(self.seed, number))
            loss = combine(terms, self.term_weights)
        self.latest = {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}
        return loss

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The parameters that the optimiser updates, with their learning rates."""
        return (ParameterGroup(tuple(self.trained_parameters())),)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Called by the trainer."""
        adam, rate = optimiser(self.parameter_groups(), self.schedule)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def train_dataloader(self):
        """Batches from the trainer's current step on, in the middle of it where it was interrupted there."""
        first = self.global_step * self.accumulated + (self._partial["batches"] if self._partial else 0)
        batches = StepBatches(self.streams, first, self.trainer.global_rank, self.trainer.world_size)
        return step_loader(batches, self.workers)

    def completes_step(self, batch_idx: int) -> bool:
        """Whether a step ends with the batch that callbacks are called for."""
        return (batch_idx + 1) % self.accumulated == 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by the trainer: between the batches of a step, keep the gradients so far, averaged over devices."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready % self.accumulated
        if done:
            reduce = self.trainer.strategy.reduce
            gradients = {
                name: reduce(parameter.grad.clone(), reduce_op="mean")
                for name, parameter in self.named_parameters()
                if parameter.grad is not None
            }
            checkpoint["partial"] = Partial(batches=done, gradients=gradients)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by the trainer."""
        self._partial = checkpoint.get("partial")

    def on_train_start(self) -> None:
        """Called by the trainer: continue with the gradients of an interrupted step."""
        if self._partial is not None:
            parameters = dict(self.named_parameters())
            for name, gradient in self._partial["gradients"].items():
                parameters[name].grad = gradient.to(parameters[name].device)
            self._partial = None

    def transfer_batch_to_device(self, batch, device: torch.device, dataloader_idx: int):
        """Called by the trainer."""
        number, batches = batch
        return number, {name: value.to(device, non_blocking=True) for name, value in batches.items()}


class PoseStage(Stage):
    """A stage that trains a pose network."""

    trains_pose_network = True

    def predict_maps(self, network: HeatmapNetwork, images: Float[Tensor, "B 3 H W"]) -> MapPair:
        """Heat maps and depth maps as float32, computed in the trainer's precision."""
        with self.trainer.precision_plugin.forward_context():
            heat, depth = network(images)
        return heat.float(), depth.float()

    def in_precision(self, restyle: Callable[Arguments, Tensor] | None) -> Callable[Arguments, Tensor] | None:
        """The transfer of style, computed in the trainer's precision; its images are float32. None for None."""
        if restyle is None:
            return None

        def restyled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
            with self.trainer.precision_plugin.forward_context():
                return restyle(*args, **kwargs).float()

        return restyled

    def predict_poses(self, network: PoseNetwork, images: Float[Tensor, "B 3 H W"]) -> PoseOutput:
        """Poses as float32, computed in the trainer's precision."""
        with self.trainer.precision_plugin.forward_context():
            return network.predict(images)

    @abstractmethod
    def result(self) -> PoseNetwork:
        """The current pose network, which is scored and saved."""

    def selected(self) -> nn.Module:
        """The module whose weights are those of the chosen checkpoint: the result, or one that contains it."""
        return self.result()


def last_stage(stages: Sequence[Stage], kind: type[StageT]) -> StageT | None:
    """The last of the stages that is of a kind; None where there is none."""
    return next((stage for stage in reversed(stages) if isinstance(stage, kind)), None)
