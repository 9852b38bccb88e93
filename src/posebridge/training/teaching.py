"""How a slow teacher looks at target frames: through views, in styles, more than once (UniFrame, Kim et al. 2022).

Every view of an image is an affine map of pixels that is known exactly, so what a teacher saw in one view is taken to
another by composing the maps: nothing is ever warped back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.contracts.batch import Observation, UnlabelledBatch
from posebridge.data.augment import draw_views, warp_batch
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import apply_appearance
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.pseudo_labels import PseudoLabels, keep_most_confident, look
from posebridge.training.source_training import Augmentation
from posebridge.training.stage import MapPair
from posebridge.training.style import Stylist, restyle_some


class TeachingSettings(Augmentation, Protocol):
    """The part of a method's config that says how its teacher looks."""

    @property
    def kept_share(self) -> float:
        """Of all joints of a batch, the most confident."""
        ...

    @property
    def looks(self) -> int:
        """At each frame; with two, confidence is also how well they agree."""
        ...

    @property
    def agreement_px(self) -> float:
        """Of the image side: a difference of looks that leaves exp(-1/2) of the confidence."""
        ...

    @property
    def target_to_source(self) -> float:
        """Probability that the teacher's images take the source's style."""
        ...


@dataclass(frozen=True)
class Teaching:
    """Pseudo-labels from a teacher network, one batch at a time."""

    settings: TeachingSettings
    maps: PoseMaps
    mirror: Sequence[int]
    stylist: Stylist | None

    @torch.no_grad()
    def teach(
        self,
        maps_of: Callable[[Tensor], MapPair],
        target: UnlabelledBatch,
        source_images: Tensor,
        generator: Generator,
    ) -> PseudoLabels:
        """The teacher's joints in the pixels of the un-augmented crop. ``maps_of`` runs the teacher on images."""
        looks = []
        for _ in range(self.settings.looks):
            T_view = self.draw_views(target, generator)
            view = warp_batch(target, T_view).rgb
            image = restyle_some(self.stylist, view, source_images, self.settings.target_to_source, generator)
            image = apply_appearance(image, self.settings.appearance, generator)
            looks.append(look(maps_of, self.maps, image).seen_through(inverse_map(T_view), self.mirror))
        return self.merge(looks, target.rgb.shape[-1])

    def merge(self, looks: Sequence[PseudoLabels], image_px: int) -> PseudoLabels:
        """Mean of the looks, trusted as far as they agree."""
        uv = torch.stack([seen.uv_px for seen in looks])
        confidence = torch.stack([seen.confidence for seen in looks]).prod(0) ** (1 / len(looks))
        if len(looks) > 1:
            apart = (uv - uv.mean(0)).norm(dim=-1).mean(0) / (self.settings.agreement_px * image_px)
            confidence = confidence * torch.exp(-0.5 * apart.square())
        depth = torch.stack([seen.relative_depth for seen in looks]).mean(0)
        kept = keep_most_confident(confidence, self.settings.kept_share)
        return PseudoLabels(uv.mean(0), depth, confidence, kept)

    def draw_views(self, batch: Observation, generator: Generator) -> Tensor:
        """A view of each sample, (B, 3, 3)."""
        return draw_views(self.settings.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)

    def shown(self, teacher: PoseResNet, frames: UnlabelledBatch) -> PseudoLabels:
        """What would be taught of un-augmented frames."""
        parts = [look(teacher, self.maps, part) for part in frames.rgb.split(64)]
        confidence = torch.cat([part.confidence for part in parts])
        return PseudoLabels(
            torch.cat([part.uv_px for part in parts]),
            torch.cat([part.relative_depth for part in parts]),
            confidence,
            keep_most_confident(confidence, self.settings.kept_share),
        )
