"""Checks of a page's HTML, and the smallest record that has a page."""

from html.parser import HTMLParser

from posebridge.contracts.record import Provenance, Record

VOID = {"meta", "line", "path", "rect", "circle", "image", "br", "link", "img"}


class Checker(HTMLParser):
    """Asserts that tags close in order and that the page fetches and runs nothing."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag not in {"script", "iframe", "link", "object"}
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"src", "href"}:
                assert value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def minimal() -> Record:
    provenance = Provenance(command="posebridge demo", seed=0, seconds=3.0)
    return Record("Nothing yet", "source_only", ("wrist",), (), provenance)
