import io
import json
import sys
import time
import zipfile
from pathlib import Path

import pytest
from tqdm import tqdm

from data.on_disk import write_video
from deployment.rigged import small_model
from posebridge.deployment.estimator import load_estimator
from posebridge.methods.registry import METHODS
from posebridge.serve.progress import StageProgress, parse_progress
from serve.served import client_of, ended, files_in, picture

pytestmark = pytest.mark.usefixtures("one_thread")
HERE = Path(__file__).parent
STATE, FILES = "/api/adaptation", "/api/adaptation/files"


def stand_in(mode: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / "stand_in.py"), mode)


def clip(tmp_path) -> bytes:
    write_video(tmp_path / "clip.mp4")
    return (tmp_path / "clip.mp4").read_bytes()


def test_run(tmp_path):
    with client_of(tmp_path, command=stand_in("finish")) as client:
        for i in range(3):
            state = client.post(FILES, content=picture(i, (".png", ".jpg", ".bmp")[i])).json()
        assert (state["state"], state["uploads"]["count"], state["uploads"]["kind"]) == ("idle", 3, "image")
        assert client.get(f"{STATE}/report").status_code == 404
        assert client.post(f"{STATE}?method=mean-teacher&hand=left").status_code == 200
        state = ended(client, STATE)
        assert (state["state"], state["uploads"]["count"]) == ("finished", 0)
        run = state["run"]
        assert [(stage["label"], stage["done"], stage["total"]) for stage in run["stages"]] == [
            ("0 rendering", 40, 40), ("1 mean-teacher", 600, 600),
        ]  # fmt: skip
        assert (run["stages"][1]["loss"], run["notes"]) == (0.1234, ["1 file carries an orientation"])
        report, model = client.get(f"{STATE}/report"), client.get(f"{STATE}/model.zip")
    called = json.loads((Path(run["folder"]) / "called.json").read_text())
    assert called["files"] == ["0000.png", "0001.jpg", "0002.bmp"]
    target = str(Path(run["folder"]).parent / "footage")
    assert called["flags"] == [
        "adapt", target, "--method", "mean-teacher", "--source", str(tmp_path / "model"), "--subject", "hand",
        "--out", run["folder"], "--detector", "auto", "--hand", "left",
    ]  # fmt: skip
    assert report.text.endswith("<p>Adapted.</p>")
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'; ")
    with zipfile.ZipFile(io.BytesIO(model.content)) as archive:
        assert archive.namelist() == ["model.safetensors", "model.json"]
        assert archive.read("model.safetensors") == b"weights"


def test_one_run_at_a_time_and_cancel(tmp_path):
    state = {}
    with client_of(tmp_path, command=stand_in("hang")) as client:
        client.post(FILES, content=picture())
        client.post(f"{STATE}?method=mean-teacher")
        folder = Path(client.get(STATE).json()["run"]["folder"])
        until = time.monotonic() + 60
        stages = {}
        while stages.get("1 mean-teacher") != (150, 600):  # the last bar before the wait
            assert time.monotonic() < until, stages
            time.sleep(0.05)
            state = client.get(STATE).json()
            stages = {stage["label"]: (stage["done"], stage["total"]) for stage in state["run"]["stages"]}
        assert (folder / "hangs").exists()
        assert state["state"] == "running"
        for method, url in (("POST", f"{STATE}?method=mean-teacher"), ("POST", FILES), ("DELETE", FILES)):
            refused = client.request(method, url, content=picture() if url == FILES else None)
            assert (refused.status_code, "running" in refused.json()["error"]) == (409, True)
        assert client.get(f"{STATE}/report").status_code == 404
        started = time.monotonic()
        assert client.delete(STATE).json()["state"] == "cancelled"
        assert time.monotonic() - started < 20
        assert client.post(FILES, content=picture()).status_code == 200


def test_end_of_the_server_ends_the_run(tmp_path):
    """The client's end is that of the server; without it, the stand-in would sleep for ten minutes."""
    started = time.monotonic()
    with client_of(tmp_path, command=stand_in("hang")) as client:
        client.post(FILES, content=picture())
        client.post(f"{STATE}?method=mean-teacher")
        until = time.monotonic() + 60
        while not list(tmp_path.rglob("hangs")):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert time.monotonic() - started < 100


def test_failed_run(tmp_path):
    with client_of(tmp_path, command=stand_in("fail")) as client:
        client.post(FILES, content=picture())
        client.post(f"{STATE}?method=mean-teacher")
        state = ended(client, STATE)
        assert (state["state"], state["run"]["error"]) == ("failed", "the footage shows nobody: give other footage")
        assert client.get(f"{STATE}/model.zip").status_code == 404


def test_refusals(tmp_path):
    with client_of(tmp_path, command=stand_in("finish"), max_upload_mb=1) as client:

        def refused(url: str, content: bytes | None = None) -> str:
            answer = client.post(url, content=content)
            assert 400 <= answer.status_code < 500
            return answer.json()["error"]

        assert refused(f"{STATE}?method=mean-teacher") == "there is nothing to adapt to: give a video or pictures first"
        client.post(FILES, content=picture())
        assert refused(FILES, clip(tmp_path)).startswith("pictures and videos can't be mixed")
        assert refused(f"{STATE}?method=nothing").startswith("there is no such method: choose mean-teacher, ")
        assert refused(f"{STATE}?method=geometric-reconstruction").startswith("geometric-reconstruction needs video")
        assert refused(f"{STATE}?method=mean-teacher&hand=--out").startswith("hand is left or right")
        large = picture() + bytes(900_000)  # decoders ignore what follows a picture
        for _ in range(4):
            client.post(FILES, content=large)
        assert refused(FILES, large).startswith("the files together are larger than 4 MB")
        state = client.delete(FILES).json()
        assert (state["uploads"], files_in(tmp_path / "served")) == ({"count": 0, "kind": None, "bytes": 0}, [])


def test_methods_of_the_page(tmp_path):
    with client_of(tmp_path) as client:
        methods = {method["name"]: method for method in client.get(STATE).json()["methods"]}
    assert set(methods) == {
        "mean-teacher",
        "self-training",
        "cc-ssl",
        "regda",
        "integrated-pseudo-labels",
        "geometric-reconstruction",
        "masked-reconstruction",
        "semihand",
        "dual-modality",
    }
    assert all(method["title"] == METHODS[name].title for name, method in methods.items())
    assert [(name, kind) for name, method in methods.items() for kind in method["default_for"]] == [
        ("mean-teacher", "image"), ("geometric-reconstruction", "video"),
    ]  # fmt: skip
    assert methods["geometric-reconstruction"]["kinds"] == ["video"]


def test_progress_of_real_bars():
    """Against tqdm itself, whose lines are read."""
    text = io.StringIO()
    with tqdm(total=4000, desc="1 source", unit="step", mininterval=0, ncols=100, file=text) as bar:
        bar.set_postfix(loss="0.5000", run_left="<1 min", refresh=False)
        bar.start_t -= 4000
        bar.update(400)
        bar.refresh()
    lines = [line.strip() for line in text.getvalue().replace("\r", "\n").splitlines() if line.strip()]
    first, last = parse_progress(lines[0]), parse_progress(lines[-1])
    assert first == StageProgress("1 source", 0, 4000, 0, None, None) or first.done == 0
    assert (last.label, last.done, last.total, last.loss) == ("1 source", 400, 4000, 0.5)
    assert last.run_left == "<1 min"
    assert (
        parse_progress("1 x:  10%|#  | 1/10 [00:01<00:09, 1.0step/s, loss=1e-3, run_left=12 min]").run_left == "12 min"
    )
    assert last.elapsed_s == pytest.approx(4000, abs=5)
    assert last.remaining_s == pytest.approx(36000, rel=0.01)
    for other in ("", "error: 3 of 4", "12 frames in predictions.npz", "a|b| 1/2 [x]"):
        assert parse_progress(other) is None


@pytest.mark.slow
def test_real_run(tmp_path, target):
    """The flags, bars and outputs are those of ``posebridge adapt``."""
    command = (sys.executable, str(HERE / "small_posebridge.py"))
    small_model(tmp_path / "model")
    with client_of(tmp_path, command=command) as client:
        for file in sorted(target.images.iterdir())[:40]:
            assert client.post(FILES, content=file.read_bytes()).status_code == 200
        client.post(f"{STATE}?method=mean-teacher&hand=right")
        state = ended(client, STATE)
        assert state["state"] == "finished", state["run"]["error"]
        assert [stage["label"].split(" ")[-1] for stage in state["run"]["stages"]][:2] == ["rendering", "mean-teacher"]
        assert "footage, from varied renders" in client.get(f"{STATE}/report").text
        content = client.get(f"{STATE}/model.zip").content
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "adapted")
    assert load_estimator(tmp_path / "adapted", "cpu").predictor.spec.method == "mean-teacher"
