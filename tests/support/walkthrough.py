"""Does what docs/adding-a-problem.md says, command by command, and holds what is printed against what it shows.

python tests/support/walkthrough.py            # the differences
python tests/support/walkthrough.py --write    # puts what was printed into the document
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-a-problem.md"

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_REST = "…"
"""Alone on a line: more follows that is not shown."""

_PROGRESS = re.compile(r"  .*: epoch \d+/\d+, .* samples/s")
"""Said of a run that takes long, so whether it is depends on the machine."""

PACKAGE = "stripes_for_bnbench"


@dataclass(frozen=True)
class Shown:
    """One command of the document."""

    command: str
    documented: str
    """What the document says it prints."""
    obtained: str
    """What it printed, without trailing spaces."""
    span: tuple[int, int]
    """Where the documented output stands in the document."""


def follow(document: str, folder: Path) -> list[Shown]:
    """Make the files that a document shows and run its commands, in order, in an empty folder."""
    shown: list[Shown] = []
    times: Counter[str] = Counter()
    installed = False
    for block in _BLOCK.finditer(document):
        language, text = block["language"], block["text"]
        if language == "":
            line, _, documented = text.partition("\n")
            assert line.startswith("$ "), f"a block without a language is no command: {line}"
            command = line.removeprefix("$ ")
            if command.startswith("pip install"):
                installed = True
                continue
            if documented.startswith("Error: stripes_two_conv.toml: unknown architecture"):
                installed = False  # "Where the package is not installed"
            times[command] += 1
            prepare = _MISTAKES.get((command, times[command]))
            if prepare is not None:
                name, contents = prepare((folder / "mine.toml").read_text(encoding="utf-8"))
                (folder / name).write_text(contents, encoding="utf-8")
            start = block.start("text") + len(line) + 1
            shown.append(Shown(command, documented, _run(command, folder, installed), (start, block.end("text"))))
        else:
            _save(language, text, folder)
    return shown


def comparable(output: str) -> str:
    """Output without what differs between machines and moments: numbers, ids, the order in which runs end, wrapping.

    Nor how far a sweep is, which slow machines say more often.
    """
    lines = [re.sub(r"[0-9a-f]{12}", "ID", line) for line in output.splitlines()]
    lines = [re.sub(r"\d[\d,.]*", "0", line) for line in lines if not re.fullmatch(r"\s*─+\s*", line)]
    ended = sorted(line for line in lines if line.startswith("[0/0]"))
    others = [line for line in lines if not re.match(r"\[0/0\]|after 0 (s|min)\b", line)]
    return " ".join(" ".join([*ended, *others]).split())


def agrees(shown: Shown) -> bool:
    """Whether a command printed what the document says."""
    documented, obtained = comparable(shown.documented), comparable(shown.obtained)
    if shown.documented.rstrip().endswith(_REST):
        return obtained.startswith(documented.removesuffix(_REST).strip())
    return obtained == documented


def rewritten(document: str, shown: list[Shown]) -> str:
    """The document with what was printed; an output of which only the beginning is shown keeps its length."""
    for each in reversed(shown):
        text = each.obtained
        if each.documented.rstrip().endswith(_REST):
            kept = each.documented.rstrip().splitlines()[:-1]
            text = "\n".join([*text.splitlines()[: len(kept)], _REST]) + "\n"
        document = document[: each.span[0]] + text + document[each.span[1] :]
    return document


def _save(language: str, text: str, folder: Path) -> None:
    """A file that the document shows, under the name that the document gives it."""
    if text.startswith("[build-system]"):
        # Instead of an installation: a module on the path, with the entry points that pip would have written.
        metadata = folder / "package" / f"{PACKAGE}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
        points = re.findall(r'^\[project\.entry-points\."([^"]+)"\]\n(\w+) = "([^"]+)"', text, re.MULTILINE)
        assert points, "the package names no entry points"
        lines = "".join(f"[{group}]\n{name} = {target}\n" for group, name, target in points)
        (metadata / "entry_points.txt").write_text(lines)
    elif language == "python":
        (folder / "package" / f"{PACKAGE}.py").write_text(text, encoding="utf-8")
    elif text.startswith("[[tiny.targets]]"):
        with (folder / "mine.toml").open("a", encoding="utf-8") as file:
            file.write("\n" + text)
    else:
        name = "stripes_two_conv.toml" if "two_conv" in text else "mine.toml"
        (folder / name).write_text(text, encoding="utf-8")


def _changed(old: str, new: str, name: str = "typo.toml") -> Callable[[str], tuple[str, str]]:
    def change(mine: str) -> tuple[str, str]:
        assert old in mine, old
        return name, mine.replace(old, new, 1)

    return change


_MISTAKES: dict[tuple[str, int], Callable[[str], tuple[str, str]]] = {
    ("bnbench show ./typo.toml", 1): _changed("batch_size = 32", "batchsize = 32"),
    ("bnbench show ./typo.toml", 2): _changed("epochs = 10", 'epochs = "ten"'),
    ("bnbench show ./typo.toml", 3): _changed('"3c3d"', '"3c3"'),
    ("bnbench show ./typo.toml", 4): lambda mine: (
        "typo.toml",
        mine + '\n[[targets]]\nmetric = "accuracy"\nsplit = "test"\nlevel = 0.9\n',
    ),
    ("bnbench run ./no_tiny.toml --size tiny --results results", 1): lambda mine: (
        "no_tiny.toml",
        mine.partition("# What differs at --size tiny")[0],
    ),
    ("bnbench show ./My-Problem.toml", 1): lambda mine: ("My-Problem.toml", mine),
}
"""The file with a mistake that the text describes: before the n-th time of a command."""


def _run(command: str, folder: Path, installed: bool) -> str:
    program, *arguments = command.split()
    assert program == "bnbench", command
    path = [str(folder / "package")] if installed else []
    inherited = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*path, *inherited]),
        "BNBENCH_DATA": str(folder / "data"),  # no data fetched, no speed measured
        "COLUMNS": "92",
    }
    done = subprocess.run(
        [sys.executable, "-m", "bnbench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,  # mistakes are shown too
    )
    assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"
    # As a terminal shows it: a ranking stands between the runs' lines and where everything lies.
    where = max(0, done.stderr.find("curves and γ/β trajectories"))
    printed = "".join([done.stderr[:where], done.stdout, done.stderr[where:]])
    lines = [line.rstrip() for line in printed.splitlines() if not _PROGRESS.fullmatch(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def main() -> None:
    """Follow the document; print what differs, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put what was printed into the document")
    options = parser.parse_args()
    document = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shown = follow(document, Path(folder))
    differing = [each for each in shown if not agrees(each)]
    for each in differing:
        print(f"$ {each.command}\n--- documented\n{each.documented}--- obtained\n{each.obtained}")
    if options.write:
        DOCUMENT.write_text(rewritten(document, shown), encoding="utf-8")
    print(f"{len(shown)} commands, {len(differing)} print something else than the document says")
    sys.exit(bool(differing) and not options.write)


if __name__ == "__main__":
    main()
