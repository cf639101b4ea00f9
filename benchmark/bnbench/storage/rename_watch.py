"""A results folder that is renamed while its runs are trained must not appear a second time under its old name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bnbench.storage.files import StorageError, reported


class RenameWatch:
    """Keeps hold of a folder, and notices when it is no more where it was; a context that lets go when it ends."""

    def __init__(self, folder: Path) -> None:
        """Takes hold of it.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        self._folder = folder
        self._descriptor: int | None = None
        if os.name == "posix":  # other systems cannot open a folder, and rename none with open files in it
            with reported(folder, "read"):
                self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def check(self) -> None:
        """Make sure that the folder's name still means this folder.

        Raises:
            StorageError: it was renamed, moved or removed; says where it is now, if that can be told.
        """
        if self._descriptor is None or self._is_in_place(self._descriptor):
            return
        place = self._place(self._descriptor)
        raise StorageError(
            f"{self._folder} was renamed, moved or removed while its runs were trained; they were ended, and nothing "
            "is written under the old name",
            hint="What they had put on disk is kept where the folder is now: name that with --results and they go on."
            if place is None
            else f"What they had put on disk is kept in {place}: with --results {place} they go on.",
        )

    def _is_in_place(self, descriptor: int) -> bool:
        held = os.fstat(descriptor)
        try:
            named = self._folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a file server that does not answer has renamed nothing
        # What is held keeps its number, also where numbers are made up as they are asked for.
        return os.path.samestat(held, named)

    def _place(self, descriptor: int) -> Path | None:
        with suppress(OSError):
            place = Path(f"/proc/self/fd/{descriptor}").readlink()
            if place.is_dir() and os.path.samestat(place.stat(), os.fstat(descriptor)):
                return place
        return None
