"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, what: str, several: str | None = None) -> str:
    """So many of something: "1 run", "5 runs", "2 studies".

    Args:
        number: how many.
        what: one of them.
        several: more than one of them, where an s does not make it.
    """
    return f"{number} {what if number == 1 else several or what + 's'}"
