"""Pseudo-labels from a slow teacher: augmented views, style transfer, agreement (UniFrame, Kim et al., ECCV 2022).

Every view is a known affine map of pixels. Joints pass between views by composed maps; no image is warped back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.rendering.photometry import apply_appearance
from posebridge.training.pseudo_labels import PseudoLabels, merged, most_confident, pseudo_labels_of
from posebridge.training.source_training import Augmentation
from posebridge.training.style import Restyler, restyle_randomly


class PseudoLabellerConfig(Augmentation, Protocol):
    """The part of a method's config that sets how pseudo-labels are made."""

    @property
    def kept_frac(self) -> float:
        """Fraction of a batch's joints that are kept: the most confident ones."""
        ...

    @property
    def teacher_views(self) -> int:
        """Number of augmented views of each frame; with two or more, their agreement scales the confidence."""
        ...

    @property
    def agreement_frac(self) -> float:
        """Deviation between views, as a fraction of the image side, at which confidence falls to exp(-1/2)."""
        ...

    @property
    def target_to_source(self) -> float:
        """Probability that the teacher's images take the source's style."""
        ...


@dataclass(frozen=True)
class PseudoLabeller:
    """Makes pseudo-labels from a teacher's predictions, one batch at a time."""

    config: PseudoLabellerConfig
    mirror: Sequence[int]
    restyler: Restyler | None

    @torch.no_grad()
    def label(
        self,
        teacher: Callable[[Tensor], PoseOutput],
        target: UnlabelledBatch,
        source_images: Tensor,
        generator: Generator,
    ) -> PseudoLabels:
        """Pseudo-labels in pixels of the un-augmented crops. ``teacher`` predicts poses from images."""
        views = []
        for _ in range(self.config.teacher_views):
            T_view = self.draw_views(target, generator)
            view = warp_batch(target, T_view).rgb
            image = restyle_randomly(self.restyler, view, source_images, self.config.target_to_source, generator)
            image = apply_appearance(image, self.config.appearance, generator)
            views.append(pseudo_labels_of(teacher, image).in_view(inverse_map(T_view), self.mirror))
        return self.merge(views, target.rgb.shape[-1])

    def merge(self, views: Sequence[PseudoLabels], image_px: int) -> PseudoLabels:
        """The mean over views, of which the most confident joints are kept."""
        labels = merged(views, self.config.agreement_frac * image_px)
        return labels.keeping(most_confident(labels.confidence, self.config.kept_frac))

    def draw_views(self, batch: Observation, generator: Generator) -> Tensor:
        """A random view of each sample, (B, 3, 3): pixels of the crop to pixels of the view."""
        return draw_views(self.config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)

    def label_unaugmented(self, teacher: PoseNetwork, frames: UnlabelledBatch) -> PseudoLabels:
        """Pseudo-labels of the frames as they are, without augmentation."""
        labels = PseudoLabels.joined([pseudo_labels_of(teacher.predict, part) for part in frames.rgb.split(64)])
        return labels.keeping(most_confident(labels.confidence, self.config.kept_frac))
