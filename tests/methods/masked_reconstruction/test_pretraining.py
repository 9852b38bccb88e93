"""The pretraining stage: what it reconstructs, by which weights, before which backgrounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.masked_reconstruction.squares import (
    MASKED,
    PLAIN,
    SOURCE,
    TARGET,
    first_terms,
    pretraining,
    squares,
)
from posebridge.data.augment import GeometryConfig
from posebridge.data.unconstrained_images import UnconstrainedImages
from posebridge.losses.masked_reconstruction import patch_weights
from posebridge.methods.masked_reconstruction.pretraining import Foreground, Pretraining
from posebridge.networks.vision_transformer import patchify
from posebridge.rendering.photometry import STRONG
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, files_of

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTED = replace(PLAIN, beta=4.0)


class PerfectAutoencoder(torch.nn.Module):
    """Predicts the patches themselves, plus an error of one in one patch of each image."""

    def __init__(self, inner, patch: int):
        super().__init__()
        self.config, self.patch = inner.config, patch
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images, visible):
        self.visible = visible
        patches = patchify(images, self.config.vit.patch_px).clone()
        patches[:, self.patch] += 1 + self.unused
        return patches


@pytest.mark.parametrize("patch", [5, 0])
def test_a_patch_counts_by_its_foreground_where_it_is_masked(patch):
    """The error of one patch alone gives its weight, divided by the number of masked patches."""
    stage = pretraining(WEIGHTED)
    stage.autoencoder = PerfectAutoencoder(stage.autoencoder, patch)
    terms = first_terms(stage)
    for name, labels, start in (("source", SOURCE, 0), ("target", TARGET, 4)):
        batch = stage.streams[name].batch(0)
        masks = labels.mask[[labels.key.index(key) for key in batch.key]]
        visible = stage.autoencoder.visible[start : start + 4].tolist()
        fraction = masks[:, 8 * (patch // 4) :, 8 * (patch % 4) :][:, :8, :8].float().mean((1, 2)).numpy()
        hidden = np.array([patch not in row for row in visible])
        expected = (np.exp(4 * fraction) * hidden).sum() / (4 * 12)
        assert terms[name].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "weighted"),
    [
        ({}, {"source", "target"}),
        ({"target_mask": False}, {"source"}),
        ({"source_mask": False}, {"target"}),
        ({"source_mask": False, "target_mask": False}, set()),
        ({"beta": 0.0}, set()),
    ],
)
def test_domains_whose_masks_are_not_used_have_weight_one(changes, weighted):
    stage = pretraining(replace(WEIGHTED, **changes))
    for name, labels in (("source", SOURCE), ("target", TARGET)):
        view = stage.view(name, stage.streams[name].batch(0), torch.Generator())
        weights = stage.weights(name, view)
        masks = labels.mask[[labels.key.index(key) for key in view.key]]
        expected = patch_weights(masks, 8, 4.0) if name in weighted else torch.ones_like(weights)
        torch.testing.assert_close(weights, expected)


def test_masks_follow_the_geometry_of_their_images():
    """Bright pixels are the square, before and after rotation, translation and resize."""
    geometry = GeometryConfig(rotation_deg=45.0, shear_deg=0.0, translation=0.1, scale=(0.7, 1.3))
    stage = pretraining(replace(WEIGHTED, geometry=geometry))
    for name in ("source", "target"):
        view = stage.view(name, stage.streams[name].batch(0), torch.Generator().manual_seed(1))
        bright = view.rgb.amin(1) > 0.5
        assert (bright == view.mask).float().mean() > 0.98
        assert not torch.equal(view.rgb, stage.streams[name].batch(0).rgb)


def test_other_backgrounds_leave_the_subject():
    """In half of the images, the background is another one; pixels inside the mask are the same."""
    backgrounds = UnconstrainedImages()
    foreground = replace(MASKED, backgrounds=backgrounds)
    stage = pretraining(replace(PLAIN, composited_frac=0.5, batch_size=40), foreground)
    batch = stage.streams["source"].batch(0)
    view = stage.view("source", batch, torch.Generator().manual_seed(2))
    inner = torch.nn.functional.max_pool2d((~view.mask).float()[:, None], 3, 1, 1)[:, 0] == 0
    same = ((view.rgb - batch.rgb).abs() < 1e-6).all(1)  # colours go through a matrix
    assert same[inner].all()
    changed = ~same.flatten(1).all(1)
    assert 4 <= changed.sum() <= 16
    outside = torch.nn.functional.max_pool2d(view.mask.float()[:, None], 3, 1, 1)[:, 0] == 0
    assert (same & outside)[changed].sum() < 0.1 * outside[changed].sum()


def test_colours_change_after_backgrounds():
    """The picture is changed as one: the subject too."""
    stage = pretraining(replace(PLAIN, appearance=STRONG))
    batch = stage.streams["source"].batch(0)
    view = stage.view("source", batch, torch.Generator().manual_seed(2))
    assert ((view.rgb - batch.rgb).abs().mean((1, 2, 3)) > 0.01).all()


def test_source_alone_needs_no_target():
    stage = pretraining(replace(WEIGHTED, on_target=False), Foreground(source=MASKED.source), target=None)
    assert set(first_terms(stage)) == {"source"}
    assert len(stage.streams["source"].batch(0)) == PLAIN.batch_size


def test_masks_are_needed_only_where_they_are_used():
    assert not PLAIN.needs_source_masks
    assert not PLAIN.needs_target_masks
    assert replace(PLAIN, composited_frac=0.5).needs_target_masks
    assert not replace(WEIGHTED, target_mask=False).needs_target_masks
    assert replace(WEIGHTED, target_mask=False).needs_source_masks
    assert not replace(WEIGHTED, on_target=False).needs_target_masks


def test_resuming_is_bit_exact(tmp_path):
    foreground = replace(MASKED, backgrounds=UnconstrainedImages())
    config = replace(WEIGHTED, composited_frac=0.5, appearance=STRONG, accumulated=2)

    def made() -> Pretraining:
        return pretraining(config, foreground)

    Run(tmp_path / "one", ONE_CPU).train(1, made())
    stage, calls = made(), []
    inner = stage.terms

    def terms(batches, generator):
        calls.append(0)
        if len(calls) == 6:
            crash()
        return inner(batches, generator)

    stage.terms = terms
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage)
    Run(tmp_path / "cut", ONE_CPU).train(1, made())
    one, cut = (files_of(tmp_path / name / "stages/1-pretraining") for name in ("one", "cut"))
    assert one == cut


def test_training_reconstructs_squares_it_has_not_seen(tmp_path):
    """The error of masked patches falls below that of the mean colour of the visible ones."""
    schedule = replace(PLAIN.schedule, steps=100, learning_rate=3e-3)
    stage = pretraining(replace(PLAIN, schedule=schedule, batch_size=16, mask_ratio=0.5))
    Run(tmp_path, ONE_CPU).train(1, stage)
    images = squares(32, seed=9).rgb
    visible = torch.arange(0, 16, 2).repeat(32, 1) + torch.tensor([0, 1, 0, 1]).repeat_interleave(2)
    patches = patchify(images, 8)
    with torch.no_grad():
        predicted = stage.result()(images, visible)
    hidden = torch.ones(32, 16, dtype=torch.bool).scatter(1, visible, False)
    mean = patches.gather(1, visible[..., None].expand(-1, -1, 192)).mean((1, 2), keepdim=True).expand_as(patches)
    error, of_mean = ((value - patches).square()[hidden].mean() for value in (predicted, mean))
    assert error < 0.95 * of_mean
