"""The pages in headless Chromium, with a camera that is fed from a file. Nothing but the server can be reached."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import uvicorn

from data.on_disk import write_image
from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.deployment.detections import Detections, SubjectDetector
from posebridge.deployment.predictor import PosePredictor
from posebridge.serve.app import build_app
from posebridge.serve.config import ServeConfig
from posebridge.serve.server import _listening
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.joint_colours import FAMILY_COLOURS, joint_family

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]
HERE = Path(__file__).parent
DOTS = np.array([[150.0, 190.0], [95.0, 70.0], [235.0, 80.0]])  # in pictures of 320 x 240
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


def dots_at(i: int) -> np.ndarray:
    return DOTS + np.array([4.0, 2.0]) * i


def write_clip(path: Path, codec: str, pixels: str, frames: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, pixels, 8_000_000
        for i in range(frames):
            image = draw_dots(320, 240, dots_at(i))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    cv2.imwrite(str(folder / "hand.png"), draw_dots(320, 240, DOTS)[..., ::-1])
    (folder / "notes.txt").write_text("no picture")
    write_image(folder / "second.png")
    found = {path.stem: path for path in folder.iterdir()}
    found["video"] = write_clip(folder / "clip.webm", "libvpx-vp9", "yuv420p", 8)
    found["unplayable"] = write_clip(folder / "clip.avi", "mpeg4", "yuv420p", 3)
    found["camera"] = write_clip(folder / "camera.mjpeg", "mjpeg", "yuvj420p", 1)
    return found


@contextmanager
def serving(folder: Path, mode: str = "finish", detector: SubjectDetector | None = None, **options) -> Iterator[str]:
    """The address of a server in a thread."""
    (folder / "served").mkdir()
    config = ServeConfig(folder / "model", min_confidence=options.pop("min_confidence", 0.0), **options)
    predictor = PosePredictor(SPEC, DotFinder().eval())
    command = (sys.executable, str(HERE / "stand_in.py"), mode)
    app = build_app(config, predictor, folder / "served", detector, command)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    with _listening(0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def browser(files) -> Iterator:
    with sync_api.sync_playwright() as playwright:
        camera = f"--use-file-for-fake-video-capture={files['camera']}"
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, camera])
        yield found
        found.close()


@pytest.fixture
def new_page(browser) -> Iterator:
    """Opens pages; at the end none of them may have logged an error or a violation of the policy."""
    contexts, problems = [], []

    def opened(url: str, script: str = "", width: int = 1280, height: int = 900, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        if script:
            page.add_init_script(script)
        page.goto(url)
        expect(page.locator("#model")).not_to_be_empty(timeout=60_000)
        return page

    expect.set_options(timeout=60_000)
    yield opened
    for context in contexts:
        context.close()
    assert [problem for problem in problems if "Failed to load resource: the server responded" not in problem] == []


def colours_at(page, points: np.ndarray) -> list[str]:
    """Colours of the overlay at pixels (n, 2) of the picture of 320 x 240."""
    return page.evaluate(
        """(points) => {
            const canvas = document.getElementById("overlay");
            const scale = Math.min(canvas.width / 320, canvas.height / 240);
            const [left, top] = [(canvas.width - 320 * scale) / 2, (canvas.height - 240 * scale) / 2];
            const context = canvas.getContext("2d");
            return points.map(([u, v]) => {
                const at = [left + (u + 0.5) * scale, top + (v + 0.5) * scale].map(Math.round);
                const [r, g, b] = context.getImageData(...at, 1, 1).data;
                return "#" + [r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("");
            });
        }""",
        points.tolist(),
    )


def check_skeleton(page, dots: np.ndarray) -> None:
    """The last joint drawn at each disc has its colour there: the wrist at the first, ring and little finger beside."""
    truth = truth_of(dots)
    places = [HAND21.joints.index(name) for name in ("wrist", "pinky_4", "pinky_3")]
    expected = [FAMILY_COLOURS[joint_family(HAND21.joints[place])] for place in places]
    until = time.monotonic() + 30
    while colours_at(page, truth[places]) != expected:
        assert time.monotonic() < until, (colours_at(page, truth[places]), expected)
        time.sleep(0.1)


def picture_of(page, name: str) -> str:
    return page.evaluate("(name) => document.getElementById(name).toDataURL()", name)


def test_picture(server, files, new_page):
    page = new_page(server)
    expect(page.locator("#npz")).to_have_attribute("aria-disabled", "true")
    page.set_input_files("#file", files["hand"])
    expect(page.locator("#json")).to_have_attribute("aria-disabled", "false")
    expect(page.locator("#hands")).to_be_visible()
    expect(page.locator("#detected-hand")).to_be_hidden()
    check_skeleton(page, DOTS)
    expect(page.locator("#confidence")).to_contain_text("%")
    expect(page.locator("#bars li")).to_have_count(6)
    with page.expect_download() as download:
        page.click("#npz")
    assert download.value.suggested_filename == "predictions.npz"

    before = picture_of(page, "space")
    area = page.locator("#space").bounding_box()
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.down()
    page.mouse.move(area["x"] + 180, area["y"] + 120)
    page.mouse.up()
    turned = picture_of(page, "space")
    page.focus("#space")
    page.keyboard.press("ArrowLeft")
    assert len({before, turned, picture_of(page, "space")}) == 3
    page.keyboard.press("0")
    assert picture_of(page, "space") == before


def test_drawn_box(server, files, new_page):
    page = new_page(server)
    page.set_input_files("#file", files["hand"])
    expect(page.locator("#json")).to_have_attribute("aria-disabled", "false")
    area = page.locator("#overlay").bounding_box()
    scale = min(area["width"] / 320, area["height"] / 240)
    left, top = area["x"] + (area["width"] - 320 * scale) / 2, area["y"] + (area["height"] - 240 * scale) / 2
    with page.expect_request("**/api/predictions?*box=*") as request:
        page.mouse.move(left + 60 * scale, top + 40 * scale)
        page.mouse.down()
        page.mouse.move(left + 280 * scale, top + 220 * scale, steps=4)
        page.mouse.up()
    box = [float(x) for x in request.value.url.split("box=")[1].split("&")[0].replace("%2C", ",").split(",")]
    np.testing.assert_allclose(box, [59.5, 39.5, 279.5, 219.5], atol=0.6)
    expect(page.locator("#whole")).to_be_visible()
    check_skeleton(page, DOTS)
    page.click("text=Box by numbers")
    assert float(page.input_value("input[name=x1]")) == box[2]
    page.fill("input[name=x1]", "300")
    with page.expect_request("**/api/predictions?*box=*%2C300%2C*"):
        page.click("text=Set box")
    with page.expect_request("**/api/predictions?hand=left"):
        page.click("#whole")
        page.click("#hands span:text('Left')")


class LeftHand:
    """Detects a left hand around the discs."""

    def detect(self, image: np.ndarray) -> Detections:
        return Detections(np.array([[59.5, 39.5, 279.5, 219.5]]), np.array([0.9]), ("left",))


def test_detected_hand(tmp_path, files, new_page):
    with serving(tmp_path, detector=LeftHand()) as url:
        page = new_page(url)
        with page.expect_request("**/api/predictions") as request:
            page.set_input_files("#file", files["hand"])
        assert "hand=" not in request.value.url
        expect(page.locator("#detected-hand")).to_be_visible()
        expect(page.locator("#detected-hand input")).to_be_checked()
        check_skeleton(page, DOTS)
        expect(page.locator("#status")).to_have_text("")
        with page.expect_request("**/api/predictions?hand=right"):
            page.click("#hands span:text('Right')")
        page.goto(f"{url}/adapt")
        expect(page.locator("#detected-hand input")).to_be_checked()


def test_refused_files_leave_the_page_as_it_is(server, files, new_page):
    page = new_page(server)
    page.set_input_files("#file", files["hand"])
    check_skeleton(page, DOTS)
    page.set_input_files("#file", files["notes"])
    expect(page.locator("#error")).to_contain_text("Neither a picture (BMP, JPEG, PNG, PPM, TIFF, WEBP) nor a video")
    check_skeleton(page, DOTS)


def test_limits_and_nobody(tmp_path, files, new_page):
    with serving(tmp_path, max_upload_mb=1, min_confidence=1.0) as url:
        page = new_page(url)
        large = {"name": "large.png", "mimeType": "image/png", "buffer": b"x" * 1_500_000}
        page.set_input_files("#file", large)
        expect(page.locator("#error")).to_have_text(
            "large.png has 2 MB, and 1 MB are allowed: give a smaller or shorter one."
        )
        page.set_input_files("#file", files["hand"])
        expect(page.locator("#status")).to_have_text("No hand in this frame. Draw a box around the hand.")
        expect(page.locator("#error")).to_be_hidden()
        expect(page.locator("#npz")).to_have_attribute("aria-disabled", "true")


def test_video_plays_with_its_skeletons(server, files, new_page):
    page = new_page(server)
    page.emulate_media(reduced_motion="reduce")
    page.set_input_files("#file", files["video"])
    expect(page.locator("#status")).to_have_text("8 frames.")
    for i in (5, 2):
        page.evaluate("(seconds) => { document.getElementById('video').currentTime = seconds; }", 0.1 * i + 0.05)
        check_skeleton(page, dots_at(i))
    page.click("#play")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")


def test_video_that_browsers_cannot_play(server, files, new_page):
    page = new_page(server)
    page.set_input_files("#file", files["unplayable"])
    expect(page.locator("#status")).to_contain_text("3 frames. This browser can't play this video")
    expect(page.locator("#npz")).to_have_attribute("aria-disabled", "false")


def test_camera(server, new_page):
    page = new_page(server)
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#json")).to_have_attribute("aria-disabled", "false")
    expect(page.locator("#rate")).to_contain_text("ms")
    check_skeleton(page, DOTS)
    page.click("#camera")
    expect(page.locator("#status")).to_have_text("The camera is off.")
    with page.expect_download() as download:
        page.click("#json")
    assert download.value.suggested_filename == "predictions.json"


REJECTED = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s'); };"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (REJECTED % "NotAllowedError", "The camera is denied to this page: allow it in the browser's address bar"),
        (REJECTED % "NotReadableError", "The camera is busy: end the other program that uses it"),
        (REJECTED % "NotFoundError", "There is no camera on this machine."),
        (
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });",
            "This browser gives this page no camera: open the page at http://127.0.0.1",
        ),
    ],
)
def test_camera_that_cannot_be_used(server, new_page, script, line):
    page = new_page(server, script)
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#error")).to_contain_text(line)
    expect(page.locator("#drop")).to_be_visible()


def test_adaptation(tmp_path, files, new_page):
    with serving(tmp_path) as url:
        page = new_page(f"{url}/adapt")
        expect(page.locator("#start")).to_be_disabled()
        page.set_input_files("#file", [files["hand"], files["second"], files["notes"]])
        expect(page.locator("#files-text")).to_contain_text("2 pictures")
        expect(page.locator("#error")).to_contain_text("notes.txt: Neither a picture")
        expect(page.locator("input[value=geometric-reconstruction]")).to_be_disabled()
        expect(page.locator("input[value=mean-teacher]")).to_be_checked()
        page.click("#start")
        expect(page.locator("#run-title")).to_contain_text("The model is adapted (mean-teacher)")
        expect(page.locator("#stages li")).to_have_count(2)
        expect(page.locator("#stages li").nth(1)).to_contain_text("600 of 600")
        expect(page.frame_locator("#report").locator("p")).to_have_text("Adapted.")
        expect(page.frame_locator("#report").locator("p")).to_have_css("color", "rgb(255, 0, 0)")
        with page.expect_download() as download:
            page.click("#model-zip")
        assert download.value.suggested_filename == "model.zip"


def test_cancelled_adaptation(tmp_path, files, new_page):
    with serving(tmp_path, mode="hang") as url:
        page = new_page(f"{url}/adapt")
        page.set_input_files("#file", files["video"])
        expect(page.locator("#files-text")).to_contain_text("1 video")
        page.click("#start")
        expect(page.locator("#stages li").nth(1)).to_contain_text("150 of 600")
        expect(page.locator("#run-text")).to_contain_text("About 7 min left in all.")
        expect(page.locator("#setup")).to_be_hidden()
        other = new_page(f"{url}/adapt")  # a second page shows the run
        expect(other.locator("#run-title")).to_contain_text("The model is adapting (geometric-reconstruction)")
        page.click("#cancel")
        expect(page.locator("#run-title")).to_contain_text("The adaptation was cancelled")
        expect(page.locator("#setup")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/adapt"])
def test_phone(server, new_page, files, path):
    page = new_page(server + path, width=360, height=740, scheme="dark")
    page.set_input_files("#file", files["hand"])
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, a, canvas[tabindex]")]
            .filter((control) => !(control.textContent.trim() || control.ariaLabel || control.labels?.length))
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    if path == "/adapt":
        page.click("#remove")
        expect(page.locator("#files")).to_be_hidden()
