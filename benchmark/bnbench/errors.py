"""Mistakes a user can mend: one clear message, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar


class UserError(Exception):
    """A mistake of the user's: says what is wrong, what exists, and how to mend it.

    The command line prints the message on stderr and exits with code 2; nothing has been written.
    """

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(problem if hint is None else f"{problem}\n{hint}")


class MissingDataError(UserError):
    """A dataset that is known but has not been fetched or imported on this machine."""


class OutdatedDataError(UserError):
    """A dataset that an older version imported, and that must be imported again."""


_FEW = 5
"""So many mistakes of one file are told: who has mended these will see the next."""
_LONGEST = 200
"""Characters of a value, or a key, that a message quotes."""

_ALIKE = 0.6
"""From what likeness on (`difflib`: 1 is the same) one name may be meant by another."""

_Mistake = TypeVar("_Mistake")


def few(mistakes: Sequence[_Mistake], explain: Callable[[_Mistake], str]) -> str:
    """A line for each of the first few of many mistakes, and how many more there are."""
    more = len(mistakes) - _FEW
    return "\n".join([*map(explain, mistakes[:_FEW]), *([f"… and {more:,} more like these"] if more > 0 else [])])


def cut(text: str) -> str:
    """What a message quotes of somebody's text: all of it, unless it is very long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a mistyped one, or None when nothing comes close.

    Of dotted names every part must be alike: what stands before the dot is no reason to take one key for another. A
    name without a dot is compared with what stands behind the last one.
    """
    alike = [(_likeness(name, each), each) for each in known]
    best = max(alike, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= _ALIKE else None


def _likeness(name: str, known: str) -> float:
    asked, parts = name.split("."), known.split(".")
    if len(asked) == 1:
        parts = parts[-1:]
    if len(asked) != len(parts):
        return 0.0
    return min(difflib.SequenceMatcher(None, own, other).ratio() for own, other in zip(asked, parts, strict=True))


def unknown(
    kind: str, name: str, known: Iterable[str], *, hint: str | None = None, meant: str | None = None
) -> UserError:
    """The error for a name that is not in a table: what was asked for, the nearest name, all names.

    Args:
        kind: what the table has, "problem".
        name: what was asked for.
        known: what there is.
        hint: what else helps.
        meant: what such a name means to others; told if it is among those there are, and else the nearest.
    """
    names = list(known)
    guess = meant if meant in names else nearest(name, names)
    question = f" Did you mean '{guess}'?" if guess else ""
    several = kind if kind.endswith("s") else f"{kind}s"
    listing = f"Known {several}: {', '.join(names)}." if names else f"No {several} are known."
    return UserError(f"unknown {kind} '{name}'.{question}", hint=listing if hint is None else f"{listing}\n{hint}")
