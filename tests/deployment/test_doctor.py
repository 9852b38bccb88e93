import importlib.metadata
import shutil
import time

import pytest
import torch
from safetensors.torch import save_file

from posebridge.deployment import doctor
from posebridge.deployment.doctor import examine


def findings() -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in examine()}


def test_this_machine_passes():
    started = time.perf_counter()
    found = findings()
    assert time.perf_counter() - started < 5  # a fraction of a second on an idle machine
    assert all(finding.state != "broken" for finding in found.values())
    assert f"torch {torch.__version__.split('+')[0]}" in found["libraries"].detail
    assert (found["gpu"].state == "ok") == torch.cuda.is_available()
    assert (found["browser"].state == "ok") == any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    assert all("\n" not in str(finding) for finding in found.values())


@pytest.mark.parametrize(
    ("vertices", "bone", "state"),
    [(1609, "wrist.R", "ok"), (1609, "wrist.L", "missing"), (13718, "wrist.R", "missing")],
)
def test_hand_model_is_found_among_other_cached_models(tmp_path, monkeypatch, vertices, bone, state):
    monkeypatch.setenv("ANNY_CACHE_DIR", str(tmp_path))
    assert findings()["hand model"].state == "missing"
    (tmp_path / "v14").mkdir()
    (tmp_path / "v14" / "build_compact_model_data_0.safetensors").write_bytes(b"cut off")
    metadata = {"metadata": f'{{"bone_labels": ["{bone}"]}}'}
    path = tmp_path / "v14" / "build_compact_model_data_1.safetensors"
    save_file({"template_vertices": torch.zeros(vertices, 3)}, path, metadata)
    assert findings()["hand model"].state == state


def test_weights_in_the_cache_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert findings()["encoders"].state == "missing"
    folder = tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    assert findings()["encoders"].detail == "cached weights: resnet18.a1_in1k"


def test_absent_and_old_libraries_are_broken(monkeypatch):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "roma":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.4.9+cpu" if name == "torch" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = findings()
    assert (found["roma"].state, found["torch"].state) == ("broken", "broken")
    assert "0.4.9+cpu is older than 2." in found["torch"].detail
    assert found["torch"].remedy.startswith("pip install 'torch>=2.")
    assert "cpu" not in found


def test_a_torch_that_cannot_be_loaded(monkeypatch):
    def unloadable(name: str):
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", unloadable)
    assert "libtorch.so" in findings()["torch"].detail


def test_little_disk_space(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9})())
    assert findings()["disk"].state == "missing"
