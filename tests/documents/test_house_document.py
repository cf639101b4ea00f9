"""docs/house.md: it knows every room, from the top down as the contract has them, and where things lie."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "benchmark" / "bnbench"
TEXT = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[tuple[str, str]]:
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        (cells[0], cells[1])
        for line in part.splitlines()
        if line.startswith("| ") and not line.startswith(("| room", "| to …"))
        for cells in [[cell.strip() for cell in line.strip("| ").split(" | ")]]
    ]


def test_every_room_is_there_once_from_the_top_down():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    levels = [re.findall(r"\w+", level) for level in contracts[0]["layers"][1:]]
    named = [name for cell, _ in rows("Rooms") for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(name for level in levels for name in level)
    level_of = {name: number for number, level in enumerate(levels) for name in level}
    assert [level_of[name] for name in named] == sorted(level_of[name] for name in named)


def test_what_it_sends_people_to_is_there():
    mentioned = re.findall(r"`([a-z_/]+(?:\.py|/))`", TEXT)
    assert len(mentioned) > 12
    for path in mentioned:
        assert (PACKAGE / path).exists() or (ROOT / path).exists(), path
