"""Training of the frame reconstructor: trained weights, pairs, views and loss."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.geometric_reconstruction.small_stages import batches, fine_tuning_stage, reconstructor_stage
from methods.stick_hands import (
    CONFIG,
    FRAMES,
    RECONSTRUCTION,
    SCHEDULE,
    SIDE,
    changed,
    context,
    filmed,
    network,
    state,
    with_reconstructor,
)
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.draw import generator_for
from posebridge.methods.geometric_reconstruction.frame_reconstructor import ReconstructedFrames
from posebridge.methods.geometric_reconstruction.perceptual_features import VggFeatures
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    draw_same_views,
    reconstruct_pairs,
    reconstruction_loss,
    same_view,
    soft_joints,
)
from posebridge.networks.vgg import VggConfig
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from training.dots import MAPS, finished, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_only_the_reconstructor_trains_in_its_stage(guide, tmp_path):
    stage = reconstructor_stage(with_reconstructor(guide=guide))
    before = {name: state(module) for name, module in stage.named_children()}
    assert before.keys() == {"network", "reconstructor", "perceptual_loss"}
    finished(tmp_path, stage)
    assert not changed(stage.network, before["network"])  # including statistics of batches
    assert not changed(stage.perceptual_loss, before["perceptual_loss"])
    moved = changed(stage.reconstructor, before["reconstructor"])
    parameters = {name for name, _ in stage.reconstructor.named_parameters()}
    assert len(moved & parameters) > 0.8 * len(parameters)
    assert stage.result() is stage.reconstructor


def test_initial_weights_depend_on_the_seed_only():
    """Also of frozen random features, so that fine-tuning compares with those of the reconstructor's training."""
    features = VggFeatures(VggConfig(widths=(4, 6), depths=(1, 1), pretrained="none"))
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, features=features))
    torch.manual_seed(1)
    one = reconstructor_stage(config)
    torch.rand(17)
    assert not changed(reconstructor_stage(config).reconstructor, state(one.reconstructor))
    torch.rand(17)
    assert not changed(fine_tuning_stage(config).perceptual_loss, state(one.perceptual_loss))
    other = ReconstructorTraining(config.geometry, config.reconstruction, context(seed=6), network())
    assert changed(other.reconstructor, state(one.reconstructor))


def test_source_videos_are_reconstructed_from_labels():
    """Half of the pairs are from the source, and mirrored views swap sides of their labels."""
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, source_videos=True, batch_pairs=4))
    stage, calls = with_trainer(reconstructor_stage(config)), []
    stage.reconstructor.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    given = batches(stage)
    assert {name: len(batch) for name, batch in given.items()} == {"pairs": 4, "source_pairs": 4}
    assert type(given["pairs"]) is UnlabelledBatch
    terms = stage.terms(given, generator_for(0, 0))
    assert terms.keys() == stage.term_weights.keys() == {"reconstruction", "source_reconstruction"}
    _, (base, uv_base, uv_driving, _) = calls
    generator = generator_for(0, 0)
    draw_same_views(given["pairs"], config.geometry, generator)
    T_view = draw_same_views(given["source_pairs"], config.geometry, generator)
    joints = apply_affine(T_view, given["source_pairs"].uv_px)
    torch.testing.assert_close(torch.cat([uv_base, uv_driving]), joints, atol=1e-4, rtol=0)
    assert len(base) == 2


def test_pairs_share_one_view():
    """Backgrounds of both frames stay aligned: equal frames have equal views."""
    ground = filmed().take(torch.tensor([0, FRAMES, 0, FRAMES])).unlabelled()
    views = draw_same_views(ground, GeometryConfig(), generator_for(0, 0))
    assert torch.equal(views[:2], views[2:])
    assert not torch.equal(views[0], views[1])
    shown = same_view(ground, GeometryConfig(), generator_for(0, 0))
    assert torch.equal(shown.rgb[:2], shown.rgb[2:])
    assert not torch.equal(shown.rgb, ground.rgb)
    assert shown.T_crop_file is not None
    torch.testing.assert_close(shown.T_crop_file, views)


def test_soft_joints_are_in_pixels_of_the_image():
    uv = torch.tensor([[[9.3, 12.1], [20.0, 17.7]]])
    heat, _ = encode_gaussian(map_from_image(uv, (SIDE, SIDE), (16, 16)), 16, 16, 1.0, "sum")
    torch.testing.assert_close(soft_joints(heat.clamp_min(1e-20).log(), MAPS, SIDE), uv, atol=0.02, rtol=0)


class ArgumentRecorder(torch.nn.Module):
    """In place of a reconstructor: returns and records its arguments."""

    def forward(self, base: Tensor, uv_base: Tensor, uv_driving: Tensor, T_base_driving: Tensor):
        self.arguments = (base, uv_base, uv_driving, T_base_driving)
        return self.arguments


def test_a_pair_is_its_base_frame_and_its_driving_joints():
    frames = filmed().unlabelled().take(torch.tensor([0, 9, 3, 12]))
    T = torch.eye(3).repeat(4, 1, 1)
    T[2, 0, 2] = 5.0  # the first driving crop shows what lies 5 px to the left
    frames = replace(frames, T_crop_file=T)
    uv = torch.rand(4, 21, 2)
    base, uv_base, uv_driving, T_base_driving = reconstruct_pairs(ArgumentRecorder(), frames, uv)
    assert torch.equal(base, frames.rgb[:2])
    assert torch.equal(uv_base, uv[:2])
    assert torch.equal(uv_driving, uv[2:])
    place = apply_affine(T_base_driving, torch.zeros(2, 1, 2))[:, 0]
    assert place.tolist() == [[-5, 0], [0, 0]]


def test_a_reconstructor_trains_on_what_a_network_predicts(tmp_path):
    """The loss decreases with joints of an untrained network."""
    schedule = replace(SCHEDULE, steps=30, learning_rate=5e-3)
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, schedule=schedule, batch_pairs=4))
    stage = reconstructor_stage(config)
    before = copy.deepcopy(stage.reconstructor)
    finished(tmp_path, stage)
    view = stage.streams["pairs"].batch(0)
    with_trainer(stage)
    losses = []
    for reconstructor in (before, stage.reconstructor):
        stage.reconstructor = reconstructor.eval()
        with torch.no_grad():
            losses.append(stage.terms({"pairs": view}, generator_for(0, 0))["reconstruction"].item())
    assert losses[1] < 0.9 * losses[0]


def test_the_loss_compares_at_the_size_of_the_reconstruction():
    """An unchanged base frame that is half as large: its loss is that of half-size frames."""

    class HalfBase(torch.nn.Module):
        def forward(self, base: Tensor, *_: Tensor) -> ReconstructedFrames:
            return ReconstructedFrames(half(base))

    def half(images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)

    frames = filmed().unlabelled().take(torch.tensor([0, 9, 3, 12]))
    base, driving = half(frames.rgb).chunk(2)
    found = reconstruction_loss(HalfBase(), lambda a, b: (a - b).abs().mean((1, 2, 3)), frames, torch.rand(4, 21, 2))
    torch.testing.assert_close(found, (base - driving).abs().mean())
