"""The fine-tuning stage: labels of the source, pseudo-labels and self-distillation on the target (Sec. 7.3.5)."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.perturbations import PerturbationConfig, draw_perturbations
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.errors import InputError
from posebridge.methods.dual_modality.branch_stage import BranchStage
from posebridge.methods.dual_modality.pseudo_labelling import consistent_labels
from posebridge.methods.dual_modality.supervision import (
    ModalityWeights,
    distance_terms,
    pseudo_terms,
    supervised_terms,
)
from posebridge.methods.dual_modality.views import ViewConfig, source_view, textured_depth
from posebridge.networks.dual_modality import DualModalityNetwork, depth_image
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.callbacks import evaluating
from posebridge.training.context import Context
from posebridge.training.multi_task import SurfaceDepth
from posebridge.training.optimisers import Schedule
from posebridge.training.pseudo_labels import PseudoLabels
from posebridge.training.registration import PoseRegistration
from posebridge.training.stage import Terms

_AT_ONCE = 64  # frames whose pseudo-labels are inspected at once


@dataclass(frozen=True)
class FineTuningConfig:
    """Defaults are the paper's: 6 epochs of 15,000 images, STB's."""

    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=4_500, learning_rate=2.5e-5, decay="none", second_momentum=0.99)
    )
    batch_size: int = 20  # images of each domain
    pseudo_label_weight: float = 1.0  # lambda_l
    distillation_weight: float = 0.2  # lambda_f; 0: no self-distillation
    # The branch that Eq. 7.9 trains. Not given: the paper calls fusion the refined prediction, so its output is the
    # target.
    distilled: Literal["rgb", "fusion", "both"] = "rgb"
    max_variance: float = 1.5  # epsilon
    weights: ModalityWeights = field(default_factory=ModalityWeights)
    views: ViewConfig = field(default_factory=ViewConfig)  # of the source, and strong ones of the target
    weak_views: PerturbationConfig = field(default_factory=lambda: PerturbationConfig(translation=8 / 256))

    def __post_init__(self):
        if self.max_variance <= 0:
            raise InputError(f"max_variance={self.max_variance} keeps no pseudo-label: give a positive number")


class FineTuning(BranchStage):
    """Eq. 7.10 on source and target."""

    name = "fine-tuning"

    def __init__(
        self,
        config: FineTuningConfig,
        context: Context,
        network: DualModalityNetwork,
        backgrounds: UnconstrainedImages | None,
    ):
        weights = {**config.weights.labelled, **config.weights.pseudo_labelled(config.pseudo_label_weight)}
        if config.distillation_weight:
            weights |= config.weights.distilled(config.distillation_weight)
        streams = {
            "source": context.source.batches(config.batch_size),
            "target": context.target_frames.batches(config.batch_size),
        }
        super().__init__(config.schedule, streams, weights, **context.stage_options(9))
        self.config, self.skeleton, self.backgrounds = config, context.skeleton, backgrounds
        self.register = PoseRegistration.from_context(context)
        self.network = network.train().requires_grad_(True)
        self.network.projection.requires_grad_(False)  # no term of fine-tuning reads it

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 7.10."""
        config, maps, target = self.config, self.network.pose.maps, batches["target"]
        size_px, mirror = target.rgb.shape[-1], self.skeleton.mirror
        source = source_view(batches["source"], config.views, self.backgrounds, generator, mirror)
        true_depth = SurfaceDepth.of(source, self.skeleton).values
        labels, T_strong = self.labels_in_strong_views(target, generator)
        strong = warp_batch(target, T_strong).rgb
        images = apply_appearance(torch.cat([source.rgb, strong]), config.views.appearance, generator)
        depth = torch.cat(
            [
                textured_depth(true_depth, config.views.depth_texture, generator),
                self.predicted_depth(images[len(source) :]),
            ]
        )
        with self.trainer.precision_plugin.forward_context():
            outputs = self.network(images, depth)
        parts = {name: output.maps.float().split((len(source), len(target))) for name, output in outputs.items()}
        on_source, on_target = ([part[domain] for part in parts.values()] for domain in (0, 1))
        return {
            **supervised_terms(maps, on_source, source, self.skeleton, config.weights.depth),  # Eq. 7.6
            **pseudo_terms(maps, on_target, labels, size_px, config.weights.depth),  # Eq. 7.8
            **self.distillation_terms(parts["rgb"][1], parts["fusion"][1]),
        }

    def labels_in_strong_views(self, target: Observation, generator: Generator) -> tuple[PseudoLabels, Tensor]:
        """Pseudo-labels of weak views, in pixels of strong ones; and the maps from crops to strong views."""
        size_px, device = target.rgb.shape[-1], target.rgb.device
        T_weak = draw_perturbations(self.config.weak_views, len(target), size_px, generator, device)
        T_strong = draw_views(self.config.views.geometry, len(target), size_px, generator, device)
        labels = self.predicted_labels(warp_batch(target, T_weak))
        return labels.in_view(T_strong @ inverse_map(T_weak), self.skeleton.mirror), T_strong

    @torch.no_grad()
    def predicted_labels(self, frames: Observation) -> PseudoLabels:
        """Pseudo-labels in pixels of the frames. The network predicts as it does after training."""
        images, size_px = frames.rgb, frames.rgb.shape[-1]
        with evaluating(self.network), self.trainer.precision_plugin.forward_context():
            rgb = self.network(images, branches=("rgb",))["rgb"].maps.float()
            fusion = self.network(images, _as_input(rgb, size_px), ("fusion",))["fusion"].maps.float()
        decode = self.network.pose.decode_maps
        poses = [decode(branch.heat, branch.depth, images.shape[-2:]) for branch in (rgb, fusion)]
        return consistent_labels(
            poses, frames.camera, size_px, self.register, self.config.max_variance, self.config.weights.depth
        )

    @torch.no_grad()
    def predicted_depth(self, images: Tensor) -> Tensor:
        """Depth maps (B, S, S) of the branch of colour, as the other branches take them."""
        with evaluating(self.network), self.trainer.precision_plugin.forward_context():
            rgb = self.network(images, branches=("rgb",))["rgb"].maps.float()
        return _as_input(rgb, images.shape[-1])

    def distillation_terms(self, rgb: MultiTaskMaps, fusion: MultiTaskMaps) -> Terms:
        """Eq. 7.9 on strong views; empty without self-distillation."""
        config = self.config
        if not config.distillation_weight:
            return {}
        rgb = _detached(rgb) if config.distilled == "fusion" else rgb
        fusion = _detached(fusion) if config.distilled == "rgb" else fusion
        return distance_terms(self.network.pose.maps, rgb, fusion, config.weights.depth)

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """The pseudo-labels of un-augmented frames."""
        parts = [self.predicted_labels(frames[start : start + _AT_ONCE]) for start in range(0, len(frames), _AT_ONCE)]
        return PseudoLabels.joined(parts)


def _as_input(maps: MultiTaskMaps, size_px: int) -> Tensor:
    assert maps.depth_map is not None
    return depth_image(maps.depth_map, size_px)


def _detached(maps: MultiTaskMaps) -> MultiTaskMaps:
    return replace(maps, **{name: values.detach() for name, values in vars(maps).items() if values is not None})
