import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posebridge.report.page import write_report
from report.reconstructed_record import reconstructed_record
from report.synthetic_record import synthetic_record


def browse(page: Path, *arguments: str) -> bytes:
    """Run headless Chromium on a page, without network."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    offline = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    offline += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    profile = page.parent / f"profile_{len(list(page.parent.iterdir()))}"
    command = [browser, *flags, *offline, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, check=True, timeout=90).stdout


def test_page_shows_its_numbers_in_a_browser(tmp_path):
    page = tmp_path / "report.html"
    write_report(synthetic_record(), page)
    dom = browse(page, "--dump-dom").decode()
    for element, text in {
        "pck-source_only": "0.412",
        "pck-adapted": "0.574",
        "pck-supervised_target": "0.861",
        "gap-closed": "36%",
        "chosen-step": "1400",
    }.items():
        assert re.search(rf'id="{element}">{re.escape(text)}<', dom), element
    assert dom.count('class="overlay"') == 12

    browse(page, f"--screenshot={tmp_path / 'wide.png'}", "--window-size=1280,3200")
    picture = np.asarray(Image.open(tmp_path / "wide.png").convert("RGB")).astype(int)
    assert picture.shape == (3200, 1280, 3)
    # The whole length of the light page has content, some of it in the accent colour.
    assert ((picture.std((1, 2)) > 2).reshape(16, 200).any(1)).all()
    assert picture.mean() > 200
    assert (np.abs(picture - [15, 123, 108]).max(-1) < 12).mean() > 0.005


@pytest.mark.parametrize("record", [synthetic_record(), reconstructed_record()], ids=["scored", "reconstructed"])
def test_page_fits_a_phone(tmp_path, record):
    page = tmp_path / "report.html"
    write_report(record, page)
    probe = page.read_text().replace(
        "</body>", "<script>document.title = 'wide ' + document.documentElement.scrollWidth</script></body>"
    )
    page.write_text(probe)
    width = int(
        re.search(r"<title>wide (\d+)</title>", browse(page, "--window-size=500,900", "--dump-dom").decode())[1]
    )
    assert width <= 500
