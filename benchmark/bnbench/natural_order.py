"""The order in which people read names that hold numbers: shard 2 before shard 10."""

from __future__ import annotations

import re


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """What to sort names by, so that numbers in them count as numbers; names that differ in zeros alone, as texts."""
    # Every second part is a number; a text before it sorts first where the other name has a number there.
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)], name
