"""Options of a row: what it can be told beside the suite's own settings, and the values it is told (torch-free).

Optimisers, rate schedules, normalisers, reparametrisations and probes describe theirs as `Option`, and what a problem
or a variant says of them is looked at by `complete`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias, cast

from pydantic import AfterValidator

from bnbench.errors import UserError, cut, unknown
from bnbench.row import Name, Row, Text

OptionValue: TypeAlias = bool | int | float | str
"""What an option can be set to."""


class Options(Mapping[str, OptionValue]):
    """Names to plain values, in the order of their names: equal options are equal and hash alike."""

    __slots__ = ("_items",)

    def __init__(self, given: Mapping[str, OptionValue] | None = None) -> None:
        self._items: tuple[tuple[str, OptionValue], ...] = tuple(sorted((given or {}).items()))

    def __getitem__(self, name: str) -> OptionValue:
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
    """One option: what it is called, what it is if nobody says, what it does, what it may be.

    Raises:
        UserError: a field has another type, or the default is not one of the values that there may be.
    """

    kind: ClassVar[str] = "option"

    name: Name
    default: OptionValue
    """Its type is the option's: truth values, whole numbers, numbers (whole ones too) or texts."""
    meaning: Text
    minimum: float | None = None
    """The smallest value of a number; None: any."""
    maximum: float | None = None
    """The largest."""
    choices: tuple[Text, ...] = ()
    """Of a text: the only values there are; empty where any will do."""

    def check_together(self) -> None:
        """The default must be a value that the option may have."""
        if told := self.objection(self.default):
            raise self.wrong("default", self.default, told)

    def objection(self, value: object) -> str:
        """Why the option cannot have a value, "should be a whole number, at least 1"; empty where it can."""
        whole_for_number = type(self.default) is float and type(value) is int
        if type(value) is type(self.default) or whole_for_number:
            if isinstance(value, float) and not math.isfinite(value):
                return "should be a finite number"
            if self._has(cast(OptionValue, value)):
                return ""
        return f"should be {self._expected}"

    def _has(self, value: OptionValue) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool | str):
            return True
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    @property
    def _expected(self) -> str:
        if self.choices:
            return " or ".join(map(repr, self.choices))
        kinds: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        kind = kinds[type(self.default)]
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{kind}, at least {self.minimum:g}"
        return kind if self.maximum is None else f"{kind}, at most {self.maximum:g}"


def _each_once(described: tuple[Option, ...]) -> tuple[Option, ...]:
    names = [option.name for option in described]
    for name, option in zip(names, described, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is named twice")
        try:
            option.check()  # it may have been made unseen, by a module of somebody else's
        except UserError as error:
            raise ValueError(error.problem) from error
    return described


Described = Annotated[tuple[Option, ...], AfterValidator(_each_once)]
"""The options of a row, as a field of it: each in order, and named once."""


def complete(owner: str, described: Sequence[Option], given: Mapping[str, object]) -> Options:
    """Every option of a row: as it was given, or its default.

    Args:
        owner: whose options they are, for the message: "normaliser 'group'".
        described: all that it has.
        given: values by name.

    Raises:
        UserError: there is no such option, or it cannot have the value.
    """
    known = {option.name: option for option in described}
    for name, value in given.items():
        if name not in known:
            if not known:
                raise UserError(f"{owner} has no options of its own, so no '{cut(name)}'")
            error = unknown("option", cut(name), known)
            raise UserError(f"{owner}: {error.problem}", hint=error.hint)
        if told := known[name].objection(value):
            problem = f"{owner}: option {name} = {cut(repr(value))}: {told}"
            raise UserError(problem, hint=f"{name}: {known[name].meaning.removesuffix('.')}.")
    values = {name: cast(OptionValue, given.get(name, option.default)) for name, option in known.items()}
    return Options({name: type(known[name].default)(value) for name, value in values.items()})
