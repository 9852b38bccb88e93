"""The adaptation stage: a student trains on a slow teacher's pseudo-labels (UniFrame, Kim et al., ECCV 2022)."""

import copy
from dataclasses import replace
from functools import partial

from torch import Generator, Tensor

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.occlude import adaptive_occlusion
from posebridge.data.streams import Stream
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.mean_teacher.temporal import temporal_term
from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.training.context import Context
from posebridge.training.pseudo_labeller import PseudoLabeller
from posebridge.training.pseudo_labels import PseudoLabels, update_average
from posebridge.training.source_training import augmented, augmented_target
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.style import Restyler, restyle_randomly
from posebridge.training.supervision import depth_term, heat_term, supervised_terms


class Adaptation(PoseStage):
    """Trains a student on labelled source images and on the teacher's pseudo-labels of target images."""

    name = "mean-teacher"

    def __init__(self, config: MeanTeacherConfig, context: Context, network: HeatmapNetwork, restyler: Restyler | None):
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
        self.labeller = PseudoLabeller(config, context.skeleton.mirror, self.in_precision(restyler))

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Supervised terms on the source, consistency with the teacher on the target."""
        source, target = batches["source"], batches["target"]
        assert isinstance(target, UnlabelledBatch)
        styled = restyle_randomly(
            self.labeller.restyler, source.rgb, target.rgb, self.config.source_to_target, generator
        )
        labelled = augmented(replace(source, image=styled), self.config, generator, self.skeleton.mirror)
        terms = supervised_terms(self.maps, self.predict_maps(self.student, labelled.rgb), labelled, self.skeleton)

        pseudo = self.labeller.label(partial(self.predict_poses, self.teacher), target, source.rgb, generator)
        image, T_student = augmented_target(target, self.config, generator)
        labels = pseudo.in_view(T_student, self.skeleton.mirror)
        image, _ = adaptive_occlusion(image, labels.uv_px, labels.confidence, self.config.occlusion, generator)
        heat, depth = self.predict_maps(self.student, image)
        kept = labels.kept.float()
        terms["consistency"] = heat_term(self.maps, heat, labels.uv_px, image.shape[-1], kept)
        terms["depth_consistency"] = depth_term(self.maps, (heat, depth), labels.relative_depth, kept)
        if self.config.temporal is not None:
            terms["temporal"] = temporal_term(self.maps, self._heatmaps, batches["neighbours"], self.config, generator)
        return terms

    def _heatmaps(self, images: Tensor) -> Tensor:
        return self.predict_maps(self.student, images)[0]

    def optimizer_step(self, *args, **kwargs) -> None:
        """Called by the trainer: update the student, then the teacher as its moving average."""
        super().optimizer_step(*args, **kwargs)
        update_average(self.teacher, self.student, self.config.average_decay)

    def trained_parameters(self):
        """Those of the student."""
        return self.student.parameters()

    def result(self) -> HeatmapNetwork:
        """The teacher: an average over steps, with batch statistics of the target alone."""
        return self.teacher

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """The pseudo-labels of un-augmented frames."""
        return self.labeller.label_unaugmented(self.teacher, frames)
