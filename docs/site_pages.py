"""Pages of the documentation site that are made while it is built: files of the repository's root, and the API."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "posebridge"
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Appends the pages of the API to the navigation."""
    assert config.nav is not None
    config.nav.append({"API": [{name: f"api/{name}.md"} for name in packages()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for source, page in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = f"# License\n\n```text\n{text}```\n" if source == "LICENSE" else from_root(text)
        files.append(File.generated(config, page, content=content))
    for name, modules in packages().items():
        blocks = "\n\n".join(f"::: {module}" for module in modules)
        files.append(File.generated(config, f"api/{name}.md", content=f"# {name}\n\n{blocks}\n"))
    return files


def packages() -> dict[str, list[str]]:
    """Dotted names of the modules of each package that has any, without empty ``__init__.py`` files."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        names = path.relative_to(SOURCES.parent).with_suffix("").parts
        if names[-1] in ("__init__", "__main__"):
            if names[-1] == "__main__" or not path.read_text(encoding="utf-8").strip():
                continue
            names = names[:-1]
        package = ".".join(names[1:-1] if path.stem != "__init__" else names[1:]) or "posebridge"
        found.setdefault(package, []).append(".".join(names))
    return dict(sorted(found.items(), key=lambda item: (item[0] != "posebridge", item[0])))


def from_root(markdown: str) -> str:
    """Links of a page of the repository's root, as links of a page of the site.

    Files that the site doesn't have lose their link and keep their text.
    """

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or "://" in target:
            return match[0]
        if target in ROOT_PAGES:
            return f"[{text}]({ROOT_PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"{image}[{text}]({target.removeprefix('docs/')}{anchor})"
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"a page of the repository's root links to {target}, which does not exist")
        return text

    return _LINK.sub(link, markdown)
