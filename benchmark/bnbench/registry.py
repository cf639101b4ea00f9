"""A named table that third-party packages can add rows to: a dict, a decorator, and entry points."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from bnbench.errors import UserError, unknown
from bnbench.row import Row as CheckedRow
from bnbench.row import rows_checked_later

Row = TypeVar("Row")

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_PLAIN = "Names become folder names: lower-case letters, digits and underscores, 64 characters at most."


class Registry(Generic[Row]):
    """Names to rows: the ones this package registers, then those of installed third-party packages.

    A third-party row is imported, and looked at for mistakes, when it is first asked for: a broken package breaks
    only its own names, and listing the names imports nothing.
    """

    def __init__(self, kind: str, row_type: type[Row], group: str) -> None:
        """A table of `kind` (a word for error messages), open to the entry points of `group`."""
        self.kind = kind
        self._row_type = row_type
        self._group = group
        self._rows: dict[str, Row] = {}
        self._loaded: dict[str, Row] = {}
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
        if name in self._rows or name in self._third_party:
            raise UserError(
                f"{self.kind} '{name}' is there already: numbers of one name must come from one row",
                hint="Give the row another name.",
            )
        self._session[name] = row
        return row

    def names(self) -> list[str]:
        """Every known name: built-in ones in their own order, then third-party ones sorted, then this session's."""
        others = sorted(name for name in self._third_party if name not in self._rows)
        return [*self._rows, *others, *self._session]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._third_party or name in self._session

    def is_third_party(self, name: str) -> bool:
        """Whether a row of that name would be another package's."""
        return name not in self._rows

    def is_of_session(self, name: str) -> bool:
        """Whether a row of that name is known to this process alone."""
        return name in self._session

    def get(self, name: str) -> Row:
        """The row of that name.

        Raises:
            UserError: no such name, two packages claim it, or the third-party package that offers it cannot be loaded.
        """
        offers = self._third_party.get(name, [])
        if offers and (name in self._rows or len(offers) > 1):
            raise self._claimed_twice(name, offers)
        if name in self._rows:
            return self._rows[name]
        if name in self._session:
            return self._session[name]
        if not offers:
            raise unknown(self.kind, name, self.names())
        if name not in self._loaded:
            self._loaded[name] = self._load(offers[0])
        return self._loaded[name]

    @cached_property
    def _third_party(self) -> dict[str, list[EntryPoint]]:
        """Name to the entry points that claim it: one, unless packages are in each other's way."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self._group):
            found.setdefault(point.name, []).append(point)
        return found

    def _claimed_twice(self, name: str, offers: list[EntryPoint]) -> UserError:
        packages = " and ".join(f"package '{_package(point)}'" for point in offers)
        owner = "bnbench itself and " if name in self._rows else ""
        return UserError(
            f"{self.kind} '{name}' is offered by {owner}{packages}",
            hint="Names must be unique: uninstall a package, or ask its author for another name.",
        )

    def _load(self, point: EntryPoint) -> Row:
        if not _NAME.fullmatch(point.name):
            raise UserError(
                f"{self.kind} '{point.name}' of package '{_package(point)}' cannot be used: not a plain name",
                hint=_PLAIN,
            )
        try:
            with rows_checked_later():
                row = point.load()
        except Exception as error:  # whatever a third-party module raises
            raise UserError(
                f"{self.kind} '{point.name}' of package '{_package(point)}' cannot be loaded: "
                f"{type(error).__name__}: {error}",
                hint=f"The entry point is {point.value}.",
            ) from error
        # Exactly: what a subclass does otherwise, nobody would look for under this row's name.
        if type(row) is not self._row_type:
            raise UserError(
                f"{self.kind} '{point.name}' of package '{_package(point)}' is a {type(row).__name__}, "
                f"not a {self._row_type.__name__}",
                hint=f"The entry point {point.value} must name a {self._row_type.__name__}.",
            )
        if getattr(row, "name", point.name) != point.name:
            raise UserError(
                f"{self.kind} '{point.name}' of package '{_package(point)}' calls itself '{getattr(row, 'name', '')}'",
                hint="The entry point's name and the row's own name must agree.",
            )
        if isinstance(row, CheckedRow):
            try:
                row.check()
            except UserError as error:
                raise UserError(
                    f"{self.kind} '{point.name}' of package '{_package(point)}' cannot be used: {error.problem}",
                    hint=error.hint or f"The entry point is {point.value}.",
                ) from error
        return row


def check_name(kind: str, name: str) -> None:
    """Refuse a row's name that could be no part of a folder's.

    Raises:
        UserError: it is not a plain one.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{kind} '{name}' cannot be used: not a plain name", hint=_PLAIN)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"
