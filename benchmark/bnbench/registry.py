"""A named table that others can add rows to: installed packages by entry points, users by plug-in files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from bnbench.errors import UserError, unknown
from bnbench.plugins import PluginFile, rows_of_files
from bnbench.row import Row as CheckedRow
from bnbench.row import rows_checked_later

Row = TypeVar("Row")

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_PLAIN = "Names become folder names: lower-case letters, digits and underscores, 64 characters at most."


@dataclass(frozen=True)
class RowSource:
    """Where a row comes from that is not this package's."""

    source: str
    """The name of the package, or of the plug-in file; "session" of one that was registered in a session of Python."""
    version: str | None = None
    """Of the package."""
    sha256: str | None = None
    """Of the file."""


SESSION = RowSource("session")


@dataclass(frozen=True)
class _OfPackage:
    """An entry point that offers a row: it is imported when the row is asked for."""

    point: EntryPoint

    @property
    def owner(self) -> str:
        return f"package '{self._package}'"

    @property
    def place(self) -> str:
        return f"The entry point is {self.point.value}."

    @property
    def source(self) -> RowSource:
        return RowSource(self._package, version=None if self.point.dist is None else self.point.dist.version)

    def load(self) -> object:
        with rows_checked_later():
            return self.point.load()

    @property
    def _package(self) -> str:
        return self.point.dist.name if self.point.dist is not None else "unknown"


@dataclass(frozen=True)
class _OfFile:
    """A row of a plug-in file."""

    row: object
    file: PluginFile

    @property
    def owner(self) -> str:
        return f"plug-in '{self.file.name}'"

    @property
    def place(self) -> str:
        return f"The file is {self.file.path}."

    @property
    def source(self) -> RowSource:
        return RowSource(self.file.name, sha256=self.file.sha256)

    def load(self) -> object:
        return self.row


_Offer = _OfPackage | _OfFile


class Registry(Generic[Row]):
    """Names to rows: the ones this package registers, then those of installed packages and of plug-in files.

    A third-party row is looked at for mistakes (that of a package imported, too) when it is first asked for: a broken
    package breaks only its own names, and listing the names imports nothing.
    """

    def __init__(self, kind: str, row_type: type[Row], group: str) -> None:
        """A table of `kind` (a word for error messages), open to the entry points of `group`."""
        self.kind = kind
        self._row_type = row_type
        self._group = group
        self._rows: dict[str, Row] = {}
        self._loaded: dict[tuple[str, RowSource], Row] = {}
        self._session: dict[str, Row] = {}

    def register(self, name: str, row: Row) -> Row:
        """Add a row of this package's own.

        Raises:
            ValueError: this package has a row of that name.
            TypeError: it is no row of this table.
            UserError: a field of the row cannot be.
        """
        if type(row) is not self._row_type:
            raise TypeError(f"{self.kind} '{name}' is a {type(row).__name__}, not a {self._row_type.__name__}")
        if isinstance(row, CheckedRow):
            row.check()
        if name in self._rows:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self._rows[name] = row
        return row

    def register_for_session(self, row: Row) -> Row:
        """Add a row that this process alone knows, under its own name, in place of one that was added so before.

        It is held to what a row of another package is held to, and is a third party's like that.

        Raises:
            UserError: it is no row of this table, its name is not a plain one, or is this package's or another's.
        """
        name = str(getattr(row, "name", ""))
        if not isinstance(row, self._row_type):
            raise UserError(f"a {type(row).__name__} is no {self.kind}: a {self._row_type.__name__} is needed")
        check_name(self.kind, name)
        if name in self._rows or self._offers(name):
            raise UserError(
                f"{self.kind} '{name}' is there already: numbers of one name must come from one row",
                hint="Give the row another name.",
            )
        self._session[name] = row
        return row

    def names(self) -> list[str]:
        """Every known name: built-in ones in their own order, those of packages sorted, of plug-in files, of a session.

        Those of a plug-in file are in the file's order.
        """
        packages = sorted(name for name in self._of_packages if name not in self._rows)
        return list(dict.fromkeys([*self._rows, *packages, *self._of_files(), *self._session]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._session or bool(self._offers(str(name)))

    def is_third_party(self, name: str) -> bool:
        """Whether a row of that name would be somebody else's: a package's, a plug-in file's or a session's."""
        return name not in self._rows

    def is_of_session(self, name: str) -> bool:
        """Whether a row of that name is known to this process alone."""
        return name in self._session

    def source(self, name: str) -> RowSource | None:
        """Where a row of that name comes from; None where it is this package's own, or nobody's."""
        if name in self._rows:
            return None
        if name in self._session:
            return SESSION
        return next((offer.source for offer in self._offers(name)), None)

    def get(self, name: str) -> Row:
        """The row of that name.

        Raises:
            UserError: no such name, two claim it, or the row that a package or a plug-in file offers cannot be used.
        """
        offers = self._offers(name)
        if offers and (name in self._rows or name in self._session or len(offers) > 1):
            raise self._claimed_twice(name, offers)
        if name in self._rows:
            return self._rows[name]
        if name in self._session:
            return self._session[name]
        if not offers:
            raise unknown(self.kind, name, self.names())
        key = (name, offers[0].source)
        if key not in self._loaded:
            self._loaded[key] = self._load(name, offers[0])
        return self._loaded[key]

    def _offers(self, name: str) -> list[_Offer]:
        """Whoever else claims the name: one, unless they are in each other's way."""
        return [*map(_OfPackage, self._of_packages.get(name, ())), *self._of_files().get(name, ())]

    @cached_property
    def _of_packages(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self._group):
            found.setdefault(point.name, []).append(point)
        return found

    def _of_files(self) -> dict[str, list[_OfFile]]:
        """Names to the rows of the plug-in files that are loaded; one that they have from here or a package is not."""
        found: dict[str, list[_OfFile]] = {}
        for row, file in rows_of_files(self._row_type):
            name = str(getattr(row, "name", ""))
            if row is not self._rows.get(name) and not self._is_of_a_package(name, row):
                found.setdefault(name, []).append(_OfFile(row, file))
        return found

    def _is_of_a_package(self, name: str, row: Row) -> bool:
        return any(
            row is self._loaded.get((name, _OfPackage(point).source)) for point in self._of_packages.get(name, ())
        )

    def _claimed_twice(self, name: str, offers: list[_Offer]) -> UserError:
        owners = [offer.owner for offer in offers]
        if name in self._rows:
            owners.insert(0, "bnbench itself")
        if name in self._session:
            owners.append("a row of this session")
        return UserError(
            f"{self.kind} '{name}' is offered by {' and '.join(owners)}",
            hint="Names must be unique: give the row another name, uninstall a package, or ask its author.",
        )

    def _load(self, name: str, offer: _Offer) -> Row:
        title = f"{self.kind} '{name}' of {offer.owner}"
        if not _NAME.fullmatch(name):
            raise UserError(f"{title} cannot be used: not a plain name", hint=_PLAIN)
        try:
            row = offer.load()
        except Exception as error:  # whatever a third-party module raises
            raise UserError(f"{title} cannot be loaded: {type(error).__name__}: {error}", hint=offer.place) from error
        # Exactly: what a subclass does otherwise, nobody would look for under this row's name.
        if type(row) is not self._row_type:
            raise UserError(
                f"{title} is a {type(row).__name__}, not a {self._row_type.__name__}",
                hint=f"{offer.place} It must be a {self._row_type.__name__}.",
            )
        if getattr(row, "name", name) != name:
            raise UserError(
                f"{title} calls itself '{getattr(row, 'name', '')}'",
                hint="The entry point's name and the row's own name must agree.",
            )
        if isinstance(row, CheckedRow):
            try:
                row.check()
            except UserError as error:
                raise UserError(f"{title} cannot be used: {error.problem}", hint=error.hint or offer.place) from error
        return row


def check_name(kind: str, name: str) -> None:
    """Refuse a row's name that could be no part of a folder's.

    Raises:
        UserError: it is not a plain one.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{kind} '{name}' cannot be used: not a plain name", hint=_PLAIN)
