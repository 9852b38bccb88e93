"""The adaptation stage: corrected pseudo-labels of selected samples, and consistency (Sec. 6.3.2 and 6.3.3)."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import warp_batch, warp_points
from posebridge.data.perturbations import PerturbationConfig, draw_perturbations
from posebridge.data.streams import Stream
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.losses.cross_modal import data_to_model, model_to_data
from posebridge.methods.semihand.label_store import LabelStore, StoredLabels
from posebridge.methods.semihand.pretraining import DiverseViews
from posebridge.methods.semihand.views import DiversityConfig, TermWeights
from posebridge.networks.circle_hand import CircleHand
from posebridge.networks.multi_task import MultiTaskMaps, MultiTaskNetwork
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.training.callbacks import evaluating
from posebridge.training.context import Context
from posebridge.training.multi_task import MAP_PX, SoftPose, labelled_terms, warped_maps
from posebridge.training.optimisers import Schedule
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.registration import PoseRegistration
from posebridge.training.source_training import augmented_target
from posebridge.training.stage import PoseStage, Terms

AT_ONCE = 128  # frames whose pseudo-labels are computed together
_SHOWN = 6  # of the first of them, whose pseudo-labels are kept of every iteration


@dataclass(frozen=True)
class AdaptationConfig:
    """Defaults are the dissertation's (Sec. 6.4.1): ten iterations, a tenth of the rate from the fifth on.

    An iteration has as many steps as STB's 15,000 training frames have batches. Terms that are switched off are rows
    of Table 6.1.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=1_180, learning_rate=1e-4, decay="steps", drops=(0.4,))
    )
    iterations: int = 10  # K
    batch_size: int = 128  # of the source, and of the target
    weights: TermWeights = field(default_factory=TermWeights)
    pseudo_labels: bool = True  # L_unsup
    view_consistency: bool = True  # L_vc
    cross_modal: bool = True  # L_cc
    # tau: on the mean over joints of Eq. 6.8, in squared pixels of a 64 px map; the unit is not given.
    threshold: float = 1.5
    consistency_weight: float = 0.1  # lambda_c
    perturbation: PerturbationConfig = field(default_factory=PerturbationConfig)
    diversity: DiversityConfig = field(default_factory=DiversityConfig)
    composited_frac: float = 0.0  # as in the pretraining

    def __post_init__(self):
        if not 1 <= self.iterations <= self.schedule.steps:
            raise InputError(
                f"{self.iterations} iterations of {self.schedule.steps} steps: give 1 <= iterations <= steps"
            )
        if not (self.pseudo_labels or self.view_consistency or self.cross_modal):
            raise InputError("the adaptation has no term of the target: switch one on, or leave the adaptation out")

    @property
    def is_consistent(self) -> bool:
        """Whether L_cons (Eq. 6.9) has a term."""
        return self.view_consistency or self.cross_modal

    def term_weights(self) -> dict[str, float]:
        """The weights of Eq. 6.1. The mask of Eq. 6.10 has that of Eq. 6.3, as both are means over pixels."""
        weights = {"pose": 1.0, "heat": self.weights.heat, "mask": self.weights.mask}
        if self.pseudo_labels:
            weights |= {"pseudo": 1.0, "correction": 1.0}
        if self.view_consistency:
            weights |= {
                "view_pose": self.consistency_weight,
                "view_mask": self.consistency_weight * self.weights.mask,
            }
        if self.cross_modal:
            weights |= dict.fromkeys(("model_to_data", "data_to_model"), self.consistency_weight)
        return weights


class Adaptation(PoseStage):
    """Alternates steps of the network (Eq. 6.6) with updates of pseudo-labels (Eq. 6.7)."""

    name = "adaptation"

    def __init__(
        self,
        config: AdaptationConfig,
        context: Context,
        network: MultiTaskNetwork,
        circles: CircleHand | None,
        register: PoseRegistration,
        backgrounds: UnconstrainedImages | None,
    ):
        """``circles`` are needed for cross-modal consistency alone."""
        streams: dict[str, Stream[Observation]] = {
            "source": context.source.batches(config.batch_size),
            "target": context.target_frames.batches(config.batch_size),
        }
        super().__init__(config.schedule, streams, config.term_weights(), **context.stage_options(13))
        self.config, self.skeleton, self.frames = config, context.skeleton, context.target_frames
        self.views = DiverseViews(config.diversity, config.composited_frac, backgrounds)
        self.register = register
        self.network = copy.deepcopy(network).train().requires_grad_(True)
        self.circles = None if circles is None else copy.deepcopy(circles).requires_grad_(False)
        first = torch.linspace(0, min(len(self.frames), AT_ONCE) - 1, _SHOWN).round().long().unique()
        self.labels = LabelStore(len(self.frames), len(context.skeleton), config.iterations, first)

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 6.1. All images go through the network at once, so that batch statistics are of both domains."""
        config, target = self.config, batches["target"]
        if config.pseudo_labels:
            self.update_labels(self.global_step * config.iterations // self.schedule.steps)
        source = self.views(batches["source"], generator)
        images, shown = {"source": source.rgb}, {"source": source, "target": target}
        T_view: dict[str, Tensor] = {}
        if config.pseudo_labels:
            images["strong"], T_view["strong"] = augmented_target(target, config.diversity, generator)
        if config.is_consistent:
            images["target"] = target.rgb
        if config.view_consistency:
            for name, batch in shown.items():
                T_view[name] = self._perturbation(batch, generator)
                images[f"perturbed {name}"] = warp_batch(batch, T_view[name]).rgb
        stacks = dict(zip(images, self._maps(images), strict=True))
        last = {name: maps[-1] for name, maps in stacks.items()}
        terms = labelled_terms(self.network.pose.maps, stacks["source"], source, self.skeleton, config.weights.depth)
        if config.pseudo_labels:
            terms |= self._pseudo_terms(last["strong"], target, T_view["strong"])
        if config.view_consistency:
            size_px = source.rgb.shape[-1]
            terms |= _mean_terms(
                self.view_terms(last[name], last[f"perturbed {name}"], T_view[name], size_px) for name in shown
            )
        if config.cross_modal:
            terms |= _mean_terms(self.cross_modal_terms(last[name]) for name in shown)
        return terms

    def _maps(self, images: Mapping[str, Tensor]) -> list[tuple[MultiTaskMaps, ...]]:
        """The maps of each stack, for each batch of images."""
        with self.trainer.precision_plugin.forward_context():
            found = self.network(torch.cat([*images.values()]))
        sizes = [len(batch) for batch in images.values()]
        return [*zip(*(stack.float().split(sizes) for stack in found), strict=True)]

    def _perturbation(self, batch: Observation, generator: Generator) -> Float[Tensor, "B 3 3"]:
        return draw_perturbations(
            self.config.perturbation, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device
        )

    def _pose(self, maps: MultiTaskMaps) -> SoftPose:
        return SoftPose.of_maps(self.network.pose.maps, maps.heat, maps.depth)

    def _pseudo_terms(self, maps: MultiTaskMaps, target: Observation, T_view_crop: Tensor) -> Terms:
        """Eq. 6.6: the indicator gates the distance to pseudo-labels; that to corrections counts for all samples."""
        labels = self.labels.labels(self.labels.rows_of(target.key))
        return self.pseudo_terms(self._pose(maps), labels, T_view_crop, target.rgb.shape[-1])

    def pseudo_terms(
        self, predicted: SoftPose, labels: StoredLabels, T_view_crop: Float[Tensor, "B 3 3"], image_px: int
    ) -> Terms:
        """Eq. 6.6 of poses that are predicted in views."""
        depth_weight, accepted = self.config.weights.depth, labels.accepted(self.config.threshold)
        pseudo, corrected = (
            predicted.distance(in_view(pose, T_view_crop, image_px), depth_weight).mean(1)
            for pose in (labels.pseudo, labels.corrected)
        )
        return {"pseudo": (pseudo * accepted).mean(), "correction": corrected.mean()}

    def view_terms(
        self, plain: MultiTaskMaps, perturbed: MultiTaskMaps, T_view_crop: Float[Tensor, "B 3 3"], image_px: int
    ) -> Terms:
        """Eq. 6.10, with gradients through both sides. Pixels that enter the view from outside don't count."""
        expected = in_view(self._pose(plain), T_view_crop, image_px)
        pose = self._pose(perturbed).distance(expected, self.config.weights.depth)
        assert plain.mask is not None
        assert perturbed.mask is not None
        mask, inside = warped_maps(plain.mask.sigmoid(), T_view_crop, image_px)
        error = (perturbed.mask.sigmoid() - mask).abs() * inside
        return {"view_pose": pose.mean(), "view_mask": error.sum() / inside.sum().clamp_min(1)}

    def cross_modal_terms(self, maps: MultiTaskMaps) -> Terms:
        """Eq. 6.11: sums over the pixels of a 64 px map, divided by the number of joints.

        Positions count as means over joints, so that lambda_c = 0.1 weights terms of one magnitude.
        """
        if self.circles is None:
            raise ValueError("cross-modal consistency needs the circles of the hand")
        assert maps.mask is not None
        pose, mask = self._pose(maps), maps.mask.sigmoid()
        circles = self.circles(pose.uv, MAP_PX)
        distance = circles.distance(mask.shape[-1])
        cell = (MAP_PX / mask.shape[-1]) ** 2 / pose.uv.shape[1]
        return {
            "model_to_data": cell * model_to_data(circles.covered(distance), mask).mean(),
            "data_to_model": cell * data_to_model(distance, mask).mean(),
        }

    @torch.no_grad()
    def update_labels(self, iteration: int) -> None:
        """Lines 1, 2, 4 and 6 of Algorithm 6.1: pseudo-labels, corrections and confidence of all target frames.

        Does nothing where the labels are of this iteration already.
        """
        while self.labels.iteration < iteration:
            self.labels.begin(int(self.labels.iteration) + 1)
            with evaluating(self):
                for indices, batch in self.frames.in_order(AT_ONCE):
                    self._update_batch(torch.tensor(indices, device=self.device), batch.to(self.device))
            self.labels.finish(self.config.threshold)

    def _update_batch(self, rows: Tensor, batch: UnlabelledBatch) -> None:
        number = int(self.labels.iteration)
        before = self.labels.labels(rows).corrected if number > 0 else None
        generator = generator_for(self.seed, number, int(rows[0]) + 1)
        self.labels.store(rows, batch.key, self.labels_of(batch, before, generator))

    def labels_of(self, batch: UnlabelledBatch, before: SoftPose | None, generator: Generator) -> StoredLabels:
        """Eq. 6.7 and 6.8 by the current network.

        p̂ = (p' + r') / 2 minimises the sum of squares of Eq. 6.7; without a correction r' ``before``, p̂ = p'.
        """
        size_px, weight = batch.rgb.shape[-1], self.config.weights.depth
        T_view = self._perturbation(batch, generator)
        plain, perturbed = (
            self._pose(stacks[-1])
            for stacks in self._maps({"plain": batch.rgb, "perturbed": warp_batch(batch, T_view).rgb})
        )
        pseudo = plain
        if before is not None:
            pseudo = SoftPose((plain.uv + before.uv) / 2, (plain.depth + before.depth) / 2)
        registered = self.register(pseudo.uv_px(size_px), pseudo.depth, batch.camera)
        corrected = SoftPose.of_image(registered.uv_px, registered.relative_depth, size_px)
        unstable = perturbed.distance(in_view(pseudo, T_view, size_px), weight).mean(1)
        return StoredLabels(pseudo, corrected, unstable + pseudo.distance(corrected, weight).mean(1))

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """Pseudo-labels of un-augmented frames: stored ones, or those of a first iteration for other frames.

        Confidence is exp(-C). Joints of accepted frames are kept, and none where the config has no pseudo-labels.
        """
        used = self.config.pseudo_labels
        if used:
            self.update_labels(max(0, int(self.labels.iteration)))
        if used and all(key in self.labels.keys for key in frames.key):
            labels = self.labels.labels(self.labels.rows_of(frames.key))
        else:
            with evaluating(self), torch.no_grad():
                labels = self.labels_of(frames, None, generator_for(self.seed, self.global_step, 1))
        size_px, joints = frames.rgb.shape[-1], labels.pseudo.uv.shape[1]
        confidence = (-labels.inconsistency).exp()[:, None].expand(-1, joints)
        kept = used & labels.accepted(self.config.threshold)[:, None].expand(-1, joints)
        return PseudoLabels(labels.pseudo.uv_px(size_px), labels.pseudo.depth, confidence, kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by the trainer: keep the frames' keys beside the buffers."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pseudo_label_keys"] = dict(self.labels.keys)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by the trainer."""
        super().on_load_checkpoint(checkpoint)
        self.labels.keys = dict(checkpoint["pseudo_label_keys"])

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()

    def result(self) -> FeatureNetwork:
        """The network of joints."""
        return self.network.pose

    def other_results(self) -> Mapping[str, nn.Module]:
        """The heads of the mask, and the pseudo-labels with their history where there are some."""
        heads = {"mask-heads": self.network.heads}
        return {**heads, "pseudo-labels": self.labels} if self.config.pseudo_labels else heads


def in_view(pose: SoftPose, T_view_crop: Float[Tensor, "B 3 3"], image_px: int) -> SoftPose:
    """A pose of square crops in views of them. Views turn, shift and scale the image, and keep depth."""
    return SoftPose.of_image(warp_points(pose.uv_px(image_px), T_view_crop), pose.depth, image_px)


def _mean_terms(parts: Iterable[Terms]) -> Terms:
    """The mean over domains of equal batches."""
    found = [*parts]
    return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}
