"""Damaged files of a run are refused in one line that names what to delete; then the run goes on."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from posebridge.errors import InputError
from posebridge.training.checkpoint_file import AtomicCheckpointIO
from posebridge.training.run import Run
from training.dots import ONE_CPU, context, crash, disturb, files_of, finished, source_stage

pytestmark = pytest.mark.usefixtures("one_thread")


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def zeros(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(2000) + data[middle + 2000 :]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        Run(folder, ONE_CPU).train(1, source_stage(context()))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run with a finished stage. Not to be changed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    finished(folder, source_stage(context()))
    torch.set_num_threads(threads)
    return folder


@pytest.mark.parametrize("damage", [flip, zeros, cut, lambda data: b""])
def test_checkpoints(damage: Callable[[bytes], bytes], whole, tmp_path):
    stage = source_stage(context())
    disturb(stage, {3: crash})
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path, ONE_CPU, checkpoint_seconds=0).train(1, stage)
    last = tmp_path / "stages" / "1-source" / "last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    assert f"{last} is damaged" in (message := refused(tmp_path))
    assert "delete it" in message
    last.unlink()
    assert finished(tmp_path, source_stage(context()))[1] == files_of(whole / "stages" / "1-source")


def rewrite(change) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


DAMAGE = [rewrite(change) for change in (flip, cut, lambda data: b"[]", lambda data: b"\xff")]
# Without stage.json or result.safetensors, the stage is trained again.
DAMAGED = [(name, damage) for name in ("stage.json", "metrics.csv", "result.safetensors") for damage in DAMAGE]


@pytest.mark.parametrize(("name", "damage"), [*DAMAGED, ("metrics.csv", Path.unlink)])
def test_files_of_finished_stages(name, damage, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "stages" / "1-source"
    damage(folder / name)
    assert str(folder / name) in (message := refused(tmp_path))
    assert f"delete {folder}, and the run trains this stage again" in message
    shutil.rmtree(folder)
    assert finished(tmp_path, source_stage(context()))[1] == files_of(whole / "stages" / "1-source")


def unsigned(content: dict) -> None:
    """As written before stages had checksums."""
    content.pop("sha256")


def with_other_fields(content: dict) -> None:
    content.pop("sha256")
    content["learning_rate"] = 0.1
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("change", [unsigned, with_other_fields])
def test_stages_of_another_version(change, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    report = tmp_path / "stages" / "1-source" / "stage.json"
    content = json.loads(report.read_text())
    change(content)
    report.write_text(json.dumps(content))
    message = refused(tmp_path)
    assert message.startswith(f"{report} was written by another version of posebridge: start the run again")


def test_checkpoints_of_another_version(tmp_path):
    torch.save({"step": 3}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="was written by another version of posebridge: delete it"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")


def test_a_deleted_result_is_trained_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "stages" / "1-source" / "result.safetensors").unlink()
    assert finished(tmp_path, source_stage(context()))[1] == files_of(whole / "stages" / "1-source")
