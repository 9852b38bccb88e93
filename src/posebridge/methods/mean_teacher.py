"""UniFrame (Kim et al., ECCV 2022): a slow teacher's pseudo-labels, and style transfer both ways.

The teacher's joints are taken from its view to the student's by composing the two views' maps, and the heat map that
the student should give is drawn there: nothing is ever warped back, so consistency across augmentations is exact.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import GeometryConfig, move
from posebridge.data.occlude import OcclusionConfig, adaptive_occlusion
from posebridge.data.streams import Stream
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.run import SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig, augmented, train_source
from posebridge.training.stage import PoseStage, Stage, Terms
from posebridge.training.style import AdaINStyle, FourierStyle, Stylist, restyle_some, train_style
from posebridge.training.supervision import depth_term, heat_term, supervised_terms
from posebridge.training.teaching import Teaching
from posebridge.training.temporal import TemporalConsistency, temporal_term


@dataclass(frozen=True)
class MeanTeacherConfig:
    """Defaults are UniFrame's where it gives them."""

    source: SourceTrainingConfig = field(default_factory=SourceTrainingConfig)
    style: AdaINStyle | FourierStyle | None = field(default_factory=AdaINStyle)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=15_000, learning_rate=1e-4, drops=(5 / 30, 20 / 30))
    )
    batch_size: int = 32
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    average_decay: float = 0.999  # of the teacher, over parameters
    kept_share: float = 0.5  # of all joints of a batch, the most confident
    looks: int = 1  # of the teacher; with two, confidence is also how well they agree
    agreement_px: float = 0.03  # of the image side: a difference of looks that leaves exp(-1/2) of the confidence
    source_to_target: float = 0.5  # probability that source images take the target's style
    target_to_source: float = 0.5  # probability that the teacher's images take the source's style
    heat_weight: float = 0.5
    depth_weight: float = 0.05
    consistency_weight: float = 1.0
    depth_consistency_weight: float = 0.1
    # What the frames of a video add without redrawing: the same heat maps for two frames that follow each other (Lin et
    # al., NeurIPS 2023, Table 5a). None asks for no videos.
    temporal: TemporalConsistency | None = None
    selections: int = 8  # how many checkpoints are compared


class MeanTeacher:
    """Source training, a style stage where one is needed, and adaptation."""

    name = "mean-teacher"

    def __init__(self, config: MeanTeacherConfig):
        self.config = config

    def stages(self, context: Context) -> Iterator[tuple[Stage, SelectionPlan | None]]:
        """The stages in order; each is made when the one before is done."""
        network = yield from train_source(self.config.source, context)
        stylist = yield from train_style(self.config.style, context)
        yield Adaptation(self.config, context, network, stylist), context.selection


class Adaptation(PoseStage):
    """The student learns from labelled source images and from what the teacher sees in target images."""

    name = "mean-teacher"

    def __init__(self, config: MeanTeacherConfig, context: Context, network: PoseResNet, stylist: Stylist | None):
        if context.target is None:
            raise ValueError("adaptation needs a target")
        streams: dict[str, Stream[Observation]] = {
            "source": context.source(config.batch_size),
            "target": context.target(config.batch_size),
        }
        weights = {
            "heat": config.heat_weight,
            "depth": config.depth_weight,
            "consistency": config.consistency_weight,
            "depth_consistency": config.depth_consistency_weight,
        }
        if config.temporal is not None:
            streams["neighbours"] = config.temporal.stream(context)
            weights["temporal"] = config.temporal.weight
        super().__init__(config.schedule, streams, weights, **context.stage_options(3))
        self.config = config
        self.maps = context.maps
        self.skeleton = context.skeleton
        self.student = copy.deepcopy(network).train().requires_grad_(True)
        self.teacher = copy.deepcopy(network).train().requires_grad_(False)
        self.teaching = Teaching(config, context.maps, context.skeleton.mirror, stylist)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Supervision on the source, consistency with the teacher on the target."""
        source, target = batches["source"], batches["target"]
        assert isinstance(target, UnlabelledBatch)
        styled = restyle_some(self.teaching.stylist, source.rgb, target.rgb, self.config.source_to_target, generator)
        labelled = augmented(replace(source, image=styled), self.config, generator, self.skeleton.mirror)
        terms = supervised_terms(self.maps, self.maps_of(self.student, labelled.rgb), labelled, self.skeleton)

        pseudo = self.teaching.teach(partial(self.maps_of, self.teacher), target, source.rgb, generator)
        T_student = self.teaching.draw_views(target, generator)
        taught = pseudo.seen_through(T_student, self.skeleton.mirror)
        image = apply_appearance(move(target, T_student).rgb, self.config.appearance, generator)
        image, _ = adaptive_occlusion(image, taught.uv_px, taught.confidence, self.config.occlusion, generator)
        heat, depth = self.maps_of(self.student, image)
        kept = taught.kept.float()
        terms["consistency"] = heat_term(self.maps, heat, taught.uv_px, image.shape[-1], kept)
        terms["depth_consistency"] = depth_term(self.maps, (heat, depth), taught.relative_depth, kept)
        if self.config.temporal is not None:
            terms["temporal"] = temporal_term(self.maps, self._heat_of, batches["neighbours"], self.config, generator)
        return terms

    def _heat_of(self, images: Tensor) -> Tensor:
        return self.maps_of(self.student, images)[0]

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: the student's step, and the teacher follows before anyone looks at either."""
        super().optimizer_step(*args, **kwargs)
        update_average(self.teacher, self.student, self.config.average_decay)

    def trained(self):
        """The student's parameters."""
        return self.student.parameters()

    def result(self) -> PoseResNet:
        """The teacher: slower, and with batch statistics of the target alone."""
        return self.teacher

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """What would be taught of un-augmented frames."""
        return self.teaching.shown(self.teacher, frames)
