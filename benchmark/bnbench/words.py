"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """So many of something: "1 run", "5 runs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
