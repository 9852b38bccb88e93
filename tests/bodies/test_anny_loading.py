"""Building and loading Anny's models."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from posebridge.bodies.anny_loading import announced_build, load_anny
from posebridge.errors import InputError


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import anny.paths

    monkeypatch.setattr(anny.paths, "_ANNY_CACHE_DIR", [tmp_path])
    return tmp_path


def test_builds_are_announced_once_and_cached_models_are_not(
    empty_cache: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anny.models import model_data

    built = SimpleNamespace(save_safetensors=lambda path: Path(path).touch())
    monkeypatch.setattr(model_data.ModelData, "load_safetensors", lambda path: built)

    @model_data.cache_builder
    def inner() -> SimpleNamespace:
        return built

    @model_data.cache_builder
    def outer() -> SimpleNamespace:  # Anny's builders call one another
        return inner()

    with announced_build("building"):
        outer()
    assert capsys.readouterr() == ("", "building\n")
    with announced_build("building"):
        outer()
    assert capsys.readouterr() == ("", "")
    assert len(list(empty_cache.rglob("*.safetensors"))) == 2


def test_damaged_cache_raises_one_line(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from anny.models import model_data

    def truncated(self: Path) -> bool:  # a build that was killed while saving
        if self.suffix == ".safetensors":
            self.write_bytes(b"\x10\x00")
        return True

    monkeypatch.setattr(model_data.Path, "exists", truncated)
    with pytest.raises(InputError, match=r"hand model under .* is damaged .*; delete that folder") as raised:
        load_anny("hand", "anny-hand.R-blender", "hand.R")
    assert "\n" not in str(raised.value)


def test_unwritable_cache_raises_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anny.paths

    (tmp_path / "file").touch()
    monkeypatch.setattr(anny.paths, "_ANNY_CACHE_DIR", [tmp_path / "file" / "cache"])
    with pytest.raises(InputError, match="set ANNY_CACHE_DIR"):
        load_anny("hand", "anny-hand.R-blender", "hand.R")
