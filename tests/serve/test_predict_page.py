"""The page of predictions in headless Chromium."""

import numpy as np
import pytest

from serve.browser import CHROMIUM, DOTS, LeftHand, check_skeleton, dots_at, picture_of, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]


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
