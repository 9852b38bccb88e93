"""Section of the report: masked images, their reconstruction, and the weights of their patches."""

import torch
from torch import Generator

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.contracts.section import Legend, Number, Picture, PictureRow, Section
from posebridge.draw import generator_for
from posebridge.losses.masked_reconstruction import denormalised_patches, patch_loss
from posebridge.methods.masked_reconstruction.pretraining import Pretraining
from posebridge.networks.masked_autoencoder import draw_visible, masked_patches
from posebridge.networks.vision_transformer import patchify, unpatchify
from posebridge.training.pictures import as_picture

TITLE = "Reconstruction of masked patches"
_TEXT = (
    "Augmented images of pretraining. The encoder takes the visible patches; the decoder predicts the others. Weights "
    "are those of Eq. 2: the reconstruction of bright patches counts most."
)
_GREY = 0.5


@torch.no_grad()
def reconstruction_section(stage: Pretraining, shown: int) -> Section:
    """The section of a finished pretraining, with ``shown`` images of each domain."""
    generator = generator_for(stage.seed, 10**9)
    rows: list[PictureRow] = []
    numbers: list[Number] = []
    for domain, stream in stage.streams.items():
        view = stage.view(domain, stream.batch(0), generator)
        pictures, error = _pictures(stage, domain, view, generator)
        numbers.append(Number(f"error of masked patches, {domain}", error, "of 255"))
        rows += [PictureRow(f"{domain}: {view.key[i]}", pictures[i]) for i in range(min(shown, len(view)))]
    legend = Legend("Weights", "The weight of each patch as a fraction of the largest one, exp(beta).")
    return Section(TITLE, _TEXT, numbers=tuple(numbers), legends=(legend,), picture_rows=tuple(rows))


def _pictures(
    stage: Pretraining, domain: str, view: Observation, generator: Generator
) -> tuple[list[tuple[Picture, ...]], float]:
    """Pictures of each image, and the root mean squared error of masked patches in steps of 8 bits."""
    assert isinstance(view, LabelledBatch)
    vit = stage.autoencoder.config.vit
    device = next(stage.autoencoder.parameters()).device
    images = view.rgb.to(device)
    visible = draw_visible(len(images), vit.patches, stage.config.mask_ratio, generator, device)
    masked = masked_patches(visible, vit.patches)
    patches = patchify(images, vit.patch_px)
    predicted = stage.autoencoder(images, visible)
    if stage.config.normalise_patches:
        predicted = denormalised_patches(predicted, patches)
    error = patch_loss(predicted, patches, torch.ones_like(masked), masked).sqrt()
    hidden = unpatchify(torch.where(masked[..., None] > 0, _GREY, patches), vit.patch_px)
    restored = unpatchify(torch.where(masked[..., None] > 0, predicted, patches), vit.patch_px)
    weights = stage.weights(domain, view)
    scaled = (weights / weights.max()).to(device)[..., None].expand_as(patches)
    bright = unpatchify(scaled, vit.patch_px)
    layers = {"Image": images, "Visible patches": hidden, "Reconstruction": restored, "Weights": bright}
    pictures = [
        tuple(Picture(as_picture(values[i]), name, lossless=name == "Weights") for name, values in layers.items())
        for i in range(len(images))
    ]
    return pictures, 255 * float(error)
