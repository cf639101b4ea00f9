"""Paths as people give them: one meaning everywhere, in options, files, variables and in Python."""

from __future__ import annotations

import os
from pathlib import Path

from bnbench.errors import UserError


class _Start:
    """Whether the working directory was gone when this process looked."""

    gone = False


def given_path(text: str | os.PathLike[str], what: str) -> Path:
    """The path that a text names: a leading `~` or `~user` is a home folder, whatever shell or file it came through.

    Args:
        text: as given.
        what: what it was given as, for messages: "--results", "BNBENCH_DATA".

    Raises:
        UserError: it is empty, there is no such home folder, or it is relative to a folder that has been removed.
    """
    given = os.fspath(text)
    if not given:
        raise UserError(f"{what} is empty; is a variable unset?")
    path = expand_home(given)
    if path.is_absolute():
        return path
    here = working_directory()
    if here is None:
        raise UserError(
            f"{what} '{path}' leads nowhere: the working directory has been removed",
            hint="Change into a folder that exists, or give an absolute path.",
        )
    # pathlib drops the dot of ./~, and who reads the path next would take the rest for a home folder.
    return here / path if str(path).startswith("~") else path


def expand_home(text: str) -> Path:
    """The path, from a home folder where it begins with `~`; `./~` is a name like any other.

    Raises:
        UserError: there is no such home folder.
    """
    if not text.startswith("~"):
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        first = Path(text).parts[0]
        raise UserError(
            f"'{text}': there is no home folder {first}", hint=f"A name that begins so is written ./{first}."
        ) from error


def working_directory() -> Path | None:
    """The working directory; None where it has been removed."""
    if _Start.gone:
        return None
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def leave_lost_directory() -> None:
    """Stand in the root folder if the working directory has been removed: libraries cannot be loaded from nowhere.

    For the start of a command; `given_path` goes on to refuse relative paths.
    """
    if working_directory() is None:
        _Start.gone = True
        os.chdir("/")
