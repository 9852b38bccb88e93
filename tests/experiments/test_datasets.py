"""What the four published transfers are: joints, hands, protocols, the papers' values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from posebridge.recipes.transfers import TRANSFERS
from recipes.transfer_sets import opened, write_sets

from posebridge.data.datasets.human36m import Human36M
from posebridge.data.datasets.surreal import SURREAL
from posebridge.errors import InputError
from posebridge.evaluation.protocols import BENCHMARKS
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures, VggFeatures
from posebridge.skeletons.body import MPII16
from posebridge.training.style import AdaINStyle, FourierStyle


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.mark.parametrize(
    ("name", "source", "metrics"),
    [
        ("rhd-to-h3d", 61.8, {"PCK@0.05", "EPE"}),
        ("rhd-to-mvhand", 52.7, {"PCK@0.05", "EPE"}),
        ("surreal-to-human36m", 67.3, {"PCK@0.05"}),
        ("surreal-to-3dpw", 57.9, {"PCK@0.05"}),
    ],
)
def test_published_rows_stand_beside(name, source, metrics):
    rows = TRANSFERS[name].published()
    assert {row.metric for row in rows} == metrics
    (lower,) = [
        row
        for row in rows
        if (row.method, row.paper, row.metric) == ("Source only", "Lin et al., NeurIPS 2023", "PCK@0.05")
    ]
    assert lower.values["All"] == source


def test_epe_is_measured_as_the_benchmark_says():
    """The report lets a row of EPE stand beside a number by the alignment alone; its root and bone are here."""
    options = BENCHMARKS["EPE"].options
    for name in ("rhd-to-h3d", "rhd-to-mvhand"):
        protocol = TRANSFERS[name].protocol
        assert (protocol.alignment, protocol.root, protocol.reference_bone) == (
            options.align,
            options.root_joint,
            options.reference_bone,
        )


def test_hands_are_all_of_one_side(sets):
    """Determinants of the crops: negative where they are mirrored."""

    def mirrored(crops) -> set[bool]:
        return {bool(torch.linalg.det(crops[i].T_crop_file)[0] < 0) for i in range(len(crops))}

    h3d, mvhand = opened(sets, "rhd-to-h3d"), opened(sets, "rhd-to-mvhand")
    assert mirrored(h3d.source) == {False, True}  # RHD says of each hand which it is
    assert mirrored(h3d.target) == mirrored(h3d.test) == {True}
    assert mirrored(opened(sets, "rhd-to-h3d", hand="right").target) == {False}
    assert mirrored(mvhand.target) == {False}
    for name in ("rhd-to-mvhand", "surreal-to-3dpw"):
        with pytest.raises(InputError, match="needs no word on the hand: leave --hand out"):
            opened(sets, name, hand="left")


def test_joints_of_people_are_those_of_the_public_benchmark(sets):
    """RegDA's indices into SMPL's joints as the release names them, and into Human3.6M's, in MPII's order."""
    of_surreal = (7, 4, 1, 2, 5, 8, 0, 9, 12, 15, 20, 18, 13, 14, 19, 21)
    of_human36m = (3, 2, 1, 4, 5, 6, 0, 8, 9, 10, 16, 15, 14, 11, 12, 13)
    data = opened(sets, "surreal-to-human36m")
    frames = data.source.frames.frames
    assert isinstance(frames, SURREAL)
    # The release's left is what is seen on the right; our reader's joints are named by what is seen.
    released = np.argsort([frames.skeleton.order_of(frames.joint_names)])[0]
    ours = frames.labels(1).uv_px[released]
    np.testing.assert_array_equal(data.source.frames.labels(1).uv_px, ours[list(of_surreal)])
    people = data.target_labelled.frames.frames
    assert isinstance(people, Human36M)
    np.testing.assert_array_equal(
        data.target_labelled.frames.labels(2).uv_px, people.labels(2).uv_px[list(of_human36m)]
    )
    outdoors = opened(sets, "surreal-to-3dpw").target_labelled.frames.labels(0)
    assert outdoors.valid.all()
    for name in ("surreal-to-human36m", "surreal-to-3dpw"):
        assert len(TRANSFERS[name].scored) == 13
        assert TRANSFERS[name].protocol.groups["Head"] == ("head_top",)


def test_the_papers_values():
    """Sec. 4.2 of Lin et al.; an epoch is 500 steps."""
    for name, plan in TRANSFERS.items():
        full = plan.sizes["full"]
        assert (full.size_px, full.network.encoder, full.network.joints) == (256, "resnet101", len(plan.skeleton))
        assert (full.source.schedule.steps, full.source.batch_size) == (40 * 500, 64)
        tuned = full.geometric_reconstruction
        alone = full.geometric_of("integrated-pseudo-labels")
        assert (alone.schedule.steps, alone.batch_size, alone.reconstruction) == (80 * 500, 32, None)
        assert tuned.reconstruction.warm_start.steps + tuned.schedule.steps == 80 * 500
        rates = [alone.schedule.learning_rate * alone.schedule.rate_at(500 * epoch) for epoch in (0, 59, 60, 74, 75)]
        np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
        assert tuned.reconstruction.weight == tuned.pseudo_label_weight == tuned.pretraining.alignment_weight == 0.1
        assert tuned.reconstruction.pairs.stride == (5, 15)
        body = plan.skeleton is MPII16
        assert tuned.geometry.rotation_deg == full.source.geometry.rotation_deg == (60 if body else 180)
        assert full.test_frames == (3200 if name == "surreal-to-human36m" else None)
        background = "affine" if name in ("rhd-to-h3d", "surreal-to-3dpw") else "static"
        assert tuned.reconstruction.reconstructor.warping.background == background
        assert (
            plan.sizes["small"].geometric_reconstruction.reconstruction.reconstructor.warping.background == background
        )
        default = GeometricReconstructionConfig()
        assert replace(tuned, geometry=default.geometry, reconstruction=default.reconstruction) == default


def test_doing_without_trained_features():
    full = TRANSFERS["rhd-to-h3d"].sizes["full"]
    assert [vgg.pretrained for vgg in full.vgg_of("geometric-reconstruction")] == ["timm", "timm"]
    assert len(full.vgg_of("integrated-pseudo-labels")) == len(full.vgg_of("mean-teacher")) == 1
    assert full.vgg_of("source-only") == ()
    local = full.with_weights("none", "/vgg.pth")
    assert local.network.pretrained == "none"
    assert [vgg.pretrained for vgg in local.vgg_of("geometric-reconstruction")] == ["/vgg.pth", "/vgg.pth"]
    without = full.with_weights(None, "none")
    assert without.network.pretrained == "timm"
    assert isinstance(without.mean_teacher.style, FourierStyle)
    assert isinstance(without.geometric_reconstruction.reconstruction.features, EncoderFeatures)
    assert without.vgg_of("geometric-reconstruction") == ()
    assert isinstance(full.mean_teacher.style, AdaINStyle)
    assert isinstance(full.geometric_reconstruction.reconstruction.features, VggFeatures)
