"""The stage: units and frames of its samples, labelled and weak ones, resumption, and training."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from methods.aligned_latent_spaces.far_dots import CONFIG, NETWORK, SOURCE, far_dots, first_terms, network, stage
from posebridge.cameras.crop import flip_map
from posebridge.data.augment import draw_views, warp_batch
from posebridge.data.clouds import Clouds
from posebridge.errors import InputError
from posebridge.methods.aligned_latent_spaces.alignment import modalities_of
from posebridge.training.run import Run
from training.dots import ONE_CPU, SIDE, SKELETON, crash, disturb

pytestmark = pytest.mark.usefixtures("one_thread")
FAR, NEAR = SKELETON.reference[1], SKELETON.reference[0]


def augmented_dots(mirror: bool):
    views = draw_views(CONFIG.geometry, len(SOURCE), SIDE, torch.Generator().manual_seed(0))
    views = flip_map(SIDE) @ views if mirror else views
    return warp_batch(SOURCE, views)


def test_poses_are_in_reference_bones_about_the_end_of_that_bone():
    known = modalities_of(SOURCE, None, network())
    assert not known.pose[:, FAR].any()
    torch.testing.assert_close(known.pose[:, NEAR].norm(dim=1), torch.ones(len(SOURCE)))
    assert known.has_joint.all()
    assert not known.has_cloud.any()


@pytest.mark.parametrize("mirror", [False, True])
def test_poses_turn_with_their_augmented_images(mirror):
    """Subjects are far: their picture is that of the pose, scaled, in the frame of the view.

    They are seen 22 degrees beside the optical axis, where a pinhole image stretches by 8% more along the radius than
    across it; half of that is left.
    """
    view = augmented_dots(mirror)
    known = modalities_of(view, None, network())
    across_px = view.uv_px - view.uv_px[:, [FAR]]
    scale = (across_px * known.pose[..., :2]).sum(dim=(1, 2)) / known.pose[..., :2].square().sum(dim=(1, 2))
    assert (scale > 0).all()
    error_px = (across_px - scale[:, None, None] * known.pose[..., :2]).norm(dim=-1).mean()
    assert error_px < 0.04 * across_px.norm(dim=-1).mean()
    uncorrected = modalities_of(view, None, network(replace(NETWORK, view_correction=False)))
    skewed_px = (across_px - scale[:, None, None] * uncorrected.pose[..., :2]).norm(dim=-1).mean()
    assert skewed_px > 2 * error_px


@pytest.mark.parametrize("mirror", [False, True])
def test_clouds_turn_as_poses_do(mirror):
    """A cloud of the joints themselves is the pose, but for its middle and its unit."""
    view, made = augmented_dots(mirror), network()
    clouds = Clouds(view.joints_m, torch.ones(len(view), dtype=torch.bool))
    known = modalities_of(view, clouds, made)
    bone_m = (view.joints_m[:, FAR] - view.joints_m[:, NEAR]).norm(dim=1)[:, None, None]
    pose_m = known.pose * bone_m
    torch.testing.assert_close(
        known.cloud * made.reference_length_m, pose_m - pose_m.mean(dim=1, keepdim=True), atol=1e-6, rtol=1e-4
    )


def test_joints_without_label_are_not_targets():
    valid = SOURCE.valid.clone()
    valid[0, 2], valid[1, NEAR] = False, False
    known = modalities_of(replace(SOURCE, valid=valid), None, network())
    assert known.has_joint[0].tolist() == [True, True, False]
    assert not known.has_joint[1].any()  # without the bone there is no unit
    assert known.has_pixel[1].tolist() == valid[1].tolist()


@pytest.mark.parametrize("missing", ["camera", "joints_m"])
def test_sources_without_joints_in_space_are_refused(missing):
    with pytest.raises(InputError, match="needs joints in space and intrinsics"):
        modalities_of(replace(SOURCE, **{missing: None}), None, network())


@pytest.mark.parametrize("alignment", ["none", "divergence", "product"])
def test_every_term_has_a_weight(alignment):
    made = stage(replace(CONFIG, alignment=alignment))
    assert set(first_terms(made)) == set(made.term_weights)
    made = stage(replace(CONFIG, alignment="none", clouds=None), replace(NETWORK, heat_maps=None))
    assert set(first_terms(made)) == set(made.term_weights) == {"pose", "divergence"}


def test_beta_rises_by_a_factor():
    assert CONFIG.beta_at(0) == 1e-5
    assert CONFIG.beta_at(5) == pytest.approx(1e-3)
    steps = [CONFIG.beta_at(step) for step in range(6)]
    assert [b / a for a, b in pairwise(steps)] == pytest.approx([100 ** (1 / 5)] * 5)


def test_weak_samples_have_no_joints():
    """Other joints of the samples beyond the labelled ones change nothing; other joints of labelled ones do."""
    config = replace(CONFIG, labelled=10)
    one = first_terms(stage(config))
    for changed, same in ((slice(10, 40), True), (slice(0, 10), False)):
        joints_m, uv_px = SOURCE.joints_m.clone(), SOURCE.uv_px.clone()
        joints_m[changed, 2] += 0.05
        uv_px[changed] += 3
        other = first_terms(stage(config, source=replace(SOURCE, joints_m=joints_m, uv_px=uv_px)))
        assert all(torch.equal(one[name], other[name]) for name in ("pose", "heat")) is same
        assert torch.equal(one["cloud"], other["cloud"])


def test_streams_part_the_source():
    streams = stage(replace(CONFIG, labelled=10)).streams
    drawn = {name: {key for n in range(20) for key in stream.batch(n).key} for name, stream in streams.items()}
    assert drawn == {"labelled": {*SOURCE.key[:10]}, "weak": {*SOURCE.key[10:]}}


@pytest.mark.parametrize("changes", [{"weak_batch_size": 0}, {"clouds": None, "alignment": "none"}])
def test_the_other_samples_are_left_out_where_nothing_of_them_is_used(changes):
    assert set(stage(replace(CONFIG, labelled=10, **changes)).streams) == {"labelled"}


def test_more_labelled_samples_than_there_are():
    with pytest.raises(InputError, match="labelled=41, and the source has 40 samples"):
        stage(replace(CONFIG, labelled=41))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clouds": None}, "alignment=product aligns images with clouds"),
        ({"labelled": 0}, "leaves no sample with joints"),
        ({"beta": (0.0, 1e-3)}, "is no rising range"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize("alignment", ["divergence", "product"])
def test_resumed_training_equals_uninterrupted_training(tmp_path, alignment):
    """Also of weak samples. The rate of the divergence and the drawn clouds are functions of the step."""
    config = replace(CONFIG, alignment=alignment, labelled=20)
    whole = stage(config)
    Run(tmp_path / "whole", ONE_CPU).train(1, whole)
    stopped = stage(config)
    disturb(stopped, {4: crash})
    run = Run(tmp_path / "stopped", ONE_CPU, checkpoint_seconds=0)
    with pytest.raises(RuntimeError, match="power cut"):
        run.train(1, stopped)
    resumed = stage(config)
    begun = disturb(resumed, {})
    run.train(1, resumed)
    assert begun[0] > 0
    expected = whole.models.state_dict()
    for name, value in resumed.models.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_finished_stage_is_loaded_with_its_decoder_of_clouds(tmp_path):
    trained, loaded = stage(), stage(replace(CONFIG))
    Run(tmp_path, ONE_CPU).train(1, trained)
    Run(tmp_path, ONE_CPU).train(1, loaded)
    expected = trained.models.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.models.state_dict().items())


def test_training_predicts_poses_of_new_images(tmp_path):
    """Of another seed, in space; the mean pose of the source is what can be predicted without the image."""
    config = replace(
        CONFIG,
        schedule=replace(CONFIG.schedule, steps=150, drops=(0.8,)),
        batch_size=16,
        clouds=None,
        alignment="none",
        geometry=replace(CONFIG.geometry, rotation_deg=0),
    )
    made = stage(config, replace(NETWORK, heat_maps=None), source=far_dots(200, seed=4))
    Run(tmp_path, ONE_CPU).train(1, made)
    test = modalities_of(far_dots(60, seed=9), None, network())
    predictor = made.result().eval()
    with torch.no_grad():
        predicted = predictor.decode_pose(predictor.encoder(test.image).mean)
    error = (predicted - test.pose).norm(dim=-1).mean()
    of_mean = (test.pose.mean(dim=0) - test.pose).norm(dim=-1).mean()
    assert error < 0.6 * of_mean
