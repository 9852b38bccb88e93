"""The stage in which a student learns from a slow teacher (UniFrame, Kim et al., ECCV 2022)."""

import copy
from dataclasses import replace
from functools import partial

from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import warp_batch
from posebridge.data.occlude import adaptive_occlusion
from posebridge.data.streams import Stream
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.mean_teacher.temporal import temporal_term
from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.context import Context
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.source_training import augmented
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.style import Stylist, restyle_some
from posebridge.training.supervision import depth_term, heat_term, supervised_terms


class Adaptation(PoseStage):
    """The student learns from labelled source images and from what the teacher sees in target images."""

    name = "mean-teacher"

    def __init__(self, config: MeanTeacherConfig, context: Context, network: HeatmapNetwork, stylist: Stylist | None):
        streams: dict[str, Stream[Observation]] = {
            "source": context.source.batches(config.batch_size),
            "target": context.target_frames.batches(config.batch_size),
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
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.student = copy.deepcopy(network).train().requires_grad_(True)
        self.teacher = copy.deepcopy(network).train().requires_grad_(False)
        self.labeller = PseudoLabeller(config, context.skeleton.mirror, stylist)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Supervision on the source, consistency with the teacher on the target."""
        source, target = batches["source"], batches["target"]
        assert isinstance(target, UnlabelledBatch)
        styled = restyle_some(self.labeller.stylist, source.rgb, target.rgb, self.config.source_to_target, generator)
        labelled = augmented(replace(source, image=styled), self.config, generator, self.skeleton.mirror)
        terms = supervised_terms(self.maps, self.maps_of(self.student, labelled.rgb), labelled, self.skeleton)

        pseudo = self.labeller.label(partial(self.poses_of, self.teacher), target, source.rgb, generator)
        T_student = self.labeller.draw_views(target, generator)
        taught = pseudo.seen_through(T_student, self.skeleton.mirror)
        image = apply_appearance(warp_batch(target, T_student).rgb, self.config.appearance, generator)
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

    def result(self) -> HeatmapNetwork:
        """The teacher: slower, and with batch statistics of the target alone."""
        return self.teacher

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """What would be taught of un-augmented frames."""
        return self.labeller.label_unaugmented(self.teacher, frames)
