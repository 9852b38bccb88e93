import json
import resource
import subprocess
import sys

import pytest

from evaluation.keypoint_files import ICVL, hands, needs_icvl
from posebridge.cli.commands import COMMANDS, ScoreCommand
from posebridge.cli.main import main
from posebridge.contracts.record_file import save_record
from posebridge.data.datasets.registry import DATASETS
from posebridge.experiments.transfers import TRANSFERS
from posebridge.methods.registry import METHODS
from report.synthetic_record import synthetic_record


def posebridge(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "posebridge.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def files(tmp_path):
    hands(noise=5.0).save(tmp_path / "predictions.npz")
    hands().save(tmp_path / "labels.npz")
    return tmp_path / "predictions.npz", tmp_path / "labels.npz"


def test_help_lists_every_command():
    done = posebridge("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_quick(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = posebridge(*command.split(), "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: posebridge {command}".rstrip())
    # Seconds of CPU: torch alone takes more than two, and a busy machine doubles the time.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_ctrl_c_during_the_first_imports():
    interrupt = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "tyro":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
from posebridge.cli.main import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", interrupt], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped: finished results are on disk\n")


def test_help_imports_nothing_heavy():
    heavy = (
        "import posebridge.cli.commands, sys; sys.exit(bool({'torch', 'cv2', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "adapt",
            [
                name
                for name, entry in METHODS.items()
                if entry.adapts and entry.role != "supervised_target" and "colour" in entry.sensors
            ],
        ),
        ("adapt-depth", ["multi-view-fusion"]),
        ("train", [*METHODS, *DATASETS, *TRANSFERS]),
    ],
)
def test_help_lists_the_names_of_all_tables(command, names):
    words = posebridge(command, "--help").stdout.replace(",", " ").replace(";", " ").replace(".\n", " ").split()
    assert {*names} <= {word.strip(".(│") for word in words}


@needs_icvl
def test_score_prints_one_json_object():
    done = posebridge(
        *("score", ICVL / "poseren.npz", ICVL / "truth.npz", "--json"),
        *("--intrinsics", 240.99, 240.96, 160, 120),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["mean_joint_error_mm"] == pytest.approx(6.791, abs=0.001)


def test_bad_input_is_one_line_and_status_2(files, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"nothing of the kind")
    done = posebridge("score", tmp_path / "broken.npz", files[1])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_report_of_a_folder_without_a_record(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no readable record.json" in capsys.readouterr().err


def test_score_prints_a_table(files, capsys):
    assert main(["score", *map(str, files), "--image-size", "256", "--align", "root-scale"]) == 0
    printed = capsys.readouterr().out
    assert "alignment: root-scale" in printed
    assert "PCK @0.05 of the image side" in printed


def test_impossible_options_are_one_line(files, capsys):
    assert main(["score", *map(str, files), "--skip-border", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: --skip-border needs")


def test_unknown_flags_end_with_status_2(files):
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, files), "--no-such-flag"])
    assert ended.value.code == 2


def test_report_writes_a_page(tmp_path, capsys):
    save_record(synthetic_record(), tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "elsewhere" / "page.html")]) == 0
    assert (tmp_path / "elsewhere" / "page.html").is_file()


def test_ctrl_c_is_a_line_and_status_130(files, capsys, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ScoreCommand, "run", interrupted)
    assert main(["score", *map(str, files)]) == 130
    assert capsys.readouterr().err == "stopped: finished results are on disk\n"


@pytest.mark.parametrize(("flags", "message"), [(("--workers", "-1"), "-1 workers"), (("--devices", "0"), "0 devices")])
def test_impossible_hardware_is_one_line(flags, message, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
