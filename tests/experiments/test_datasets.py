"""Public colour datasets as data of a run: joints, hands, protocols, published rows, and the papers' values."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import transfer_sets
from experiments.transfer_sets import COLOUR, config_of, opened, tiny
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.datasets.human36m import Human36M
from posebridge.data.datasets.surreal import SURREAL
from posebridge.data.pairs import PairConfig, split_pairs
from posebridge.data.skipped_list import SkippedList
from posebridge.errors import InputError
from posebridge.evaluation.protocols import BENCHMARKS
from posebridge.evaluation.published import published_rows
from posebridge.experiments.datasets import dataset_data, dataset_protocol, scored_in_image
from posebridge.experiments.train import train_preset
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures, VggFeatures
from posebridge.methods.registry import find_method
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.hand import HAND21
from posebridge.training.style import AdaINStyle, FourierStyle


@pytest.mark.parametrize(
    ("name", "source", "metrics"),
    [
        ("rhd-to-h3d", 61.8, {"PCK@0.05", "EPE"}),
        ("rhd-to-mvhand", 52.7, {"PCK@0.05", "EPE"}),
        ("surreal-to-human36m", 67.3, {"PCK@0.05"}),
        ("surreal-to-3dpw", 57.9, {"PCK@0.05"}),
    ],
)
def test_published_rows(datasets, name, source, metrics):
    rows = opened(datasets, name).published
    assert {row.metric for row in rows} == metrics
    (lower,) = [
        row
        for row in rows
        if (row.method, row.paper, row.metric) == ("Source only", "Lin et al., NeurIPS 2023", "PCK@0.05")
    ]
    assert lower.values["All"] == source


def test_transfers_that_nobody_published_have_no_rows():
    assert published_rows("FreiHAND", "PCK@0.05", "MPII") == ()
    assert published_rows("H3D", "PCK@0.05", "varied renders") == ()


def test_epe_is_measured_as_in_the_benchmark():
    """The report lets a row of EPE stand beside a number by the alignment alone; its root and bone are here."""
    options, protocol = BENCHMARKS["EPE"].options, dataset_protocol(HAND21)
    assert (protocol.alignment, protocol.root, protocol.reference_bone) == (
        options.align,
        options.root_joint,
        options.reference_bone,
    )


def test_hands_are_all_of_one_side(datasets):
    """Determinants of the crops: negative where they are mirrored."""

    def mirrored(crops) -> set[bool]:
        return {bool(torch.linalg.det(crops[i].T_crop_file)[0] < 0) for i in range(len(crops))}

    h3d, mvhand = opened(datasets, "rhd-to-h3d"), opened(datasets, "rhd-to-mvhand")
    assert mirrored(h3d.source.crops) == {False, True}  # RHD has the hand of each frame
    assert mirrored(h3d.target.crops) == mirrored(h3d.evaluation.crops) == {True}
    assert mirrored(opened(datasets, "rhd-to-h3d", hand="right").target.crops) == {False}
    assert mirrored(mvhand.target.crops) == {False}
    for name in ("rhd-to-mvhand", "surreal-to-3dpw"):
        with pytest.raises(InputError, match="states which hand it shows: leave --hand out"):
            opened(datasets, name, hand="left")


def test_joints_of_people_are_those_of_the_public_benchmark(datasets):
    """RegDA's indices into SMPL's joints as the release names them, and into Human3.6M's, in MPII's order."""
    of_surreal = (7, 4, 1, 2, 5, 8, 0, 9, 12, 15, 20, 18, 13, 14, 19, 21)
    of_human36m = (3, 2, 1, 4, 5, 6, 0, 8, 9, 10, 16, 15, 14, 11, 12, 13)
    data = opened(datasets, "surreal-to-human36m")
    frames = data.source.crops.frames.frames
    assert isinstance(frames, SURREAL)
    # The release's left is what is seen on the right; our reader's joints are named by what is seen.
    released = np.argsort([frames.skeleton.order_of(frames.joint_names)])[0]
    ours = frames.labels(1).uv_px[released]
    np.testing.assert_array_equal(data.source.crops.frames.labels(1).uv_px, ours[list(of_surreal)])
    people = data.labelled_target.crops.frames.frames
    assert isinstance(people, Human36M)
    np.testing.assert_array_equal(
        data.labelled_target.crops.frames.labels(2).uv_px, people.labels(2).uv_px[list(of_human36m)]
    )
    outdoors = opened(datasets, "surreal-to-3dpw").labelled_target.crops.frames.labels(0)
    assert outdoors.valid.all()
    assert len(scored_in_image(MPII16)) == 13
    assert dataset_protocol(MPII16).groups["Head"] == ("head_top",)
    assert scored_in_image(HAND21) is None


def _refuse(index: int):
    raise AssertionError("a label was read")


@pytest.mark.parametrize("name", COLOUR)
def test_methods_get_no_label_of_the_target(datasets, name, monkeypatch):
    data = opened(datasets, name)
    monkeypatch.setattr(data.target.crops.frames, "labels", _refuse, raising=True)
    frames, pairs = data.target.batches(4).batch(0), data.target.pairs(3, PairConfig()).batch(0)
    assert type(frames) is type(pairs) is UnlabelledBatch
    assert type(data.source.batches(4).batch(0)) is LabelledBatch
    base, driving = split_pairs(pairs)
    assert (base.sequence, base.view.tolist()) == (driving.sequence, driving.view.tolist())
    assert ((base.frame - driving.frame).abs() >= 5).all()
    assert ((base.frame - driving.frame).abs() <= 15).all()


@pytest.mark.parametrize("name", COLOUR)
def test_scored_frames_are_not_trained_on(datasets, name):
    data = opened(datasets, name)
    train, crops = data.target.crops, data.evaluation.crops
    test = {crops[i].key for i in range(len(crops))}
    assert not {train[i].key for i in range(len(train))} & test
    assert len(crops) == (4 if name == "rhd-to-h3d" else 14)
    again = opened(datasets, name).evaluation.crops
    assert test == {again[i].key for i in range(len(again))}  # the same in every run


def test_target_is_read_before_a_source_is_rendered(datasets, monkeypatch):
    config = replace(config_of(datasets, "rhd-to-h3d", "geometric-reconstruction"), source=None, hand=None)
    method_config = train_preset(config).methods[config.method].with_pairs(PairConfig((50, 60)))
    preset = tiny(train_preset(config)).with_config(config.method, method_config)
    monkeypatch.setattr("posebridge.experiments.renders.RenderLoader", lambda **_: pytest.fail("rendered"))
    with pytest.raises(InputError, match="no two frames of one sequence are 50 to 60 frames apart"):
        dataset_data(config, find_method(config.method), preset, SkippedList(datasets["rhd-to-h3d"].source / "l"), 0)


@pytest.mark.parametrize("name", COLOUR)
def test_values_of_the_paper(datasets, name):
    """Sec. 4.2 of Lin et al.; an epoch is 500 steps."""
    configs = {
        (size, method): config_of(datasets, name, method, preset=size)
        for size in ("small", "full")
        for method in ("integrated-pseudo-labels", "geometric-reconstruction")
    }
    full = train_preset(configs["full", "geometric-reconstruction"])
    body = name.startswith("surreal")
    assert (full.model.size_px, full.model.network.encoder, full.model.network.joints) == (
        256,
        "resnet101",
        16 if body else 21,
    )
    assert (full.source.schedule.steps, full.source.batch_size) == (40 * 500, 64)
    tuned = full.methods["geometric-reconstruction"]
    alone = train_preset(configs["full", "integrated-pseudo-labels"]).methods["integrated-pseudo-labels"]
    assert alone == replace(tuned, reconstruction=None)
    assert (tuned.warm_start.steps, tuned.schedule.steps, tuned.batch_size) == (20 * 500, 60 * 500, 32)
    rates = [tuned.schedule.learning_rate * tuned.schedule.rate_factor(500 * (e - 20)) for e in (20, 59, 60, 74, 75)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
    assert tuned.reconstruction.weight == tuned.pseudo_label_weight == tuned.pretraining.alignment_weight == 0.1
    assert tuned.reconstruction.pairs.stride == (5, 15)
    assert tuned.geometry.rotation_deg == full.source.geometry.rotation_deg == (60 if body else 180)
    background = "affine" if name in ("rhd-to-h3d", "surreal-to-3dpw") else "static"
    assert tuned.reconstruction.reconstructor.warping.background == background
    small = train_preset(configs["small", "geometric-reconstruction"]).methods["geometric-reconstruction"]
    assert small.reconstruction.reconstructor.warping.background == background
    default = GeometricReconstructionConfig()
    assert replace(tuned, geometry=default.geometry, reconstruction=default.reconstruction) == default


def test_scored_frames_of_the_full_preset(datasets, monkeypatch):
    """The tables of Human3.6M score 3,200 frames, those of the other sets all."""
    drawn = []

    def note(frames, count):
        drawn.append(count)
        return frames

    monkeypatch.setattr("posebridge.experiments.datasets.drawn", note)
    monkeypatch.setattr(transfer_sets, "tiny", lambda preset: _all_test_frames(tiny(preset)))
    for name in COLOUR:
        opened(datasets, name)
    assert drawn == [None, None, 3200, None]
    assert {find_preset(f"datasets/{kind}-rgb", "full", "mean-teacher").data.test for kind in ("hand", "body")} == {
        None
    }


def _all_test_frames(preset: Preset) -> Preset:
    return replace(preset, data=replace(preset.data, test=None))


def test_feature_networks_and_their_weights():
    full = find_preset("datasets/hand-rgb", "full", "mean-teacher")
    used = {name: config.feature_networks() for name, config in full.methods.items()}
    assert [vgg.pretrained for vgg in used["geometric-reconstruction"]] == ["timm", "timm"]
    assert len(used["integrated-pseudo-labels"]) == len(used["mean-teacher"]) == 1
    assert used["source-only"] == ()
    local = full.with_weights("none", "/vgg.pth")
    assert local.model.network.pretrained == "none"
    vggs = local.methods["geometric-reconstruction"].feature_networks()
    assert [vgg.pretrained for vgg in vggs] == ["/vgg.pth", "/vgg.pth"]
    without = full.with_weights(None, "none")
    assert without.model.network.pretrained == "timm"
    assert isinstance(without.methods["mean-teacher"].style, FourierStyle)
    assert isinstance(without.methods["geometric-reconstruction"].reconstruction.features, EncoderFeatures)
    assert without.methods["geometric-reconstruction"].feature_networks() == ()
    assert isinstance(full.methods["mean-teacher"].style, AdaINStyle)
    assert isinstance(full.methods["geometric-reconstruction"].reconstruction.features, VggFeatures)
