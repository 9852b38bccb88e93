"""The models that the package brings, by name."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import posebridge
from posebridge.cli.main import main
from posebridge.contracts.plain import to_plain
from posebridge.deployment import shipped_models
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_spec import skeleton_of
from posebridge.deployment.shipped_models import Accuracy, ModelCard, as_model_ref, model_path, read_card
from posebridge.errors import InputError

SHIPPED = Path(str(files("posebridge").joinpath("models")))
LARGEST_BYTES = 12_000_000


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the shipped models that may be damaged; commands find them there."""
    folder = tmp_path / "package" / "models"
    shutil.copytree(SHIPPED, folder)
    monkeypatch.setattr(shipped_models, "files", lambda package: folder.parent)
    return folder


@pytest.mark.parametrize("name", shipped_models.shipped_models())
def test_each_model_is_small_and_has_a_card(name):
    folder = model_path(name)
    assert (folder / "model.safetensors").stat().st_size < LARGEST_BYTES
    card, model = read_card(name), load_model(folder)
    assert card.name == name
    assert card.image_steps > 0
    assert card.limits
    assert card.accuracy[0].frames.startswith("varied")
    assert all(next(iter(row.numbers.values())) > 0 for row in card.accuracy)
    assert all(np.isfinite(value.float().numpy()).all() for value in model.network.state_dict().values())


def test_a_name_stands_for_a_path(tmp_path):
    image = np.full((64, 64, 3), 128, np.uint8)
    by_name, by_path = posebridge.load("hand-rgb"), posebridge.load(model_path("hand-rgb"))
    np.testing.assert_array_equal(by_name.predict(image).uv_px, by_path.predict(image).uv_px)


@pytest.mark.parametrize("name", shipped_models.shipped_models())
def test_cards_name_the_joints_of_their_model(name):
    joints = len(skeleton_of(load_model(model_path(name)).spec))
    assert read_card(name).joints.startswith(f"{joints} joints")


def test_names_and_paths():
    assert as_model_ref("hand-rgb") == "hand-rgb"
    assert as_model_ref("./hand-rgb") == Path("hand-rgb")
    assert as_model_ref("runs/mine") == Path("runs/mine")
    assert model_path(Path("runs/mine")) == Path("runs/mine")


def test_a_folder_of_the_same_name_is_refused(tmp_path, monkeypatch):
    """Which of the two is meant can't be known."""
    shutil.copytree(SHIPPED / "hand-rgb", tmp_path / "hand-rgb")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"write \./hand-rgb for the folder"):
        model_path("hand-rgb")
    assert load_model(model_path(as_model_ref("./hand-rgb")))


def _flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("model.safetensors", _flip_a_byte, "its checksum differs"),
        ("model.safetensors", lambda file: file.write_bytes(file.read_bytes()[:-1000]), "not a whole safetensors file"),
        ("model.safetensors", Path.unlink, "lacks model.safetensors of model hand-rgb: install posebridge again"),
        (
            "model.json",
            lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99})),
            "another version of posebridge",
        ),
        (
            "model.json",
            lambda file: file.write_text(file.read_text().replace('"hand21"', '"h36m17"')),
            "21 joints don't match skeleton h36m17",
        ),
    ],
)
def test_damaged_models_are_refused_by_name(copied, tmp_path, file, damage, words, capsys):
    damage(copied / "hand-rgb" / file)
    assert main(["predict", "hand-rgb", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "hand-rgb" in error
    assert error.count("\n") == 1


def test_damaged_card(copied):
    (copied / "hand-rgb" / "card.json").write_text("{}")
    with pytest.raises(InputError, match=r"card\.json is damaged"):
        read_card("hand-rgb")


def test_the_command_lists_models_and_prints_cards(copied, capsys):
    card = ModelCard(
        name="hand-rgb",
        joints="21 joints",
        data="5 renders",
        recipe=("posebridge train-source hand-rgb",),
        image_steps=1_500_000,
        hours=2.5,
        hardware="one thread",
        accuracy=(
            Accuracy("varied renders", 2000, {"PCK@0.05": 0.8125, "error, mm": 12.25}),
            Accuracy("photographs", 291, {"PCK@0.05": 0.5}),
        ),
        limits=("one hand",),
        licence="Apache-2.0",
    )
    (copied / "hand-rgb" / "card.json").write_text(json.dumps(to_plain(card)))
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("hand-rgb: 21 joints; PCK@0.05 0.812 on varied renders\n")
    assert main(["models", "hand-rgb"]) == 0
    printed = capsys.readouterr().out
    assert "1.50 million images in 2.5 hours, one thread" in printed
    assert "frames  PCK@0.05  error, mm" in printed
    assert "   2000     0.812       12.2" in printed
    assert "    291     0.500          -" in printed
