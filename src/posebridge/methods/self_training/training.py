"""The stage of self-training: a student trains on labels that its own copy of the last round predicts."""

import copy
from functools import partial

import torch
from torch import Generator, Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.streams import Stream
from posebridge.methods.self_training.config import SelfTrainingConfig
from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.training.callbacks import evaluating
from posebridge.training.context import Context
from posebridge.training.pseudo_labels import PseudoLabels, merged, most_confident, pseudo_labels_of
from posebridge.training.source_training import augmented, augmented_target
from posebridge.training.stage import PoseStage, Terms
from posebridge.training.supervision import depth_term, heat_term, supervised_terms


class SelfTraining(PoseStage):
    """Trains on labels of the source and on the most confident pseudo-labels of the target.

    The network that labels the frames is a copy of the student, taken when a round begins. It labels the frames of a
    batch when they are needed, which equals labels of all frames that are stored for the round.
    """

    name = "self-training"
    round: Tensor

    def __init__(self, config: SelfTrainingConfig, context: Context, network: HeatmapNetwork):
        streams: dict[str, Stream[Observation]] = {
            "source": context.source.batches(config.batch_size),
            "target": context.target_frames.batches(config.batch_size),
        }
        weights = {
            "heat": config.heat_weight,
            "depth": config.depth_weight,
            "pseudo_heat": config.pseudo_heat_weight,
            "pseudo_depth": config.pseudo_depth_weight,
        }
        super().__init__(config.schedule, streams, weights, **context.stage_options(10))
        self.config = config
        self.maps = network.maps
        self.skeleton = context.skeleton
        self.student = copy.deepcopy(network).train().requires_grad_(True)
        self.labeller = copy.deepcopy(network).eval().requires_grad_(False)
        self.register_buffer("round", torch.zeros((), dtype=torch.long))  # whose student the labeller is

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Supervised terms on the source, and the same terms of pseudo-labels on the target."""
        target = batches["target"]
        assert isinstance(target, UnlabelledBatch)
        source = augmented(batches["source"], self.config, generator, self.skeleton.mirror)
        terms = supervised_terms(self.maps, self.predict_maps(self.student, source.rgb), source, self.skeleton)

        self._begin_round(self.global_step * self.config.rounds // max(1, self.schedule.steps))
        labels = self.label(target, generator)
        image, T_view = augmented_target(target, self.config, generator)
        expected, output = labels.in_view(T_view, self.skeleton.mirror), self.predict_maps(self.student, image)
        kept = expected.kept.float()
        terms["pseudo_heat"] = heat_term(self.maps, output[0], expected.uv_px, image.shape[-1], kept)
        terms["pseudo_depth"] = depth_term(self.maps, output, expected.relative_depth, kept)
        return terms

    def _begin_round(self, number: int) -> None:
        if number > self.round:
            self.labeller.load_state_dict(self.student.state_dict())
            self.round.fill_(number)

    @torch.no_grad()
    def label(self, target: UnlabelledBatch, generator: Generator) -> PseudoLabels:
        """Pseudo-labels of frames: the mean over the frame itself and random views of it."""
        predict = partial(self.predict_poses, self.labeller)
        with evaluating(self):
            views = [pseudo_labels_of(predict, target.rgb)]
            for _ in range(self.config.label_views - 1):
                T_view = self._draw_views(target, generator)
                found = pseudo_labels_of(predict, warp_batch(target, T_view).rgb)
                views.append(found.in_view(inverse_map(T_view), self.skeleton.mirror))
        return self._selected(views, target.rgb.shape[-1])

    def _selected(self, views: list[PseudoLabels], image_px: int) -> PseudoLabels:
        """The mean over views, of which the most confident joints are kept."""
        progress = self.global_step / max(1, self.schedule.steps)
        labels = merged(views, self.config.agreement_frac * image_px)
        return labels.keeping(most_confident(labels.confidence, self.config.kept_at(progress)))

    def _draw_views(self, batch: Observation, generator: Generator) -> Tensor:
        return draw_views(self.config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)

    def trained_parameters(self):
        """Those of the student."""
        return self.student.parameters()

    def result(self) -> HeatmapNetwork:
        """The student."""
        return self.student

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """The pseudo-labels of un-augmented frames, by the network of the current round."""
        with evaluating(self):
            parts = [pseudo_labels_of(self.labeller.predict, part) for part in frames.rgb.split(64)]
        return self._selected([PseudoLabels.joined(parts)], frames.rgb.shape[-1])
