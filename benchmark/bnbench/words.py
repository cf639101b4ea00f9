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


def duration(seconds: float | None) -> str:
    """A time in the two units that matter: "45 s", "12 min", "3 h 20 min", "2 d 4 h"; "?" where unknown."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"
