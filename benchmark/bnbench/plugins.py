"""Plug-in files: Python files of a user's own whose rows the tables have for as long as a process lasts.

A file is named by `--plugin mine.py`, or in Python by `plugins=["mine.py"]`. Every instance of a row's class that it
has at the level of its module is a row of that class's table, under the row's own name; what begins with an underscore
is the file's own business. It is imported under a name that no other module has, `bnbench_plugin_mine`, so a row names
a function of its own file by f"{__name__}:function".

Other processes (workers, jobs of a cluster) load the same file by its path, and only if its content is the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from bnbench.errors import UserError
from bnbench.paths import given_path
from bnbench.row import rows_checked_later

Row = TypeVar("Row")

_STEM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX = "bnbench_plugin_"
_LIMIT = 4 << 20
"""Bytes of a file; more is no file of rows."""
DIGITS = 12
"""Of a digest, where people read it."""


@dataclass(frozen=True)
class PluginFile:
    """A file of rows: where it lies on this machine, and what it was when it was loaded."""

    path: Path
    """Absolute; no part of any id or table."""
    sha256: str

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.path.name


@dataclass(frozen=True)
class _Loaded:
    file: PluginFile
    module: ModuleType


_loaded: dict[str, _Loaded] = {}
"""By the name of the module."""


def load_plugin(path: str | os.PathLike[str]) -> PluginFile:
    """Import a plug-in file; one that is loaded already, and has not changed since, is left as it is.

    Args:
        path: of the file, which ends in .py; a leading `~` is a home folder.

    Raises:
        UserError: it cannot be read or imported, has no row, or another file of that name is loaded.
    """
    found = Path(os.path.abspath(given_path(path, "--plugin")))  # noqa: PTH100 -- resolve() would follow links
    if found.suffix != ".py" or not _STEM.fullmatch(found.stem):
        raise UserError(
            f"plug-in '{path}': the name of a Python file is needed, of letters, digits and underscores",
            hint="For example --plugin mine.py.",
        )
    source = _read(found)
    file = PluginFile(found, hashlib.sha256(source).hexdigest())
    name = f"{_PREFIX}{found.stem}"
    there = _loaded.get(name)
    if there is not None and there.file == file:
        return file
    if there is not None and there.file.path != found:
        raise UserError(
            f"two plug-ins are called {file.name}: {there.file.path} and {found}",
            hint="Runs record the name of the file: give one of them another.",
        )
    module = _imported(name, found, source)
    if not any(map(_may_be_row, _public(module))):
        sys.modules.pop(name, None)
        raise UserError(
            f"plug-in '{file.name}' has no row: nothing at the level of its module is a Variant, Normaliser, "
            "Architecture, Dataset or another row of a table",
            hint="Give the row a name of its own there, without an underscore: mine = Normaliser(…).",
        )
    _loaded[name] = _Loaded(file, module)
    return file


def load_again(files: Iterable[PluginFile]) -> None:
    """Load in this process what another one has loaded.

    Raises:
        UserError: a file is not there, or is another one than it was when the runs were planned.
    """
    for file in files:
        there = _loaded.get(f"{_PREFIX}{file.path.stem}")
        if there is None or there.file != file:
            require_unchanged([file])
            load_plugin(file.path)


def require_unchanged(files: Iterable[PluginFile]) -> None:
    """Refuse files that are not any more what they were when they were loaded.

    Raises:
        UserError: of the first that is gone or has changed.
    """
    for file in files:
        now = hashlib.sha256(_read(file.path)).hexdigest()
        if now != file.sha256:
            raise UserError(
                f"plug-in '{file.name}' changed after the runs were planned: its SHA-256 was {file.sha256[:DIGITS]}… "
                f"and is {now[:DIGITS]}…",
                hint="Start the command again.",
            )


def loaded_plugins() -> tuple[PluginFile, ...]:
    """The files that this process has loaded."""
    return tuple(each.file for each in _loaded.values())


def rows_of_files(row_type: type[Row]) -> Iterator[tuple[Row, PluginFile]]:
    """The rows of a class in the files that this process has loaded, each once, and the file of each."""
    for each in _loaded.values():
        seen: set[int] = set()
        for value in _public(each.module):
            if isinstance(value, row_type) and id(value) not in seen:
                seen.add(id(value))
                yield value, each.file


def _public(module: ModuleType) -> list[object]:
    return [value for name, value in vars(module).items() if not name.startswith("_")]


def _may_be_row(value: object) -> bool:
    """Whether it is an instance of a dataclass of this package's that has a name."""
    if isinstance(value, type) or not is_dataclass(value) or not isinstance(getattr(value, "name", None), str):
        return False
    return any(each.__module__.startswith("bnbench.") for each in type.mro(type(value)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            source = file.read(_LIMIT + 1)
    except OSError as error:
        raise UserError(
            f"plug-in '{path}' cannot be read: {error.strerror or error}",
            hint="Whoever trains, a worker here or a job of a cluster, must see the file under this name too.",
        ) from error
    if len(source) > _LIMIT:
        raise UserError(f"plug-in '{path}' has more than {_LIMIT >> 20} MiB: is it a Python file?")
    return source


def _imported(name: str, path: Path, source: bytes) -> ModuleType:
    """The file as a module, under a name in `sys.modules`."""
    before = sys.modules.get(name)
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        with rows_checked_later():
            exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:  # whatever a file of somebody's raises
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise UserError(
            f"plug-in '{path.name}' cannot be loaded: {type(error).__name__}: {error}", hint=_place(error, path)
        ) from error
    return module


def _place(error: BaseException, path: Path) -> str | None:
    """The line of the file at which an error came up."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return None if line is None else f"In line {line} of {path}."
