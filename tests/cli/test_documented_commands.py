"""Every command in the docs can be parsed: its name, its flags and their values."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from posebridge.cli.commands import COMMANDS, with_method_flag

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDERS = {"FX": "500", "FY": "500", "CX": "320", "CY": "240"}


def commands(page: Path) -> list[str]:
    """Lines of a page's code blocks that call posebridge."""
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("posebridge ")]


CASES = [(page.relative_to(ROOT), line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), CASES, ids=[f"{page}-{i}" for i, (page, _) in enumerate(CASES)])
def test_parsed(page, line):
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True)[1:]]
    if words == ["COMMAND", "--help"]:
        return
    words = with_method_flag(words)
    assert words[0] in COMMANDS, f"{page}: {line}"
    try:
        tyro.extras.subcommand_cli_from_dict(dict(COMMANDS), args=words, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit:
        pytest.fail(f"{page} has a command that can't be read: {line}")
