"""Uploads and requests that the server refuses, and what no request can reach."""

import asyncio
import re
import socket
import subprocess
import sys

import pytest
from starlette.requests import Request

from data.on_disk import truncate, write_image
from deployment.depth_hands import save_small
from deployment.rigged import small_model
from posebridge.errors import InputError
from posebridge.serve.config import ServeConfig
from posebridge.serve.server import serve
from posebridge.serve.uploads import RefusedError, UploadLimits, receive_file
from serve.served import ORIGIN, client_of, files_in, picture

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path, max_upload_mb=1) as client:
        yield client


def broken_picture(tmp_path) -> bytes:
    write_image(tmp_path / "broken.png", 60, 60)
    truncate(tmp_path / "broken.png", 0.6)
    return (tmp_path / "broken.png").read_bytes()


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 400, "the file is empty"),
        (b"hello", 415, "neither a picture (BMP, JPEG, PNG, PPM, TIFF, WEBP) nor a video that can be read"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "neither a picture"),  # FFmpeg would open the other file
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 415, "neither a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "neither a picture"),
        (b"\x00\x00\x00\x18ftypheic" + b"\0" * 600, 415, "pictures of type HEIC and AVIF can't be read"),
        (b"\x00\x00\x00\x18ftypisom" + b"\0" * 600, 415, "the video can't be read: "),
        (b"RIFF\x00\x00\x00\x00AVI " + b"\0" * 600, 415, "the video can't be read: "),
        (b"\x1aE\xdf\xa3" + b"\0" * 600, 415, "the video can't be read: "),
        (b"P6 9000 9000 255\n", 413, "9000x9000 pixels are more than 64 million: make it smaller"),
        (b"P6 90000 90000 255\n", 413, "the picture has more than 64 million pixels: make it smaller"),
        (b"x" * 1_000_001, 413, "the upload is larger than 1 MB"),
        (broken_picture, 400, "the picture can't be read: "),
    ],
)
@pytest.mark.parametrize("url", ["/api/predictions", "/api/adaptation/files"])
def test_content(client, tmp_path, url, content, status, reason):
    if callable(content):
        if "adaptation" in url:
            pytest.skip("adapt lists broken pictures itself")
        content = content(tmp_path)
    answer = client.post(url, content=content)
    assert (answer.status_code, answer.json()["error"][: len(reason)]) == (status, reason)
    assert "\n" not in answer.json()["error"]
    assert files_in(tmp_path / "served") == []


def test_stream_without_length(client, tmp_path):
    answer = client.post("/api/predictions", content=(b"x" * 100_000 for _ in range(11)))
    assert (answer.status_code, answer.json()["error"].split(":")[0]) == (413, "the upload is larger than 1 MB")
    assert files_in(tmp_path / "served") == []


@pytest.mark.parametrize("end", ["slow", "disconnect"])
def test_slow_and_interrupted_uploads(tmp_path, end):
    messages = [{"type": "http.request", "body": b"abc", "more_body": True}]

    async def receive():
        if messages:
            return messages.pop()
        if end == "slow":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(RefusedError, match="took longer than 0.2 s" if end == "slow" else "was broken off"):
        asyncio.run(receive_file(request, tmp_path / "file", UploadLimits(1, 0.2)))
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("page", ["/", "/adapt", "/static/predict.js", "/api/model", "/nowhere"])
def test_headers(client, page):
    headers = client.get(page).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["frame-ancestors"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("page", ["predict.html", "adapt.html"])
def test_pages_hold_no_inline_code(client, page):
    text = client.get(f"/static/{page}").text
    assert "style=" not in text
    assert "<style" not in text
    assert not re.search(r"\son\w+=", text)
    assert text.count("<script") == text.count('<script type="module" src="/static/')
    assert "http" not in text.replace('content="text/html', "")  # nothing comes from other servers


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/api/model", {"Host": "127.0.0.1.evil.example:8765"}),
        ("GET", "/api/model", {"Host": ""}),
        ("GET", "/api/model", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", "/api/adaptation/report", {"Sec-Fetch-Site": "same-site"}),
        ("POST", "/api/predictions", {"Origin": "http://evil.example"}),
        ("POST", "/api/predictions", {"Origin": "null"}),
        ("POST", "/api/predictions", {"Origin": ""}),
        ("POST", "/api/predictions", {"Origin": "http://127.0.0.1:9999"}),
        ("POST", "/api/predictions", {"Origin": "https://127.0.0.1:8765"}),
        ("POST", "/api/predictions", {"Sec-Fetch-Site": "cross-site"}),
        ("DELETE", "/api/adaptation", {"Origin": "http://evil.example"}),
    ],
)
def test_requests_of_other_sites(client, method, path, headers):
    answer = client.request(method, path, headers=headers, content=picture() if method == "POST" else None)
    assert answer.status_code == 403
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_requests_of_the_page(client):
    own = {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/predictions", headers=own, content=picture()).status_code == 200
    assert client.get("/api/model", headers={"Sec-Fetch-Site": "none"}).status_code == 200
    assert client.get("/adapt", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link
    tunnelled = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert client.post("/api/predictions", headers=tunnelled, content=picture()).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/api/predictions/..%2f..%2fmodel",
        "/api/predictions/..%2fmodel/predictions.npz",
        "/api/adaptation/report",
        "/api/adaptation/model.zip",
    ],
)
def test_paths_reach_nothing(client, path):
    assert client.get(path).status_code == 404


def test_busy_port(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            InputError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; give another"
        ):
            serve(ServeConfig(tmp_path, port=port))


def test_model_of_depth(tmp_path):
    save_small(tmp_path / "model")
    with pytest.raises(InputError, match="depth"):
        serve(ServeConfig(tmp_path / "model", port=0, device="cpu"))


def test_missing_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"starlette and uvicorn not installed: pip install 'posebridge\[serve\]'"):
        serve(ServeConfig(tmp_path))


def test_runs_that_are_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*file: .*; choose another --runs"):
        serve(ServeConfig(tmp_path, port=0, runs=tmp_path / "file"))


@pytest.mark.parametrize(
    ("flag", "value"),
    [("port", 70000), ("padding", 0.0), ("min_confidence", 1.5), ("max_upload_mb", 0), ("max_video_frames", -1)],
)
def test_impossible_numbers(tmp_path, flag, value):
    with pytest.raises(InputError, match=f"{flag.replace('_', '-')} {value:g} is impossible"):
        ServeConfig(tmp_path, **{flag: value})


def test_served_by_the_command(tmp_path):
    small_model(tmp_path / "model")
    command = [sys.executable, "-m", "posebridge.cli.main", "serve", str(tmp_path / "model"), "--port", "0"]
    with subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split(" at ")[1].split(" ")[0]
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"GET /api/model HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        process.send_signal(2)  # ctrl-c
        assert process.wait(120) == 0
    assert ORIGIN.startswith(f"http://{host}")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"server:" not in answer.lower()
