"""The commands ``demo``, ``adapt`` and ``resume``."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from data.filmed import film
from data.on_disk import truncate, write_image, write_pictures, write_video
from deployment.rigged import small_model
from experiments.small_runs import CPU_FLAGS, FRAMES
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet

pytestmark = pytest.mark.usefixtures("small_sizes")


def posebridge(*arguments) -> int:
    return main([*map(str, arguments), *CPU_FLAGS])


def on_any_hardware(*arguments) -> int:
    return main([*map(str, arguments)])


def _adapt(target, out, *flags, method="source-only") -> int:
    return posebridge("adapt", method, target, "--source", "renders", "--out", out, "--domain", "studio", *flags)


def _uv(folder) -> np.ndarray:
    return KeypointSet.load(folder / "predictions.npz").uv_px


def test_adapt_prints_where_its_outputs_are(target, tmp_path, capsys):
    out = tmp_path / "run"
    assert _adapt(target.images, out, "--truth", target.truth) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"1 files could not be used; they are listed in {out / 'skipped.json'}"
    assert printed[-3:] == [
        f"Model: {out / 'model.safetensors'}",
        f"Predictions: {out / 'predictions.npz'}",
        f"Report: {out / 'report.html'}",
    ]
    assert "frame_50.jpg" in (out / "report.html").read_text()
    assert on_any_hardware("score", out / "predictions.npz", target.truth, "--image-size", 72) == 0
    assert f"{FRAMES - 1}" in capsys.readouterr().out


def test_model_of_a_run_predicts(adapted, target, tmp_path):
    folder, _ = adapted
    assert on_any_hardware("predict", folder, target.images, "--out", tmp_path / "out", "--overlays", 0) == 0
    np.testing.assert_allclose(_uv(tmp_path / "out"), _uv(folder), atol=1e-2)


def test_demo_prints_numbers_and_resumes(tmp_path, capsys):
    out = tmp_path / "demo"
    assert posebridge("demo", "--out", out, "--seed", 1) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    (stage,) = out.glob("stages/*-supervised-target")
    shutil.rmtree(stage)  # as if it had been stopped before
    assert posebridge("resume", out) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(again) == ["source_only", "adapted", "supervised_target", "gap_closed", "minutes"]
    assert {**again, "minutes": 0} == {**first, "minutes": 0}


def test_resume_of_a_finished_run(adapted, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(adapted[0], folder)
    weights = {file: file.stat().st_mtime_ns for file in folder.glob("stages/*/result.safetensors")}
    assert posebridge("resume", folder) == 0
    assert len(weights) == 2
    assert all(file.stat().st_mtime_ns == before for file, before in weights.items())
    np.testing.assert_array_equal(_uv(folder), _uv(adapted[0]))
    assert (folder / "report.html").is_file()
    assert f"Report: {folder / 'report.html'}" in capsys.readouterr().out


def test_resume_of_a_killed_run(adapted, target, tmp_path):
    out = tmp_path / "run"
    flags = ("mean-teacher", target.images, "--source", "renders", "--out", out, "--domain", "studio")
    flags += ("--truth", target.truth)
    driver = Path(__file__).with_name("killed_adapt.py")
    command = [sys.executable, driver, "5", *flags, *CPU_FLAGS]
    killed = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=100, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / "stages" / "1-source" / "stage.json").is_file()
    assert (out / "stages" / "2-mean-teacher" / "last.ckpt").is_file()
    assert not (out / "stages" / "2-mean-teacher" / "stage.json").exists()
    assert not (out / "predictions.npz").exists()
    assert posebridge("resume", out) == 0
    np.testing.assert_allclose(_uv(out), _uv(adapted[0]), atol=1e-3)
    report, uninterrupted = (
        json.loads((folder / "stages" / "2-mean-teacher" / "stage.json").read_text()) for folder in (out, adapted[0])
    )
    assert [c["step"] for c in report["candidates"]] == [c["step"] for c in uninterrupted["candidates"]]
    assert report["chosen_step"] == uninterrupted["chosen_step"]


@pytest.fixture
def bad(target, tmp_path):
    """Unusable inputs of every kind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    write_video(tmp_path / "clip.mp4")
    truncate(tmp_path / "clip.mp4", 0.3)
    write_image(tmp_path / "broken" / "0.jpg")
    truncate(tmp_path / "broken" / "0.jpg", 0.1)
    KeypointSet(np.array(["other"]), uv_px=np.zeros((1, 21, 2))).save(tmp_path / "truth.npz")
    small_model(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"cut")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "out", "flags", "words"),
    [
        ("empty", "run", (), "holds no image and no video"),
        ("absent", "run", (), "no such file or folder"),
        ("clip.mp4", "run", (), "clip.mp4"),
        ("broken", "run", (), "none of 1 images can be read"),
        ("", "file", (), "cannot write to"),
        ("", "run", ("--truth", "@truth.npz"), "shares no key"),
        ("", "run", ("--truth", "@absent.npz"), "does not exist"),
        ("", "run", ("--truth", "@file"), "not a readable .npz"),
        ("", "run", ("--source", "@empty"), "holds no model.json"),
        ("", "run", ("--source", "@model"), "model"),
        ("", "run", ("--boxes", "@absent.json"), "absent.json"),
        ("", "run", ("--hand", "annotated"), "isn't labelled left or right"),
        ("", "run", ("--domain", "moon"), "no domain 'moon'"),
        ("clip.mp4", "run", ("--every", "0"), "every"),
        ("", "run", ("--subject", "body", "--hand", "left"), "people have both hands"),
        ("", "run", ("--subject", "body", "--truth", "@truth.npz"), "21 joints without names"),
        ("", "run", ("--stride", "9", "3"), "is not a range"),
    ],
)
def test_refusals_are_one_line(target, bad, place, out, flags, words, capsys):
    given = [bad / flag[1:] if flag.startswith("@") else flag for flag in flags]
    assert _adapt(bad / place if place else target.images, bad / out, *given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert captured.out == ""
    assert not (bad / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("pictures", "flags", "words"),
    [
        (film(0, 1), (), "there is one frame; give videos"),
        (film(0, 12), ("--every", "20", "--stride", "2", "5"), "there is one frame; give videos"),
        (film(0, 8) + film(1, 8), ("--stride", "9", "12"), "the longest of 2 sequences has 8 frames after 1 cut; give"),
    ],
    ids=["one frame", "thinned", "cut"],
)
def test_videos_without_pairs(tmp_path, pictures, flags, words, capsys):
    write_pictures(tmp_path / "clip.mp4", pictures)
    method = "geometric-reconstruction"
    assert _adapt(tmp_path / "clip.mp4", tmp_path / "run", *flags, method=method) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {tmp_path / 'clip.mp4'}: no two frames of one sequence are ")
    assert captured.err.endswith("or adapt by integrated-pseudo-labels, which needs no pairs\n")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_images_that_are_sequences_by_name(adapted, tmp_path, capsys):
    """Two films in one folder; all flags of pairs reach the run, and a resumed run prints the same."""
    for name, seed in (("walk", 0), ("wave", 1)):
        for i, picture in enumerate(film(seed, 6)):
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "in" / f"{name}_{4 * i:03d}.png")
    flags = ("--source", adapted[0], "--sequence-by", "name", "--stride", "4", "8")
    out = tmp_path / "run"
    assert _adapt(tmp_path / "in", out, *flags, method="geometric-reconstruction") == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("warning: ")]
    assert printed[0] == f"Model: {out / 'model.safetensors'}"
    config = yaml.safe_load((out / "config.yaml").read_text())["adapt"]
    assert (config["stride"], config["target"]["sequence_by"], config["subject"]) == ([4, 8], "name", "hand")
    assert {stage.name for stage in (out / "stages").iterdir()} == {"1-warm-start", "2-reconstructor", "3-fine-tuning"}
    before = _uv(out)
    shutil.rmtree(out / "stages" / "3-fine-tuning")  # as if it had been stopped before
    assert posebridge("resume", out) == 0
    np.testing.assert_allclose(_uv(out), before, atol=1e-3)
    assert "reconstruct" in (out / "report.html").read_text()


def test_run_of_another_config(adapted, target, capsys):
    before = (adapted[0] / "config.yaml").read_text()
    assert _adapt(target.images, adapted[0]) == 2
    assert "holds a run of another config: choose another --out" in capsys.readouterr().err
    assert (adapted[0] / "config.yaml").read_text() == before


def test_demo_into_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert posebridge("demo", "--out", tmp_path / "file") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "config.yaml does not exist"),
        ("adapt: [", "can't be read as YAML"),
        ("score: {}", "is not the config of a run"),
        ("adapt: {method: mean-teacher, colour: red}", "AdaptConfig has no field colour"),
        ("adapt: {method: mean-teacher}", "doesn't fit this version"),
    ],
)
def test_resume_of_no_run(tmp_path, config, words, capsys):
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    assert posebridge("resume", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


def test_resume_of_a_file_or_nothing(tmp_path, capsys):
    assert posebridge("resume", tmp_path / "absent") == 2
    assert "is not a folder: give the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["adapt", "depth-transfer"])
def test_resume_of_an_earlier_version(tmp_path, kind, capsys):
    (tmp_path / "config.yaml").write_text(f"{kind}: {{method: mean-teacher, size: small}}")
    (tmp_path / "environment.json").write_text('{"posebridge": "0.0.1"}')
    assert posebridge("resume", tmp_path) == 2
    message = "was written by an earlier version of posebridge (0.0.1): start the run again with another --out"
    assert capsys.readouterr().err == f"error: {tmp_path} {message}\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("adapt", "--method", "mean-teachers"),
            "there is no method 'mean-teachers': choose source-only, mean-teacher, ",
        ),
        (
            ("adapt", "multi-view-fusion"),
            "takes depth, and the target of adapt is colour: choose source-only, ",
        ),
        (("adapt", "supervised-target"), "has no method supervised-target: choose source-only, mean-teacher, "),
        (("adapt", "mean-teacher", "--preset", "tiny"), "no preset 'tiny': choose small, full"),
        (
            ("adapt-depth", "geometric-reconstruction"),
            "the target of adapt-depth is depth: choose source-only, ",
        ),
        (("adapt-depth", "--preset", "tiny"), "no preset 'tiny': choose small, full"),
        (("adapt-depth", "--domain", "moon"), "no domain 'moon': choose one of studio, street, bare, varied"),
        (("train", "rhd-to-lsp"), "there is no recipe 'rhd-to-lsp': choose rhd-to-h3d, rhd-to-mvhand, "),
    ],
)
def test_unknown_names(target, tmp_path, flags, words, capsys):
    where = ("--target", target.images) if flags[0] == "train" else (target.images,)
    assert posebridge(*flags, *where, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_depth_flags_belong_to_depth_commands(target, tmp_path, capsys):
    for flag in ("--depth-unit-mm", "--mano", "--translate", "--stacks", "--reach-m"):
        with pytest.raises(SystemExit) as ended:
            _adapt(target.images, tmp_path / "run", flag, "1")
        assert ended.value.code == 2
        assert flag in capsys.readouterr().err
