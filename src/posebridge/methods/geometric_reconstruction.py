"""Geometric reconstruction (Lin, Gu, Yang and Yao, NeurIPS 2023): redraw one frame of a video from another.

Pseudo-labels can be confident and wrong. If the joints are right, they tell how every bone moved between two frames,
and one frame can be redrawn from the other; where they are wrong the redrawing fails, and its error moves the joints.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import GeometryConfig, move
from posebridge.data.occlude import OcclusionConfig, adaptive_occlusion
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.training.invariant_features import Pretraining, PretrainingConfig
from posebridge.training.optimisers import Schedule
from posebridge.training.perceptual_features import PerceptualLoss
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.redrawer_training import (
    ReconstructionConfig,
    RedrawerTraining,
    draw_same_views,
    pairs_of_target,
    redrawing_loss,
    redrawn_pairs,
    soft_joints,
)
from posebridge.training.redrawing import Redrawer
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig, augmented, train_source
from posebridge.training.stage import PoseStage, Stage, Terms
from posebridge.training.style import AdaINStyle, FourierStyle, Stylist, restyle_some, train_style
from posebridge.training.supervision import supervised_terms
from posebridge.training.teaching import Teaching


@dataclass(frozen=True)
class GeometricReconstructionConfig:
    """Defaults are the paper's; where it is silent, the reason stands beside the value."""

    source: SourceTrainingConfig | None = None  # plain training before Eq. 10; the paper has none
    pretraining: PretrainingConfig | None = field(default_factory=PretrainingConfig)
    style: AdaINStyle | FourierStyle | None = field(default_factory=AdaINStyle)
    reconstruction: ReconstructionConfig | None = field(default_factory=ReconstructionConfig)  # None: pseudo-labels
    labels: LabelIntegration = field(default_factory=LabelIntegration)
    schedule: Schedule = field(  # epochs 20 to 80, of 500 steps; a tenth of the rate from epochs 60 and 75 on
        default_factory=lambda: Schedule(steps=30_000, learning_rate=1e-4, drops=(40 / 60, 55 / 60))
    )
    batch_size: int = 32  # target frames; half as many pairs
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    # The teacher is UniFrame's, whose pseudo-labels are the paper's baseline (supplement B).
    average_decay: float = 0.999
    kept_share: float = 0.5  # gamma_2D as UniFrame has it: the upper half of a batch's peaks
    looks: int = 1
    agreement_px: float = 0.03
    source_to_target: float = 0.5
    target_to_source: float = 0.5
    heat_weight: float = 1.0  # L_sup, Eq. 1 and 11
    depth_weight: float = 0.1
    pseudo_label_weight: float = 0.1  # lambda_p, Eq. 11
    selections: int = 8

    def without_reconstruction(self) -> "GeometricReconstructionConfig":
        """Pseudo-labels alone, for as many steps, the rate falling where it fell."""
        if self.reconstruction is None:
            return self
        warm, rest = self.reconstruction.warm_start.steps, self.schedule
        steps = warm + rest.steps
        drops = tuple((warm + drop * rest.steps) / steps for drop in rest.drops)
        return replace(self, reconstruction=None, schedule=replace(rest, steps=steps, drops=drops))

    def with_moving_background(self) -> "GeometricReconstructionConfig":
        """For cameras that move: the background of redrawn frames goes by a predicted affine map."""
        if self.reconstruction is None:
            return self
        redrawing = self.reconstruction.redrawing
        redrawing = replace(redrawing, warping=replace(redrawing.warping, background="affine"))
        return replace(self, reconstruction=replace(self.reconstruction, redrawing=redrawing))


class GeometricReconstruction:
    """Pretraining, a style stage where one is needed, the generator, and fine-tuning."""

    name = "geometric-reconstruction"

    def __init__(self, config: GeometricReconstructionConfig):
        self.config = config

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """The stages in order; each is made when the one before is done."""
        config, reconstruction = self.config, self.config.reconstruction
        if reconstruction is not None:
            redrawn_pairs(context, reconstruction)  # refuses what has no pairs before anything is trained
        network = yield from self._source_network(context)
        stylist = yield from train_style(config.style, context)
        if config.pretraining is not None:
            pretraining = Pretraining(config, config.pretraining, context, copy.deepcopy(network), stylist)
            yield pretraining, None
            network = pretraining.result()
        if reconstruction is None:
            yield FineTuning(config, Phase(config.schedule), context, network, stylist), context.selection
            return
        phase = Phase(reconstruction.warm_start, until=reconstruction.warm_share(config.schedule))
        warm = FineTuning(config, phase, context, network, stylist)
        warm.name = "warm-start"
        yield warm, context.selection
        drawing = RedrawerTraining(config.geometry, reconstruction, context, warm.result())
        yield drawing, None
        phase = Phase(config.schedule, since=phase.until)
        yield FineTuning(config, phase, context, warm.result(), stylist, drawing.result()), context.selection

    def _source_network(self, context: Context):
        if self.config.source is not None:
            return (yield from train_source(self.config.source, context))
        return context.source_network or context.new_network()


@dataclass(frozen=True)
class Phase:
    """A part of fine-tuning, by shares of the whole."""

    schedule: Schedule
    since: float = 0.0
    until: float = 1.0


class FineTuning(PoseStage):
    """Sec. 3.3: adapt on unlabelled frame pairs, keep the source in view.

    Without a redrawer it is by pseudo-labels alone, of any frames.
    """

    name = "fine-tuning"

    def __init__(
        self,
        config: GeometricReconstructionConfig,
        phase: Phase,
        context: Context,
        network: PoseResNet,
        stylist: Stylist | None,
        redrawer: Redrawer | None = None,
    ):
        if context.target is None:
            raise ValueError("adaptation needs a target")
        reconstruction = config.reconstruction if redrawer is not None else None
        frames = (
            context.target(config.batch_size)
            if reconstruction is None
            else pairs_of_target(context, reconstruction, config.batch_size // 2)
        )
        super().__init__(
            phase.schedule,
            {"source": context.source(config.batch_size), "target": frames},
            _term_weights(config, reconstruction),
            **context.stage_options(6 if phase.since == 0 else 7),
        )
        self.config = config
        self.phase = phase
        self.maps = context.maps
        self.skeleton = context.skeleton
        self.student = copy.deepcopy(network).train().requires_grad_(True)
        self.teacher = copy.deepcopy(network).train().requires_grad_(False)
        self.teaching = Teaching(config, context.maps, context.skeleton.mirror, stylist)
        self.integrated = IntegratedLabels.of(config.labels, context)
        self.redrawer = copy.deepcopy(redrawer)
        torch.manual_seed(context.seed)  # of features that are not trained: those that the redrawer has learnt by
        self.temperature = 1.0 if reconstruction is None else reconstruction.joint_temperature
        self.compare = None if reconstruction is None else PerceptualLoss(reconstruction.features, network)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 11."""
        source, frames = batches["source"], batches["target"]
        assert isinstance(frames, UnlabelledBatch)
        terms = self._supervised(source, frames, generator)

        taught = self.teaching.teach(partial(self.maps_of, self.teacher), frames, source.rgb, generator)
        lesson = self.integrated.lesson(taught, frames.camera, frames.rgb.shape[-1], self._progress)
        view, T_view = self._view(frames, generator)
        output = self.maps_of(self.student, self._shown(view, taught, T_view, generator))
        terms |= self.integrated.terms(output, lesson, T_view, view.rgb.shape[-1])  # Eq. 3
        if self.redrawer is not None:
            terms["reconstruction"] = self._reconstruction(output[0], view)
        return terms

    def _supervised(self, source: Observation, frames: UnlabelledBatch, generator: Generator) -> Terms:
        """Eq. 1 on the source, partly in the target's style."""
        image = restyle_some(self.teaching.stylist, source.rgb, frames.rgb, self.config.source_to_target, generator)
        view = augmented(replace(source, image=image), self.config, generator, self.skeleton.mirror)
        return supervised_terms(self.maps, self.maps_of(self.student, view.rgb), view, self.skeleton)

    def _view(self, frames: UnlabelledBatch, generator: Generator) -> tuple[UnlabelledBatch, Tensor]:
        """The student's views; both frames of a pair through the same one, so that the background stays in place."""
        if self.redrawer is None:
            T_view = self.teaching.draw_views(frames, generator)
            return move(frames, T_view), T_view
        T_view = draw_same_views(frames, self.config.geometry, generator)
        return move(frames, T_view), T_view

    def _shown(self, view: UnlabelledBatch, taught: PseudoLabels, T_view: Tensor, generator: Generator) -> Tensor:
        """What the student is shown of its views: re-coloured, and partly covered."""
        seen = taught.seen_through(T_view, self.skeleton.mirror)
        image = apply_appearance(view.rgb, self.config.appearance, generator)
        image, _ = adaptive_occlusion(image, seen.uv_px, seen.confidence, self.config.occlusion, generator)
        return image

    def _reconstruction(self, heat: Tensor, view: UnlabelledBatch) -> Float[Tensor, ""]:
        """Eq. 9: the driving frame redrawn through the student's joints."""
        assert self.redrawer is not None
        assert self.compare is not None
        uv_px = soft_joints(heat, self.maps, view.rgb.shape[-1], self.temperature)
        with self.trainer.precision_plugin.forward_context():
            return redrawing_loss(self.redrawer, self.compare, view, uv_px)

    @property
    def _progress(self) -> float:
        """Share of fine-tuning that is done."""
        return self.phase.since + (self.phase.until - self.phase.since) * self.global_step / self.schedule.steps

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: the student's step, and the teacher follows before anyone looks at either."""
        super().optimizer_step(*args, **kwargs)
        update_average(self.teacher, self.student, self.config.average_decay)

    def trained(self):
        """Student, warping estimator and generator; the lengths of bones where they are learnt."""
        yield from self.student.parameters()
        yield from self.integrated.parameters()
        if self.redrawer is not None:
            yield from self.redrawer.parameters()

    def result(self) -> PoseResNet:
        """The teacher."""
        return self.teacher

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """What would be taught of un-augmented frames."""
        seen = self.teaching.shown(self.teacher, frames)
        lesson = self.integrated.lesson(seen, frames.camera, frames.rgb.shape[-1], self._progress)
        return lesson.taught()


def _term_weights(
    config: GeometricReconstructionConfig, reconstruction: ReconstructionConfig | None
) -> dict[str, float]:
    """Eq. 11 and, within the pseudo-labels, Eq. 3."""
    weights = {"heat": config.heat_weight, "depth": config.depth_weight}
    weights |= {name: config.pseudo_label_weight * weight for name, weight in config.labels.weights.items()}
    return weights if reconstruction is None else weights | {"reconstruction": reconstruction.weight}
