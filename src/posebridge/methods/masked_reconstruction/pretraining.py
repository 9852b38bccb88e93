"""The pretraining stage: masked autoencoding of source and target with attention to the foreground (Sec. 3.1)."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.data.streams import Stream
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.losses.masked_reconstruction import normalised_patches, patch_loss, patch_weights
from posebridge.methods.masked_reconstruction.masks import MaskOf
from posebridge.networks.masked_autoencoder import MaskedAutoencoder, draw_visible, masked_patches
from posebridge.networks.vision_transformer import patchify
from posebridge.rendering.photometry import WEAK, AppearanceConfig, apply_appearance
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.stage import Stage, Terms


@dataclass(frozen=True)
class PretrainingConfig:
    """Defaults are the paper's: 800 epochs of batches of 4,096, here as 64 accumulated ones of 64.

    The rate is MAE's, 1.5e-4 for each 256 images of a step; warm-up and betas are MAE's, too.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=25_000,  # 800 epochs of 130,000 images, FreiHAND's
            learning_rate=2.4e-3,
            decay="cosine",
            warmup=0.05,
            weight_decay=0.05,
            second_momentum=0.95,
        )
    )
    batch_size: int = 64  # images of a batch, half of them of the target
    accumulated: int = 64  # batches of a step
    on_target: bool = True  # False: images of the source alone, the paper's setting "source only"
    mask_ratio: float = 0.75
    beta: float = 4.0  # Eq. 2; 0: a plain masked autoencoder
    source_mask: bool = True  # weight patches of the source by its masks; False: all alike
    target_mask: bool = True  # likewise for the target, by predicted masks
    normalise_weights: bool = False  # divide the weights of an image by their mean
    normalise_patches: bool = False  # reconstruct patches of mean 0 and variance 1
    composited_frac: float = 0.5  # of the images, before an unconstrained one; not given, and chosen
    geometry: GeometryConfig = field(
        default_factory=lambda: GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.1, scale=(0.75, 1.25))
    )
    appearance: AppearanceConfig = WEAK

    @property
    def needs_source_masks(self) -> bool:
        """Whether masks of the source are used."""
        return self.composited_frac > 0 or (self.beta > 0 and self.source_mask)

    @property
    def needs_target_masks(self) -> bool:
        """Whether masks of the target are used."""
        return self.on_target and (self.composited_frac > 0 or (self.beta > 0 and self.target_mask))


@dataclass(frozen=True)
class Foreground:
    """Where masks and other backgrounds come from; None where the pretraining needs none."""

    source: MaskOf | None = None
    target: MaskOf | None = None
    backgrounds: UnconstrainedImages | None = None


class Pretraining(Stage):
    """Trains a masked autoencoder; one term for each domain, the mean of both being Eq. 3."""

    name = "pretraining"

    def __init__(
        self, config: PretrainingConfig, context: Context, autoencoder: MaskedAutoencoder, foreground: Foreground
    ):
        count = config.batch_size // 2 if config.on_target else config.batch_size
        streams: dict[str, Stream[Observation]] = {"source": context.source.batches(count)}
        weights = {"source": 1.0}
        if config.on_target:
            streams["target"] = context.target_frames.batches(count)
            weights = {"source": 0.5, "target": 0.5}
        super().__init__(config.schedule, streams, weights, **context.stage_options(5))
        self.accumulated = config.accumulated
        self.config = config
        self.foreground = foreground
        self.autoencoder = autoencoder.train()

    def terms(self, batches: dict[str, Observation], generator: Generator) -> Terms:
        """Eq. 3 of each domain; both go through the network at once."""
        views = {name: self.view(name, batch, generator) for name, batch in batches.items()}
        images = torch.cat([view.rgb for view in views.values()])
        patches = self.autoencoder.config.vit.patches
        visible = draw_visible(len(images), patches, self.config.mask_ratio, generator, images.device)
        with self.trainer.precision_plugin.forward_context():
            predicted = self.autoencoder(images, visible)
        masked = masked_patches(visible, patches)
        sizes = [len(view) for view in views.values()]
        parts = zip(views.items(), predicted.float().split(sizes), masked.split(sizes), strict=True)
        return {
            name: patch_loss(predicted, self.targets(view.rgb), self.weights(name, view), masked)
            for (name, view), predicted, masked in parts
        }

    def view(self, domain: str, batch: Observation, generator: Generator) -> LabelledBatch:
        """Augmented images with masks: rotation, translation, resize, other backgrounds, then colours."""
        masks = getattr(self.foreground, domain)
        masked = LabelledBatch(image=batch.rgb, key=batch.key, mask=None if masks is None else masks(batch))
        T_view_crop = draw_views(self.config.geometry, len(batch), batch.rgb.shape[-1], generator, batch.rgb.device)
        view = warp_batch(masked, T_view_crop)
        image = view.rgb
        if self.foreground.backgrounds is not None and view.mask is not None:
            image = self.foreground.backgrounds.behind(image, view.mask, self.config.composited_frac, generator)
        return replace(view, image=apply_appearance(image, self.config.appearance, generator))

    def weights(self, domain: str, view: LabelledBatch) -> Float[Tensor, "B N"]:
        """Eq. 2, or 1 for all patches of a domain whose masks are not used."""
        vit = self.autoencoder.config.vit
        used = self.config.source_mask if domain == "source" else self.config.target_mask
        if view.mask is None or not used:
            return view.rgb.new_ones(len(view), vit.patches)
        return patch_weights(view.mask, vit.patch_px, self.config.beta, self.config.normalise_weights)

    def targets(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N P"]:
        """The patches to reconstruct."""
        patches = patchify(images, self.autoencoder.config.vit.patch_px)
        return normalised_patches(patches) if self.config.normalise_patches else patches

    def result(self) -> MaskedAutoencoder:
        """The autoencoder, whose encoder is fine-tuned."""
        return self.autoencoder
