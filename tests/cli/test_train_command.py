"""The command ``train``, and ``resume`` of its runs."""

import shutil

import numpy as np
import pytest

from experiments.small_runs import CPU_FLAGS, shrink
from experiments.transfer_sets import write_sets
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.training import registration

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(registration, "_SOURCE_BATCHES", 1)
    monkeypatch.setattr(registration, "_SOURCE_BATCH", 8)


def train(folders, out, *flags, recipe: str = "rhd-to-h3d") -> int:
    given = ("train", recipe, "--source", folders[0], "--target", folders[1], "--out", out, *flags, *CPU_FLAGS)
    return main([*map(str, given)])


def test_scores_and_resume(sets, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert train(sets["rhd-to-h3d"], out, "--method", "mean-teacher", "--hand", "right") == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    for line, role in zip(printed, ("source only", "adapted"), strict=False):
        assert line.startswith(f"{role}: PCK@0.05 ")
        assert line.endswith(" mm on 4 frames of H3D")
    assert printed[2:] == [
        f"Model: {out / 'model.safetensors'}",
        f"Predictions: {out / 'predictions.npz'}",
        f"Report: {out / 'report.html'}",
    ]
    report = (out / "report.html").read_text()
    assert "RHD to H3D" in report
    assert "UniFrame" in report  # among the published
    before = KeypointSet.load(out / "predictions.npz").uv_px
    shutil.rmtree(out / "stages" / "2-mean-teacher")  # as if it had been stopped before
    monkeypatch.chdir(tmp_path)
    assert main(["resume", str(out), *CPU_FLAGS]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    np.testing.assert_array_equal(KeypointSet.load(out / "predictions.npz").uv_px, before)


def test_predictions_do_not_depend_on_workers(sets, tmp_path):
    predictions = []
    for workers in (0, 2):
        out, flags = tmp_path / str(workers), ("--method", "source-only", "--workers", workers)
        assert train(sets["surreal-to-3dpw"], out, *flags, recipe="surreal-to-3dpw") == 0
        predictions.append(KeypointSet.load(out / "predictions.npz").uv_px)
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize(
    ("recipe", "source", "target", "flags", "words"),
    [
        ("rhd-to-h3d", "absent", None, (), "absent is no folder: give the one of rhd, which holds training/ and"),
        ("rhd-to-h3d", None, "absent", (), "absent is no folder: give the one of h3d, which holds annotation.json"),
        ("rhd-to-h3d", "empty", None, (), "anno_training.pickle"),
        ("rhd-to-h3d", None, "empty", (), "annotation.json"),
        ("rhd-to-mvhand", None, "empty", (), "calib.pkl"),
        ("surreal-to-human36m", "empty", None, (), "cmu/train"),
        ("surreal-to-human36m", None, "empty", (), "metadata.xml"),
        ("surreal-to-3dpw", None, "empty", (), "sequenceFiles/train"),
        (
            "rhd-to-mvhand",
            None,
            None,
            ("--hand", "left"),
            "the release of mvhand states which hand it shows: leave --hand out",
        ),
        ("rhd-to-h3d", None, None, ("--encoder-weights", "absent.pth"), "absent.pth"),
    ],
)
def test_refusals_are_one_line(sets, tmp_path, recipe, source, target, flags, words, capsys):
    (tmp_path / "empty").mkdir()
    folders = [tmp_path / given if given else own for given, own in zip((source, target), sets[recipe], strict=True)]
    assert train(folders, tmp_path / "run", *flags, recipe=recipe) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_run_of_another_method(sets, tmp_path, capsys):
    assert train(sets["rhd-to-h3d"], tmp_path / "run", "--method", "source-only") == 0
    assert train(sets["rhd-to-h3d"], tmp_path / "run", "--method", "mean-teacher") == 2
    assert "holds a run of another config" in capsys.readouterr().err


def typed(tmp_path, *flags) -> int:
    return main([*map(str, ("train", *flags, "--out", tmp_path / "run", *CPU_FLAGS))])


def refused(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("rhd-to-h3d", "--target", "."), "rhd-to-h3d needs --source, the folder of RHD"),
        (("rhd-to-h3d", "--source", ".", "--target", "stb=."), "rhd-to-h3d has --target h3d, not stb"),
        (("renders-to-nyu", "--source", "rhd=.", "--target", "."), "renders-to-nyu trains on renders"),
        (("--target", "."), "has no dataset's name: give --target NAME=PATH with one of rhd, freihand, "),
        (("--target", "stb=.", "--source", "."), "has no dataset's name: give --source NAME=PATH"),
        (("--target", "std=."), "no dataset 'std': there are rhd, freihand, stb, "),
        (("--target", "stb=.", "camera"), "dataset option camera has no value: give camera=VALUE"),
        (("--target", "stb=.", "lens=1"), "there is no dataset option 'lens': choose every, clips, views, "),
        (("--target", "stb=.", "camera=BB"), "camera can't be 'BB': give SK_color, BB_left, BB_right"),
        (("--target", "nyu=.", "views=a"), "views can't be 'a': give numbers with commas between them"),
        (("--target", "lsp=.", "whole_set=2"), "whole_set can't be '2': give true or false"),
        (("--target", "stb=.", "views=1"), "stb has no option 'views': it takes camera"),
        (("--target", "stb=.", "--method", "mean"), "there is no method 'mean': choose source-only, mean-teacher, "),
        (("--target", "stb=.", "--method", "multi-view-fusion"), "takes depth, and dataset stb is colour"),
        (("--target", "nyu=.", "--method", "geometric-reconstruction"), "takes colour"),
        (("--target", "nyu=.", "--source", "rhd=."), "rhd is colour, and nyu is depth: choose two of a kind"),
        (("--target", "bighand2.2m=."), "bighand2.2m doesn't state which hand it shows: give hand=left"),
        (("--target", "stb=.", "--stacks", "2"), "leave --stacks out: stb is colour"),
        (("--target", "stb=.", "--source", "mpii=."), "mpii and stb show a hand and a body"),
        (
            ("--target", "stb=.", "--source", "rhd=.", "--domain", "studio"),
            "leave --domain out: the source is a dataset",
        ),
        (("--target", "stb=.", "--preset", "tiny"), "no preset 'tiny': choose small, full"),
    ],
)
def test_refused_flags(tmp_path, flags, words, capsys):
    assert typed(tmp_path, *flags) == 2
    assert words in refused(capsys)
    assert not (tmp_path / "run" / "config.yaml").exists()
