"""The dual-modality network from end to end: SynthShift, a user's images, rows of the paper, refusals."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.small_runs import FRAMES, ONE_CPU, preset_of, shrink
from experiments.transfer_sets import config_of
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.errors import InputError
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig, DatasetRef, SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.train import run_train
from posebridge.experiments.transfers import TRANSFERS
from posebridge.methods.dual_modality.evidence import TITLE
from posebridge.methods.dual_modality.settings import SETTINGS
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.presets.dual_modality import METHOD, presets_of_settings
from posebridge.presets.preset import Change
from posebridge.training import registration

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(registration, "_SOURCE_BATCHES", 1)
    monkeypatch.setattr(registration, "_SOURCE_BATCH", 16)  # source frames that set the limits of anatomy


def setting(name: str) -> Change:
    def change(preset):
        return preset.with_config(METHOD, SETTINGS[name](preset.config_of(METHOD)))

    return change


def stages_of(folder) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in (folder / "stages").iterdir())


def numbers_of(record: Record) -> dict[str, float]:
    return {number.label: number.value for section in record.sections for number in section.numbers}


def test_synthshift(tmp_path):
    """The model is a plain pose network. A finished run is loaded, report included."""
    outcome = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == ["fine-tuning", "pretraining", "supervised-target"]
    model = load_model(tmp_path / "run")
    assert model.kind is POSE
    assert type(model.network) is PoseResNet
    section = next(section for section in outcome.record.sections if section.title == TITLE)
    assert len(section.picture_rows[0].pictures) == 7
    numbers = numbers_of(outcome.record)
    for name in ("after pretraining", "after fine-tuning"):
        assert 0 <= numbers[f"mask IoU, {name}"] <= 1
        assert numbers["area of the hand"] / 3 < numbers[f"attention on the hand, {name}"] < 100
    assert "Pseudo-labels" in [section.title for section in outcome.record.sections]
    again = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert again.scores["adapted"] == outcome.scores["adapted"]
    assert numbers_of(again.record) == pytest.approx(numbers, nan_ok=True)


def test_a_row_of_the_source_alone(tmp_path):
    """The pretrained network is the result: no fine-tuning, and the same score before and after."""
    change = setting("baseline")
    outcome = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU, change=change)
    assert stages_of(tmp_path / "run") == ["pretraining", "supervised-target"]
    assert outcome.scores["adapted"] == outcome.scores["source_only"]


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_are_presets_that_differ_in_what_they_say(name):
    full = preset_of("synthshift/hand-rgb", METHOD)
    rows = {preset.name: preset for preset in presets_of_settings(full)}
    assert len(rows) == len(SETTINGS) - 1
    config = SETTINGS[name](full.methods[METHOD])
    assert rows.get(f"small-{name}", full).methods == {**({METHOD: config} if name != "full" else full.methods)}
    fine_tuned = {"full", "pseudo-labels"}
    assert (config.fine_tuning is not None) == (name in fine_tuned)
    branches, pairs = config.pretraining.branches, config.pretraining.pairs
    assert config.pretraining == replace(full.methods[METHOD].pretraining, branches=branches, pairs=pairs)


def test_a_users_images_from_a_given_model(tmp_path, target, adapted):
    """The given model is pretrained and fine-tuned; without labels, the report has pictures and no numbers."""
    config = AdaptConfig(method=METHOD, target=TargetConfig(target.images), source=adapted[0], domain="studio")
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == ["fine-tuning", "pretraining"]
    assert len(KeypointSet.load(tmp_path / "run" / "predictions.npz")) == FRAMES
    section = next(section for section in record.sections if section.title == TITLE)
    assert section.numbers == ()
    assert len({row.caption for row in section.picture_rows}) == len(section.picture_rows) == 6


def test_people_are_refused(tmp_path, target):
    config = AdaptConfig(method=METHOD, target=TargetConfig(target.images), subject="body", source="renders")
    with pytest.raises(InputError, match=r"preset small of adapt/body has no method dual-modality: choose "):
        run_adapt(config, tmp_path / "run", ONE_CPU)
    with pytest.raises(InputError, match=r"preset small of synthshift/body-rgb has no method dual-modality"):
        run_synthshift(SynthShiftConfig(method=METHOD, track="body-rgb"), tmp_path / "run", ONE_CPU)


def test_depth_sensors_are_refused(tmp_path):
    with pytest.raises(InputError, match="method dual-modality takes colour, and track hand-depth is depth"):
        run_synthshift(SynthShiftConfig(method=METHOD, track="hand-depth"), tmp_path / "run", ONE_CPU)


def test_recipes_of_the_paper():
    """Three of its four transfers are those of other papers as well, whose methods are their defaults."""
    targets = {transfer.target: transfer.method for transfer in TRANSFERS.values() if transfer.source == "rhd"}
    assert targets.keys() >= {"stb", "freihand", "h3d", "mvhand"}
    assert [target for target, method in targets.items() if method == METHOD] == ["freihand"]


def write_masks_and_depth(rhd: Path) -> None:
    """Left hands in the left half of each image, right hands in the other one, half a metre away."""
    classes = np.full((320, 320), 2, np.uint8)  # a class of left hands
    classes[:, 160:] = 18  # and one of right hands
    level = round(0.5 / 5 * (2**16 - 1))
    depth = np.broadcast_to(np.array([level // 256, level % 256, 0], np.uint8), (320, 320, 3))
    for image in (rhd / "training" / "color").iterdir():
        for kind, pixels in (("mask", classes), ("depth", depth)):
            path = rhd / "training" / kind / image.name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)


def test_rhd_to_h3d(datasets, tmp_path):
    """RHD's masks and depth reach the method."""
    config = config_of(datasets, "rhd-to-h3d", METHOD)
    assert config.source is not None
    rhd = tmp_path / "rhd"
    shutil.copytree(config.source.path, rhd)
    write_masks_and_depth(rhd)
    config = replace(config, source=replace(config.source, path=rhd))
    outcome = run_train(config, tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == ["fine-tuning", "pretraining"]
    assert outcome.scores.keys() == {"source_only", "adapted"}


def test_a_source_without_masks_or_depth_is_refused(datasets, tmp_path):
    """The message names a method that does without."""
    config = config_of(datasets, "rhd-to-h3d", METHOD)
    config = replace(config, recipe=None, source=DatasetRef("stb", tmp_path), target=replace(config.target, name="h3d"))
    with pytest.raises(InputError, match=r"stb has no label hand_mask: it has joints\. Method") as refused:
        run_train(config, tmp_path / "run", ONE_CPU)
    assert "mean-teacher" in str(refused.value)
    assert "masked-reconstruction" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
