"""Masked reconstruction from end to end: SynthShift, a user's images, given masks, and rows of the paper."""

from dataclasses import replace

import pytest

from experiments.small_runs import FRAMES, ONE_CPU, preset_of, shrink
from experiments.test_target_masks import write_masks
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import VOLUME_POSE
from posebridge.errors import InputError
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig, SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.methods.masked_reconstruction.settings import SETTINGS
from posebridge.presets.masked_reconstruction import presets_of_settings
from posebridge.presets.preset import Change

METHOD = "masked-reconstruction"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def setting(name: str) -> Change:
    def change(preset):
        return preset.with_config(METHOD, SETTINGS[name](preset.config_of(METHOD)))

    return change


def stages_of(folder) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in (folder / "stages").iterdir())


def numbers_of(record: Record) -> dict[str, float]:
    return {number.label: number.value for section in record.sections for number in section.numbers}


def test_synthshift(tmp_path):
    """All stages; IoU is measured on labelled frames, attention on their true masks."""
    outcome = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert set(stages_of(tmp_path / "run")) >= {"segmentation", "pretraining", "fine-tuning"}
    assert load_model(tmp_path / "run").kind is VOLUME_POSE
    titles = [section.title for section in outcome.record.sections]
    assert titles[:3] == ["Foreground masks", "Reconstruction of masked patches", "Attention of the class token"]
    numbers = numbers_of(outcome.record)
    assert 0 <= numbers["mask IoU, target"] <= 1
    area = numbers["area of the foreground"]
    assert area / 3 < numbers["attention on the foreground, after pretraining"] < 3 * area
    again = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert again.scores["adapted"] == outcome.scores["adapted"]


def test_true_masks_take_the_place_of_predicted_ones(tmp_path):
    config = SynthShiftConfig(method=METHOD, true_masks=True)
    outcome = run_synthshift(config, tmp_path / "run", ONE_CPU)
    assert "segmentation" not in stages_of(tmp_path / "run")
    assert "mask IoU, target" not in numbers_of(outcome.record)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("scratch", {"fine-tuning"}),
        ("mae", {"fine-tuning", "pretraining"}),
        ("source-full", {"fine-tuning", "pretraining"}),
        ("without-target-mask", {"fine-tuning", "pretraining", "segmentation"}),
    ],
)
def test_rows_of_the_paper(tmp_path, name, stages):
    """A row trains what it needs. Without weights by the target's mask, its backgrounds are still exchanged."""
    run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU, change=setting(name))
    assert set(stages_of(tmp_path / "run")) - {"source", "supervised-target"} == stages


def test_a_users_images_with_masks(tmp_path, target):
    masks = write_masks(tmp_path / "masks")
    config = AdaptConfig(
        method=METHOD, target=TargetConfig(target.images), source="renders", domain="studio", masks=masks
    )
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == ["fine-tuning", "pretraining", "source"]
    assert len(KeypointSet.load(tmp_path / "run" / "predictions.npz")) == FRAMES
    assert "attention on the foreground, after fine-tuning" in numbers_of(record)
    attention = next(section for section in record.sections if section.title == "Attention of the class token")
    keys = [row.caption for row in attention.picture_rows]
    assert len(set(keys)) == len(keys) == 6


def test_an_empty_folder_of_unconstrained_images_is_refused_before_training(tmp_path, target):
    (tmp_path / "none").mkdir()
    config = AdaptConfig(
        method=METHOD, target=TargetConfig(target.images), source="renders", unconstrained=tmp_path / "none"
    )
    with pytest.raises(InputError, match=r"no readable image in the background folder .*none"):
        run_adapt(config, tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "stages").exists()


def test_presets_of_rows_differ_from_the_full_one_alone():
    full = preset_of("synthshift/hand-rgb", METHOD)
    rows = {preset.name: preset for preset in presets_of_settings(full)}
    assert len(rows) == len(SETTINGS) - 1
    beta = rows["small-beta-8"].methods[METHOD]
    assert beta == replace(full.methods[METHOD], pretraining=replace(full.methods[METHOD].pretraining, beta=8.0))
