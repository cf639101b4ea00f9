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

_Mistake = TypeVar("_Mistake")


def few(mistakes: Sequence[_Mistake], explain: Callable[[_Mistake], str]) -> str:
    """A line for each of the first few of many mistakes, and how many more there are."""
    more = len(mistakes) - _FEW
    return "\n".join([*map(explain, mistakes[:_FEW]), *([f"… and {more:,} more like these"] if more > 0 else [])])


def cut(text: str) -> str:
    """What a message quotes of somebody's text: all of it, unless it is very long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a mistyped one, or None when nothing comes close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> UserError:
    """The error for a name that is not in a table: what was asked for, the nearest name, all names."""
    names = list(known)
    guess = nearest(name, names)
    meant = f" Did you mean '{guess}'?" if guess else ""
    several = kind if kind.endswith("s") else f"{kind}s"
    listing = f"Known {several}: {', '.join(names)}." if names else f"No {several} are known."
    return UserError(f"unknown {kind} '{name}'.{meant}", hint=listing if hint is None else f"{listing}\n{hint}")
