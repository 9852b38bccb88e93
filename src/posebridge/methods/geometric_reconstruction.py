"""Geometric reconstruction (Lin, Gu, Yang and Yao, NeurIPS 2023): redraw one frame of a video from another.

Pseudo-labels can be confident and wrong. If the joints are right, they tell how every bone moved between two frames,
and one frame can be redrawn from the other; where they are wrong the redrawing fails, and its error moves the joints.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import BatchT, LabelledBatch, Observation, UnlabelledBatch
from posebridge.data.augment import GeometryConfig, draw_views, move
from posebridge.data.occlude import OcclusionConfig, adaptive_occlusion
from posebridge.data.pairs import PairConfig, split_pairs
from posebridge.data.streams import Stream
from posebridge.losses.contrastive import nt_xent
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.representations.heatmaps import expectation, image_from_map
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.context import Context
from posebridge.training.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.training.optimisers import Schedule
from posebridge.training.perceptual_features import EncoderFeatures, PerceptualLoss, VggFeatures
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.redrawing import Redrawer, RedrawingConfig, Redrawn, still_background
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig, augmented, train_source
from posebridge.training.stage import MapPair, PoseStage, Stage, Terms
from posebridge.training.style import AdaINStyle, FourierStyle, Stylist, restyle_some, train_style
from posebridge.training.supervision import supervised_terms
from posebridge.training.teaching import Teaching


@dataclass(frozen=True)
class PretrainingConfig:
    """Sec. 3.2, Eq. 10: batches of 64 for 40 epochs of 500 steps."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=1e-4, decay="none"))
    batch_size: int = 64
    heat_weight: float = 1.0
    depth_weight: float = 0.1  # lambda_d of Eq. 1; not given, as in source training
    alignment_weight: float = 0.1  # lambda_a, Eq. 10
    temperature: float = 0.5  # tau, Eq. 2


@dataclass(frozen=True)
class ReconstructionConfig:
    """Sec. 3.3.2 and supplement A."""

    pairs: PairConfig = field(default_factory=PairConfig)
    redrawing: RedrawingConfig = field(default_factory=RedrawingConfig)
    features: VggFeatures | EncoderFeatures = field(default_factory=VggFeatures)
    # Of the softmax of Eq. 5, where heat maps are distributions already; 1 is the paper's. The mean of a map with wide
    # tails lies nearer to the middle than its peak, and the redrawing's error then sharpens maps, and moves them less.
    joint_temperature: float = 1.0
    # The generator is trained on predicted joints before it may correct them; for how long is not given.
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, learning_rate=2e-4, decay="none"))
    batch_pairs: int = 16
    # Half of these from videos of the source, with their true joints: not in the paper. From joints that are predicted,
    # and often wrong, the redrawer learns to be content with wrong ones.
    source_videos: bool = False
    # Fine-tuning by labels and pseudo-labels alone, before the loss joins; its share of the 80 epochs is not given.
    warm_start: Schedule = field(default_factory=lambda: Schedule(steps=10_000, learning_rate=1e-4, decay="none"))
    weight: float = 0.1  # lambda_r, Eq. 11

    def warm_share(self, rest: Schedule) -> float:
        """The share of fine-tuning that is over when the loss joins, the ``rest`` of it to come."""
        return self.warm_start.steps / (self.warm_start.steps + rest.steps)


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
            _redrawn_pairs(context, reconstruction)  # refuses what has no pairs before anything is trained
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
        drawing = RedrawerTraining(config, reconstruction, context, warm.result())
        yield drawing, None
        phase = Phase(config.schedule, since=phase.until)
        yield FineTuning(config, phase, context, warm.result(), stylist, drawing.result()), context.selection

    def _source_network(self, context: Context):
        if self.config.source is not None:
            return (yield from train_source(self.config.source, context))
        return context.source_network or context.new_network()


class Pretraining(PoseStage):
    """Sec. 3.2: labels of the source, and features that a change of style leaves alone."""

    name = "pretraining"

    def __init__(
        self,
        config: GeometricReconstructionConfig,
        pretraining: PretrainingConfig,
        context: Context,
        network: PoseResNet,
        stylist: Stylist | None,
    ):
        if context.target is None:
            raise ValueError("pretraining needs the look of a target")
        size = pretraining.batch_size
        super().__init__(
            pretraining.schedule,
            {"source": context.source(size), "target": context.target(size)},
            {
                "heat": pretraining.heat_weight,
                "depth": pretraining.depth_weight,
                "alignment": pretraining.alignment_weight,
            },
            **context.stage_options(4),
        )
        self.config = config
        self.temperature = pretraining.temperature
        self.maps = context.maps
        self.skeleton = context.skeleton
        self.network = network.train().requires_grad_(True)
        self.stylist = stylist

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 10 on source images and the same images in the style of the target."""
        source, target = batches["source"], batches["target"]
        view = augmented(source, self.config, generator, self.skeleton.mirror)
        styled = restyle_some(self.stylist, view.rgb, target.rgb, 1.0, generator)
        features, maps = self._seen(torch.cat([view.rgb, styled]))
        z, z_plus = features.chunk(2)
        terms = supervised_terms(self.maps, maps, _twice(view), self.skeleton)  # Eq. 1, of both looks
        return {**terms, "alignment": nt_xent(z, z_plus, self.temperature).mean()}  # Eq. 2

    def _seen(self, images: Tensor) -> tuple[Float[Tensor, "B C"], MapPair]:
        """The encoder's deepest features, averaged over the image, and the maps that are made of them."""
        with self.trainer.precision_plugin.forward_context():
            features = self.network.features(images)
            heat, depth = self.network.decode(features)
        return features[-1].float().mean((-2, -1)), (heat.float(), depth.float())

    def result(self) -> PoseResNet:
        """The pretrained network."""
        return self.network


def _twice(batch: LabelledBatch) -> LabelledBatch:
    """The samples, then the same again."""
    return batch.take(torch.arange(len(batch)).repeat(2))


class RedrawerTraining(Stage):
    """Sec. 3.3.2: the warping estimator and the generator learn to redraw from joints as the network predicts them."""

    name = "redrawer"

    def __init__(
        self,
        config: GeometricReconstructionConfig,
        reconstruction: ReconstructionConfig,
        context: Context,
        network: PoseResNet,
    ):
        streams = _redrawn_pairs(context, reconstruction)
        super().__init__(
            reconstruction.schedule,
            streams,
            {name.replace("pairs", "reconstruction"): 1.0 for name in streams},
            **context.stage_options(5),
        )
        self.config = config
        self.mirror = context.skeleton.mirror
        self.temperature = reconstruction.joint_temperature
        self.maps = context.maps
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        torch.manual_seed(context.seed)  # of initial weights, the same whichever stages were trained or loaded before
        self.compare = PerceptualLoss(reconstruction.features, network)
        self.redrawer = Redrawer(reconstruction.redrawing, context.skeleton)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 9 with joints that don't move: predicted ones, and true ones where the source has videos."""
        assert isinstance(batches["pairs"], UnlabelledBatch)
        view = same_view(batches["pairs"], self.config.geometry, generator)
        with torch.no_grad():
            uv_px = soft_joints(self.network(view.rgb)[0].float(), self.maps, view.rgb.shape[-1], self.temperature)
        seen: dict[str, tuple[Observation, Tensor]] = {"reconstruction": (view, uv_px)}
        if "source_pairs" in batches:
            known = same_view(batches["source_pairs"], self.config.geometry, generator, self.mirror)
            assert isinstance(known, LabelledBatch)
            assert known.uv_px is not None
            seen["source_reconstruction"] = (known, known.uv_px)
        with self.trainer.precision_plugin.forward_context():
            return {name: redrawing_loss(self.redrawer, self.compare, *pairs) for name, pairs in seen.items()}

    def trained(self):
        """Warping estimator and generator."""
        return self.redrawer.parameters()

    def result(self) -> Redrawer:
        """Warping estimator and generator."""
        return self.redrawer


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


def soft_joints(
    heat: Float[Tensor, "B K h w"], maps: PoseMaps, image_px: int, temperature: float = 1.0
) -> Float[Tensor, "B K 2"]:
    """Eq. 5: the mean place under each heat map, in pixels of the image; differentiable."""
    places = expectation(maps.probability(heat / temperature))
    return image_from_map(places, (image_px, image_px), heat.shape[-2:])


def redraw_pairs(redrawer: Redrawer, view: Observation, uv_px: Float[Tensor, "B K 2"]) -> Redrawn:
    """Driving frames redrawn from base frames; ``uv_px`` are the joints of the batch, bases first."""
    base, driving = split_pairs(view)
    uv_base, uv_driving = uv_px.chunk(2)
    return redrawer(base.rgb, uv_base, uv_driving, still_background(base, driving))


def redrawing_loss(
    redrawer: Redrawer, compare: PerceptualLoss, view: Observation, uv_px: Float[Tensor, "B K 2"]
) -> Float[Tensor, ""]:
    """Eq. 9: how far the redrawn driving frames are from the true ones."""
    _, driving = split_pairs(view)
    return compare(redraw_pairs(redrawer, view, uv_px).image, driving.rgb).float().mean()


def draw_same_views(pairs: Observation, geometry: GeometryConfig, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """One view for both frames of each pair."""
    return draw_views(geometry, len(pairs) // 2, pairs.rgb.shape[-1], generator, pairs.rgb.device).repeat(2, 1, 1)


def same_view(
    pairs: BatchT, geometry: GeometryConfig, generator: Generator, mirror: Sequence[int] | None = None
) -> BatchT:
    """Pairs seen through one view each; labels change sides by ``mirror`` where a view does."""
    return move(pairs, draw_same_views(pairs, geometry, generator), mirror)


def pairs_of_target(context: Context, reconstruction: ReconstructionConfig, count: int) -> Stream[UnlabelledBatch]:
    """The target's pairs, ``count`` a batch. Raises ``InputError`` where it has none."""
    if context.pairs is None:
        raise ValueError("reconstruction needs pairs of frames, and the context offers none")
    return context.pairs(count, reconstruction.pairs)


def _redrawn_pairs(context: Context, reconstruction: ReconstructionConfig) -> dict[str, Stream[Observation]]:
    """The target's pairs; with videos of the source half of each."""
    if not reconstruction.source_videos:
        return {"pairs": pairs_of_target(context, reconstruction, reconstruction.batch_pairs)}
    if context.source_pairs is None:
        raise ValueError("the redrawer is to learn from videos of the source, and the context offers none")
    half = reconstruction.batch_pairs // 2
    source = context.source_pairs(half, reconstruction.pairs)
    return {"pairs": pairs_of_target(context, reconstruction, half), "source_pairs": source}


def _term_weights(
    config: GeometricReconstructionConfig, reconstruction: ReconstructionConfig | None
) -> dict[str, float]:
    """Eq. 11 and, within the pseudo-labels, Eq. 3."""
    weights = {"heat": config.heat_weight, "depth": config.depth_weight}
    weights |= {name: config.pseudo_label_weight * weight for name, weight in config.labels.weights.items()}
    return weights if reconstruction is None else weights | {"reconstruction": reconstruction.weight}
