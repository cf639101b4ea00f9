"""Damaged files are kept, out of the way: someone may want to know what happened to them."""

from __future__ import annotations

import itertools
from pathlib import Path

from bnbench.storage.files import sync_folder

SET_ASIDE = "set-aside"
"""The folder inside a run's folder that damaged files are moved to. Nothing ever reads it."""


def set_aside(run_folder: Path, path: Path) -> str:
    """Move a file of a run out of the way, under a name that is still free.

    Returns:
        Where it went, as the end of a sentence.

    Raises:
        OSError: it cannot be moved.
    """
    folder = run_folder / SET_ASIDE
    folder.mkdir(exist_ok=True)
    names = (f"{path.name}.{number}" for number in itertools.count(1))
    target = next(folder / name for name in names if not (folder / name).exists())
    path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return f"set aside as {SET_ASIDE}/{target.name}"
