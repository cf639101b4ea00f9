"""A named table that third-party packages can add rows to: a dict, a decorator, and entry points."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from bnbench.errors import UserError, unknown

Row = TypeVar("Row")


class Registry(Generic[Row]):
    """Names to rows: the ones this package registers, then those of installed third-party packages.

    A third-party row is imported when it is first asked for, so a broken package breaks only its own
    names, and listing the names imports nothing.
    """

    def __init__(self, kind: str, row_type: type[Row], group: str) -> None:
        """A table of `kind` (a word for error messages), open to the entry points of `group`."""
        self.kind = kind
        self._row_type = row_type
        self._group = group
        self._rows: dict[str, Row] = {}

    def register(self, name: str, row: Row) -> Row:
        """Add a row.

        Raises:
            ValueError: the name is taken, by this package or by an installed one.
        """
        if name in self._rows or name in self._third_party:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self._rows[name] = row
        return row

    def names(self) -> list[str]:
        """Every known name: built-in ones in their own order, then third-party ones sorted."""
        return [*self._rows, *sorted(name for name in self._third_party if name not in self._rows)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._third_party

    def get(self, name: str) -> Row:
        """The row of that name.

        Raises:
            UserError: no such name, or the third-party package that offers it cannot be loaded.
        """
        if name not in self._rows:
            if name not in self._third_party:
                raise unknown(self.kind, name, self.names())
            self._rows[name] = self._load(self._third_party[name])
        return self._rows[name]

    @cached_property
    def _third_party(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self._group):
            if point.name in self._rows or point.name in found:
                raise UserError(
                    f"{self.kind} '{point.name}', offered by package '{_package(point)}', already exists",
                    hint="Names must be unique: uninstall that package or ask its author for another name.",
                )
            found[point.name] = point
        return found

    def _load(self, point: EntryPoint) -> Row:
        try:
            row = point.load()
        except Exception as error:  # whatever a third-party module raises
            raise UserError(
                f"{self.kind} '{point.name}' of package '{_package(point)}' cannot be loaded: "
                f"{type(error).__name__}: {error}",
                hint=f"The entry point is {point.value}.",
            ) from error
        if not isinstance(row, self._row_type):
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
        return row


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"
