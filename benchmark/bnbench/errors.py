"""Mistakes a user can mend: one clear message, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a mistyped one, or None when nothing comes close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> UserError:
    """The error for a name that is not in a table: what was asked for, the nearest name, all names."""
    names = list(known)
    guess = nearest(name, names)
    meant = f" Did you mean '{guess}'?" if guess else ""
    listing = f"Known {kind}s: {', '.join(names)}." if names else f"No {kind}s are known."
    return UserError(f"unknown {kind} '{name}'.{meant}", hint=listing if hint is None else f"{listing}\n{hint}")
