"""Options of a component: an immutable mapping that a row holds, and what its component knows of each (torch-free)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, cast

from bnbench.errors import UserError, unknown
from bnbench.row import Name, Row, Text

Value: TypeAlias = bool | int | float | str


class Options(Mapping[str, Value]):
    """Names to plain values, in the order of their names: equal options are equal and hash alike."""

    __slots__ = ("_items",)

    def __init__(self, given: Mapping[str, Value] | None = None) -> None:
        self._items: tuple[tuple[str, Value], ...] = tuple(sorted((given or {}).items()))

    def __getitem__(self, name: str) -> Value:
        for each, value in self._items:
            if each == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return repr(dict(self))


NO_OPTIONS = Options()


@dataclass(frozen=True)
class Option(Row):
    """One setting of a component: what it is called, what it may be, what it is if nobody says.

    Raises:
        UserError: a field has another type, or the default is not one of the values that there may be.
    """

    kind: ClassVar[str] = "option"

    name: Name
    default: Value
    """Its type is the option's: a whole number, a number, a truth value or a word."""
    meaning: Text
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Text, ...] = ()
    """Of a word: the only ones there are."""

    def check_together(self) -> None:
        """The default must be a value that the option may have."""
        reason = self.objection(self.default)
        if reason is not None:
            raise self.wrong("default", self.default, reason)

    def objection(self, value: object) -> str | None:
        """Why a value cannot be, or None where it can."""
        whole_for_number = type(self.default) is float and type(value) is int
        if type(value) is not type(self.default) and not whole_for_number:
            return f"should be {self._type}"
        if isinstance(value, str):
            return None if value in self.choices else f"should be one of {', '.join(self.choices)}"
        return None if isinstance(value, bool) else self._out_of_bounds(cast(float, value))

    def _out_of_bounds(self, value: float) -> str | None:
        if not math.isfinite(value):
            return "should be a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"should be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"should be at most {self.maximum:g}"
        return None

    @property
    def _type(self) -> str:
        kinds: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        return kinds[type(self.default)]


def complete(owner: str, known: Sequence[Option], given: Mapping[str, Value]) -> Options:
    """Every option of a component: as it was given, or its default.

    Args:
        owner: whose options they are, for the message: "normaliser 'group'".
        known: what the component may be told.
        given: what a row says.

    Raises:
        UserError: there is no such option, or its value cannot be.
    """
    described = {option.name: option for option in known}
    for name, value in given.items():
        if name not in described:
            if not described:
                raise UserError(f"{owner} has no options, and '{name}' is given")
            raise unknown("option", name, described, hint=f"They are the options of {owner}.")
        reason = described[name].objection(value)
        if reason is not None:
            raise UserError(f"{owner}: option {name} = {value!r}: {reason}", hint=f"{name}: {described[name].meaning}.")
    found = {name: given.get(name, option.default) for name, option in described.items()}
    return Options({name: type(described[name].default)(value) for name, value in found.items()})
