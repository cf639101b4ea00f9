"""Workspaces: each writer of a run has a folder of its own inside the run's, and that folder is its right to write.

Whatever a writer makes it makes in there: parts, checkpoints, files under construction. What becomes part of the
result is renamed out of it; what stands in the way (a record that the run failed, half-written tables, an old lock) is
renamed into it and goes there. Who takes a run over swallows the workspaces of all earlier writers, one rename each,
before it looks at anything else in the run's folder.

From that moment every path that an earlier writer knows leads nowhere. Whatever instant it slept at, its next rename,
link or unlink ends in "no such file": there is no check before a write that could be out of date by the time of the
write, since the write is the check. One call may have been under way in the system when the folder was swallowed; it
ends before the taker looks, or finds the old folder removed, and then it fails too.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bnbench.storage.files import reported, sync_folder, temporary_name

_NAME = re.compile(r"work-[0-9a-f]{16}")
_PATIENCE = 100
"""How often a swallowed folder is emptied again: calls under way add a file or two, and files that a network file
system keeps under another name because they are open here do not go."""


class LockLostError(Exception):
    """The run has another writer now: this process was silent for so long that it was given up."""


@dataclass(frozen=True)
class Workspace:
    """What one writer of a run works in."""

    run_folder: Path
    path: Path
    """Inside the run's folder, under a name that no other writer ever has."""

    def check(self) -> None:
        """Make sure that it is still there.

        Raises:
            LockLostError: another writer has swallowed it.
        """
        if not self.path.is_dir():
            raise self.lost()

    def lost(self) -> LockLostError:
        """The error of a writer that is none any more."""
        return LockLostError(f"{self.run_folder.name} was given up by this process and has another writer now")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Say of whatever goes wrong in a block whether it is because the run has another writer.

        Raises:
            LockLostError: the block raised an error, and the workspace is gone.
        """
        try:
            yield
        except Exception:
            with suppress(OSError):  # then that cannot be told, and the error stands
                self.check()
            raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what went wrong in a block that writes the run: the folder and the reason, or that it is another's now.

        Raises:
            LockLostError: the block raised an error, and the workspace is gone.
            StorageError: the block raised an OSError.
        """
        with self.owned(), reported(self.run_folder):
            yield

    def discard(self, path: Path) -> None:
        """Remove a file of the run's folder, if it is there.

        Raises:
            LockLostError: another writer has swallowed the workspace.
            OSError: it cannot be removed.
        """
        target = self.path / temporary_name(path.name)
        if self.move(path, target):
            target.unlink(missing_ok=True)

    def move(self, source: Path, target: Path) -> bool:
        """Rename a file, from or into the workspace.

        Returns:
            Whether it was there.

        Raises:
            LockLostError: another writer has swallowed the workspace.
            OSError: it cannot be renamed.
        """
        try:
            source.replace(target)
        except FileNotFoundError:
            self.check()
            return False
        return True

    def swallow_others(self) -> None:
        """Make this the only workspace of the run: what earlier writers kept is in it from now on, they are shut out.

        Raises:
            LockLostError: another writer has swallowed this one.
            OSError: something cannot be moved.
        """
        swallowed = False
        while others := [path for path in workspaces(self.run_folder) if path != self.path]:
            for other in others:
                inside = self.path / f"swallowed-{secrets.token_hex(4)}"
                if self.move(other, inside):
                    swallowed = True
                    self._empty(inside)
        if swallowed:
            sync_folder(self.path)

    def leave(self) -> None:
        """Remove it if it is empty; with something in it, it waits for the next writer."""
        with suppress(OSError):
            self.path.rmdir()

    def _empty(self, folder: Path) -> None:
        """Take everything out of a swallowed folder, and remove it: nothing can be written through it then."""
        for _ in range(_PATIENCE):
            for path in sorted(folder.iterdir()):
                if path.is_dir():  # its owner was just swallowing, or putting something together
                    self._empty(path)
                elif path.name.startswith(".") or folder.name.startswith("."):  # on its way to a name, or from one
                    path.unlink(missing_ok=True)
                else:
                    self.move(path, self.path / path.name)
            try:
                folder.rmdir()
            except OSError:
                if not any(folder.iterdir()):
                    raise
            else:
                return


def make_workspace(run_folder: Path) -> Workspace:
    """A workspace for a writer to be, inside a run's folder that is there.

    Raises:
        OSError: it cannot be made.
    """
    path = run_folder / f"work-{secrets.token_hex(8)}"
    path.mkdir()
    return Workspace(run_folder, path)


def workspaces(run_folder: Path) -> list[Path]:
    """The workspaces in a run's folder: a run that was begun and has not ended has one, whoever writes it.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        return sorted(path for path in run_folder.iterdir() if _NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def kept_files(run_folder: Path) -> list[Path]:
    """Every file in the workspaces of a run, those included that are being swallowed: for who only looks.

    Raises:
        OSError: the folder cannot be read.
    """
    walks = (os.walk(path) for path in workspaces(run_folder))
    return [Path(folder, name) for walk in walks for folder, _, names in walk for name in names]
