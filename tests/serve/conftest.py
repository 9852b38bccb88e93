"""Pages in headless Chromium, with a camera that is fed from a file. Nothing but the server can be reached."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from data.on_disk import write_image
from deployment.rigged import draw_dots
from serve.browser import CHROMIUM, DOTS, FLAGS, serving, write_clip


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


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def browser(files) -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        camera = f"--use-file-for-fake-video-capture={files['camera']}"
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, camera])
        yield found
        found.close()


@pytest.fixture
def new_page(browser) -> Iterator:
    """Opens pages; at the end none of them may have logged an error or a violation of the policy."""
    expect = pytest.importorskip("playwright.sync_api").expect
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
    # Refusals are answers, and a page may outlive the server of its test.
    expected = ("Failed to load resource: the server responded", "net::ERR_CONNECTION_REFUSED")
    assert [problem for problem in problems if not any(text in problem for text in expected)] == []
