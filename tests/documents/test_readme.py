"""The README and the documents name only commands, options, targets and files that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from bnbench.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def command_lines(text: str) -> list[list[str]]:
    """Every `bnbench …` that a document shows, in a block after a `$` or in backticks, as words."""
    shown = re.findall(r"^\$ (bnbench [^\n|>&]*)", text, re.MULTILINE) + re.findall(r"`(bnbench [^`\n]+)`", text)
    return [shlex.split(line.replace("…", "").replace("...", ""), comments=True)[1:] for line in shown]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_and_option_shown_exists(document):
    context = click.Context(main)
    for words in command_lines(document.read_text(encoding="utf-8")):
        command: click.Command = main
        names = [word for word in words if not word.startswith("-")]
        while isinstance(command, click.Group) and names and re.fullmatch(r"[a-z]+", names[0]):
            found = command.get_command(context, names.pop(0))
            assert found is not None, f"{document.name}: bnbench {shlex.join(words)}"
            command = found
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", "--version"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"{document.name}: bnbench {shlex.join(words)}"


def test_the_readme_shows_the_main_job():
    lines = command_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"list", "show", "run", "rank", "status", "data"} <= {words[0] for words in lines if words}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_within_the_repository_leads_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_make_target_shown_exists(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text(encoding="utf-8")))
    assert shown <= targets
