"""Files of a run's folder, and failures of runs, which are errors of one line."""

import json
import math
import resource
from dataclasses import dataclass

import pytest
import torch

from posebridge.errors import InputError
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space, environment
from training.dots import ONE_CPU, adaptation_stage, context, disturb, finished, source_stage

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Config:
    seed: int = 0


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_folder_of_the_same_config_is_resumed(tmp_path):
    Run.create(tmp_path / "new" / "run", "tiny", Config(), ONE_CPU)
    run = Run.create(tmp_path / "new" / "run", "tiny", Config(), ONE_CPU)
    assert sorted(p.name for p in run.layout.folder.iterdir()) == ["config.yaml", "environment.json"]
    assert json.loads((run.layout.folder / "environment.json").read_text()) == environment()
    assert run.hardware == ONE_CPU


def test_a_folder_of_another_config_is_refused_and_unchanged(tmp_path):
    Run.create(tmp_path, "tiny", Config(), ONE_CPU)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for kind, config in (("tiny", Config(1)), ("other", Config())):
        with pytest.raises(InputError) as error:
            Run.create(tmp_path, kind, config, ONE_CPU)
        assert str(tmp_path) in one_line(error)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    Run.create(tmp_path, "tiny", Config(), ONE_CPU, recipe=Config(7))
    Run.create(tmp_path, "tiny", Config(), ONE_CPU, recipe=Config(7))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(InputError) as error:
        Run.create(tmp_path, "tiny", Config(), ONE_CPU, recipe=Config(8))
    assert "recipe" in one_line(error)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    for act in (
        lambda: Run.create(tmp_path / "run", "tiny", Config(), ONE_CPU),
        lambda: Run(tmp_path / "run", ONE_CPU).train(1, source_stage(context())),
        lambda: check_space(tmp_path / "run", 1),
    ):
        with pytest.raises(InputError) as error:
            act()
        assert str(tmp_path / "run") in one_line(error)
    assert (tmp_path / "run").read_text() == "a file"


def test_too_little_space_is_refused(tmp_path):
    check_space(tmp_path, 0)
    with pytest.raises(InputError) as error:
        check_space(tmp_path, 10**9)
    assert "1000000000 MB" in one_line(error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_refused(tmp_path):
    with pytest.raises(InputError) as error:
        Run(tmp_path, Hardware(accelerator="gpu")).train(1, source_stage(context()))
    assert "auto" in one_line(error)


@pytest.mark.parametrize("make", [source_stage, adaptation_stage])
def test_a_full_disk_keeps_the_last_checkpoint(make, tmp_path):
    """A limit on the size of files makes writing fail in the middle, like a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    stage = make(context())
    disturb(stage, {5: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))})
    run = Run(tmp_path / "full", ONE_CPU, checkpoint_seconds=0)
    try:
        with pytest.raises(InputError) as error:
            run.train(1, stage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "last.ckpt" in one_line(error)
    folder = run.layout.stage(1, stage.name).folder
    assert sorted(p.name for p in folder.iterdir()) == ["last.ckpt", "metrics.csv"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 5
    _, files = finished(tmp_path / "full", make(context()))
    assert files == finished(tmp_path / "roomy", make(context()))[1]


@pytest.mark.parametrize("name", ["config.yaml", "recipe.yaml", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 5000, b"tiny: {seed: " + b"9" * 5000 + b"}", None])
def test_damaged_files_of_the_folder(name, content, tmp_path):
    Run.create(tmp_path, "tiny", Config(), ONE_CPU, recipe=Config(7))
    path = tmp_path / name
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        Run.create(tmp_path, "tiny", Config(), ONE_CPU, recipe=Config(7))
    assert "another --out" in one_line(error) or str(path) in one_line(error)


def test_metrics_are_the_terms_of_the_steps(tmp_path):
    stage = adaptation_stage(context())
    report, (_, table) = finished(tmp_path, stage)
    header, *rows = table.splitlines()
    names = header.split(",")
    assert names == ["step", "loss", "heat", "depth", "consistency", "depth_consistency"]
    assert len(rows) == report.steps
    for number, row in enumerate(rows, 1):
        values = dict(zip(names, map(float, row.split(",")), strict=True))
        assert values["step"] == number
        weighed = sum(weight * values[name] for name, weight in stage.term_weights.items())
        assert values["loss"] == pytest.approx(weighed, rel=1e-5)
        assert all(math.isfinite(value) for value in values.values())


def test_each_stage_has_its_own_folder(tmp_path):
    run = Run(tmp_path, ONE_CPU)
    source = source_stage(context())
    run.train(1, source)
    report = run.train(2, adaptation_stage(context(), source.result()))
    assert sorted(p.name for p in (tmp_path / "stages").iterdir()) == ["1-source", "2-mean-teacher"]
    written = json.loads((tmp_path / "stages" / "2-mean-teacher" / "stage.json").read_text())
    assert written["steps"] == report.steps == 12
    assert written["seconds"] == report.seconds > 0
