"""The command ``train`` with every dataset of the table, as the labelled source or the target."""

import shutil

import pytest

from data import test_bighand, test_mpi_inf_3dhp, test_youtube_hands
from data.small_sets import SMALL_SETS, SmallSet
from experiments.small_runs import CPU_FLAGS, shrink
from experiments.transfer_sets import write_h3d, write_rhd
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.datasets.registry import DATASETS

pytestmark = pytest.mark.usefixtures("one_thread")
BY_NAME = {small.name: small for small in SMALL_SETS}
SOURCES = [small.name for small in SMALL_SETS if small.split == "train" and DATASETS[small.name].joints_3d]
# Of sources: the joints that they label, where these are others than the published tables'.
JOINTS = {"mpi-inf-3dhp": ("--joints", "h36m17")}
# Sets that are written with a training split only: the file or folder that becomes their test split.
TEST_FILES = {
    "youtube-3d-hands": ("youtube_train.json", "youtube_test.json"),
    "panoptic-hands": ("manual_train", "manual_test"),
    "mpii": ("annot/train.json", "annot/valid.json"),
}
EXTRA = dict.fromkeys(("lsp", "rendered", "rendered-depth"), ("whole_set=true",))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def write(small: SmallSet, root) -> list[str]:
    """Write the set. Returns the arguments that select it."""
    folder = root / small.name
    folder.mkdir()
    small.write(folder)
    if small.name in TEST_FILES:
        train, test = (folder / name for name in TEST_FILES[small.name])
        (shutil.copytree if train.is_dir() else shutil.copy)(train, test)
    if small.name == "mpi-inf-3dhp":
        test_mpi_inf_3dhp.write_test(folder)
    options = {name: value for name, value in small.options.given().items() if name != "box_scale"}
    words = (",".join(map(str, value)) if isinstance(value, tuple) else value for value in options.values())
    files = _label_files(small.name, folder)
    return [f"{small.name}={folder}", *files, *(f"{name}={word}" for name, word in zip(options, words, strict=True))]


def _label_files(name: str, folder) -> list[str]:
    """Options of sets whose test split has no labels of its own."""
    if name == "youtube-3d-hands":
        return [f"regressor={test_youtube_hands.write_regressor(folder)}"]
    if name == "bighand2.2m":
        line = test_bighand.write_frame(folder / "frame" / "images", "image_D00000001.png", 5)
        (folder / "labels.txt").write_text(line)
        return [f"annotations={folder / 'labels.txt'}", "hand=right"]
    return []


def train(out, *flags) -> None:
    assert main([*map(str, ("train", *flags, "--out", out, *CPU_FLAGS))]) == 0
    assert len(KeypointSet.load(out / "predictions.npz"))
    assert (out / "report.html").is_file()


def test_every_dataset_is_tested():
    assert {*BY_NAME} == {*DATASETS}


@pytest.mark.parametrize("name", SOURCES)
def test_source(name, tmp_path):
    words = [word for word in write(BY_NAME[name], tmp_path) if not word.startswith("annotations=")]  # of the test
    if DATASETS[name].sensor == "depth":
        target = write(BY_NAME["icvl"], tmp_path)
    elif DATASETS[name].subject == "body":
        target = write(BY_NAME["human3.6m"], tmp_path)
    else:
        write_h3d(tmp_path / "h3d")
        target = [f"h3d={tmp_path / 'h3d'}"]
    flags = ("--source", *words, "--target", *target, "--target-split", "test", "--method", "source-only")
    train(tmp_path / "run", *flags, *JOINTS.get(name, ()))


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in SOURCES or name in {*TEST_FILES, *EXTRA}])
def test_target(name, tmp_path):
    flags = ["--target", *write(BY_NAME[name], tmp_path), *EXTRA.get(name, ()), "--target-split", "test"]
    if DATASETS[name].sensor == "colour":
        if DATASETS[name].subject == "body":
            source = write(BY_NAME["surreal"], tmp_path)
        else:
            write_rhd(tmp_path / "rhd")
            source = [f"rhd={tmp_path / 'rhd'}"]
        flags += ["--source", *source, "--method", "mean-teacher"]
    train(tmp_path / "run", *flags)


def test_renders_as_source(tmp_path, capsys):
    words = write(BY_NAME["stb"], tmp_path)
    flags = ("--domain", "studio", "--method", "source-only", "--target-split", "test")
    train(tmp_path / "run", "--target", *words, *flags)
    assert "studio renders to STB" in (tmp_path / "run" / "report.html").read_text()
    assert "on 4 frames of STB" in capsys.readouterr().out
