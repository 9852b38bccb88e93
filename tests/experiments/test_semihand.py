"""SemiHand from end to end: SynthShift, a user's images, and rows of the dissertation."""

from dataclasses import replace

import pytest

from deployment.rigged import small_model
from experiments.small_runs import FRAMES, ONE_CPU, preset_of, shrink
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import HOURGLASS_POSE, POSE
from posebridge.deployment.model_spec import HourglassPoseSpec
from posebridge.errors import InputError
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig, DatasetRef, SynthShiftConfig, TrainConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.train_config import check_fit
from posebridge.methods.semihand.config import SemiHandConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.stacked_hourglass import StackedHourglassConfig
from posebridge.presets import table
from posebridge.presets.preset import Preset

METHOD = "semihand"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def stages_of(folder) -> set[str]:
    return {path.name.partition("-")[2] for path in (folder / "stages").iterdir()}


def numbers_of(record: Record) -> dict[str, float]:
    return {number.label: number.value for section in record.sections for number in section.numbers}


def test_synthshift(tmp_path):
    """All stages; a finished run is scored and reported again with the same numbers."""
    outcome = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == {"source", "supervised-target", "pretraining", "circles", "adaptation"}
    assert load_model(tmp_path / "run").kind is POSE
    sections = {section.title: section for section in outcome.record.sections}
    assert {"Convergence of pseudo-labels", "Circles and masks", "Pseudo-labels"} <= set(sections)
    assert len(sections["Convergence of pseudo-labels"].picture_rows) == 6
    numbers = numbers_of(outcome.record)
    assert 0.3 < numbers["IoU of circles and true masks, source"] < 1
    assert 0 <= numbers["mask IoU, target, after adaptation"] <= 1
    assert 0 <= numbers["accepted frames, last iteration"] <= 100
    again = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert again.scores["adapted"] == outcome.scores["adapted"]
    assert numbers_of(again.record) == pytest.approx(numbers, nan_ok=True)


def test_a_users_images_from_a_given_model(tmp_path, target):
    """The source stage runs after a given model, too: its mask is new."""
    spec = replace(preset_of("adapt/hand", METHOD).model, reference_length_m=0.1, method="source-only")
    small_model(tmp_path / "model", spec)
    config = AdaptConfig(
        method=METHOD,
        target=TargetConfig(target.images),
        source=tmp_path / "model",
        domain="studio",
        truth=target.truth,
    )
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == {"pretraining", "circles", "adaptation"}
    assert len(KeypointSet.load(tmp_path / "run" / "predictions.npz")) == FRAMES
    assert load_model(tmp_path / "run").spec.network == spec.network
    rows = next(section for section in record.sections if section.title == "Convergence of pseudo-labels").picture_rows
    roles = [pose.role for pose in rows[0].pictures[-1].poses]
    assert roles[:2] == ["before", "after"]


def test_the_hourglass_is_trained_beside_the_source_model(tmp_path, target):
    """It can't start from the preset's network; the saved model is of its kind, for crops of the preset's size."""
    config = AdaptConfig(method=METHOD, target=TargetConfig(target.images), source="renders", domain="studio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "PRESETS", [with_hourglass(preset) for preset in table.PRESETS])
        run_adapt(config, tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == {"source", "pretraining", "circles", "adaptation"}
    loaded = load_model(tmp_path / "run")
    assert loaded.kind is HOURGLASS_POSE
    assert (loaded.spec.size_px, loaded.spec.network.map_px) == (32, 16)


def with_hourglass(preset: Preset) -> Preset:
    config = preset.methods.get(METHOD)
    if not isinstance(config, SemiHandConfig):
        return preset
    network = StackedHourglassConfig(map_px=16, width=8, hourglass=HourglassConfig(2, 4, 8))
    return preset.with_config(METHOD, replace(config, model=HourglassPoseSpec(network)))


def test_a_source_without_hand_masks_is_refused(tmp_path):
    config = TrainConfig(
        source=DatasetRef("stb", tmp_path), target=DatasetRef("h3d", tmp_path), method=METHOD, preset="full"
    )
    with pytest.raises(InputError, match=r"stb has no label hand_mask: it has joints\. .* \(.*mean-teacher"):
        check_fit(config)
