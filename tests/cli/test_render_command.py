import re
import resource
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from posebridge.cli.main import main
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shards import load_index

pytestmark = pytest.mark.usefixtures("one_thread")
DOCS = Path(__file__).parents[2] / "docs" / "rendered-sets.md"


def render(*arguments) -> int:
    return main(["render", "studio", "--size-px", "32", *map(str, arguments)])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A small set. Not to be changed."""
    folder = tmp_path_factory.mktemp("cli") / "set"
    assert render("--count", 40, "--out", folder, "--shard-size", 32, "--format", "jpg", "--quality", 90) == 0
    return folder


def test_output(rendered, capsys):
    assert render("--count", 40, "--out", rendered, "--shard-size", 32, "--format", "jpg", "--quality", 90) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"40 samples in 2 shards \(\d\.\d MB\), listed in {rendered}/index\.json", lines[0])
    assert lines[1] == "0 rendered now, 40 were there"
    assert len(ShardedSet(rendered)) == 40


@pytest.mark.parametrize(
    ("library", "printed"),
    [
        ("from posebridge", "torch.Size([8, 3, 32, 32]) torch.Size([8, 21, 2])"),
        ("import webdataset", "torch.Size([3, 32, 32]) 21"),
    ],
)
def test_examples_of_the_page_run(rendered, library, printed, capsys):
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (example,) = (example for example in examples if example.startswith(library))
    exec(example.replace("sets/studio", str(rendered)), {})
    assert capsys.readouterr().out.splitlines()[0] == printed


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [
        (signal.SIGINT, 130, "stopped: finished results are on disk"),
        (signal.SIGTERM, 143, "terminated: finished results are on disk"),
    ],
)
def test_signals_leave_every_finished_piece(sent, code, line, tmp_path, capsys):
    command = [sys.executable, "-m", "posebridge.cli.main", "render", "studio", "--count", "100000", "--size-px", "32"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "set")],
        stderr=subprocess.PIPE,
        text=True,
        # A runner in the background ignores ctrl-c, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started = time.monotonic()
    while len(list((tmp_path / "set").glob("pieces/*.piece"))) < 2 and time.monotonic() - started < 60:
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == line
    assert "Traceback" not in errors
    assert load_index(tmp_path / "set").count == 100_000
    pieces = [path for path in (tmp_path / "set" / "pieces").iterdir() if path.suffix == ".piece"]
    assert len(pieces) >= 2
    for path in pieces:
        assert path.stem.endswith(sha256(path.read_bytes()).hexdigest())
    assert render("--count", 64, "--out", tmp_path / "set") == 0
    assert "0 rendered now, 64 were there" in capsys.readouterr().out


def test_full_disk(tmp_path, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert render("--count", 40, "--out", tmp_path / "set") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: cannot write .*\.piece: .*; free some space or choose another folder\n", error)
    assert render("--count", 40, "--out", tmp_path / "set") == 0


def test_refusals_are_one_line(rendered, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (("--count", 40, "--out", rendered), "holds another set: image is jpg there and png here"),
        (("--count", 0, "--out", tmp_path / "new"), "0 samples are impossible"),
        (("--count", 1, "--out", tmp_path / "file"), "cannot write into"),
        (("--count", 1, "--out", tmp_path / "new", "--quality", 101, "--format", "jpg"), "JPEG quality 101"),
        (("--count", 1, "--out", tmp_path / "new", "--workers", 0), "0 workers"),
        (("--count", 1, "--out", tmp_path / "new", "--depth-unit-mm", 0.001), "give a larger depth unit"),
        (("--count", 1, "--out", tmp_path / "new2", "--ray", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
    ):
        assert render(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert message in captured.err
