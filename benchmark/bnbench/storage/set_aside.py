"""Damaged files are kept, out of the way: someone may want to know what happened to them."""

from __future__ import annotations

import itertools
from pathlib import Path

from bnbench.storage.files import sync_folder
from bnbench.storage.workspace import Workspace

SET_ASIDE = "set-aside"
"""The folder inside a run's folder that damaged files are moved to. Nothing ever reads it."""


def set_aside(workspace: Workspace, path: Path) -> str:
    """Move a file of a run out of the way, under a name that is still free.

    Args:
        workspace: of the run's writer.
        path: a file in it, or in the run's folder.

    Returns:
        Where it went, as the end of a sentence.

    Raises:
        LockLostError: another writer has swallowed the workspace.
        OSError: it cannot be moved.
    """
    folder = workspace.run_folder / SET_ASIDE
    folder.mkdir(exist_ok=True)
    inside = workspace.path / path.name
    if path != inside:
        # By way of the workspace: that leads nowhere once this process is no longer the run's writer.
        workspace.move(path, inside)
    names = (f"{path.name}.{number}" for number in itertools.count(1))
    target = next(folder / name for name in names if not (folder / name).exists())
    workspace.move(inside, target)
    sync_folder(folder)
    sync_folder(path.parent)
    return f"set aside as {SET_ASIDE}/{target.name}"
