"""The page of adaptation in headless Chromium, and both pages on a phone."""

import pytest

from serve.browser import CHROMIUM, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]


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
