"""Options that a row of a table has of its own: their names, types, defaults and bounds (torch-free)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bnbench.errors import UserError, cut, unknown
from bnbench.row import Name, Row, Text

OptionValue = bool | int | float | str
"""What an option can be set to."""


class Options(dict[str, OptionValue]):
    """Values of options by name, as a part of settings that never change: it has a hash, and nobody alters it."""

    def __hash__(self) -> int:  # type: ignore[override] # a plain dictionary has none
        return hash(frozenset(self.items()))


@dataclass(frozen=True)
class Option(Row):
    """One option: it takes values of its default's type, and where that is a number whole ones too.

    Raises:
        UserError: a field has another type, or the default is none of its own values.
    """

    kind: ClassVar[str] = "option"

    name: Name
    default: OptionValue
    summary: Text
    at_least: float | None = None
    """The smallest value of a number; None: any."""
    at_most: float | None = None
    """The largest."""
    choices: tuple[str, ...] = ()
    """Of a text, all values there are; none given: any text."""

    def check_together(self) -> None:
        """The default must be a value of the option."""
        try:
            self.checked(self.default)
        except UserError as error:
            raise self.wrong("default", self.default, "is outside the option's own bounds") from error

    def checked(self, value: object) -> OptionValue:
        """The value as the option takes it.

        Raises:
            UserError: it has another type or is out of bounds; says what could be there.
        """
        taken = float(value) if type(self.default) is float and type(value) is int else value
        if type(taken) is not type(self.default) or not isinstance(taken, OptionValue) or self._outside(taken):
            raise UserError(f"{self.name} = {cut(repr(value))}: should be {self.expected}.")
        return taken

    @property
    def expected(self) -> str:
        """Its values in words: "a number, at least 0"."""
        if self.choices:
            return " or ".join(repr(each) for each in self.choices)
        words = [{bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(self.default)]]
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join([*words, *(f"{word} {bound:g}" for word, bound in bounds if bound is not None)])

    def _outside(self, value: OptionValue) -> bool:
        if isinstance(value, str):
            return bool(self.choices) and value not in self.choices
        below = self.at_least is not None and value < self.at_least
        above = self.at_most is not None and value > self.at_most
        return not math.isfinite(value) or below or above


def resolved(owner: str, options: Sequence[Option], given: Mapping[str, object]) -> Options:
    """Every option's value: what was given, the defaults for the rest.

    Args:
        owner: whose options, for messages: "optimiser 'lion'".
        options: all that it has.
        given: values by name.

    Raises:
        UserError: there is no such option, or a value cannot be.
    """
    by_name = {each.name: each for each in options}
    for name in given:
        if name not in by_name:
            if not by_name:
                raise UserError(f"{owner} has no options of its own, so no '{cut(name)}'")
            error = unknown("option", name, by_name)
            raise UserError(f"{owner}: {error.problem}", hint=error.hint)
    try:
        return Options({name: each.checked(given.get(name, each.default)) for name, each in by_name.items()})
    except UserError as error:
        raise UserError(f"{owner}: {error.problem}", hint=error.hint) from error
