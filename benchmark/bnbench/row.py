"""Rows of tables that other people may add to: frozen dataclasses that look at their own fields."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from enum import Enum
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from bnbench.errors import UserError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
"""Names of rows become names of folders: lower-case letters, digits and underscores."""
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]

_left_for_later: ContextVar[bool] = ContextVar("_left_for_later", default=False)


class Row:
    """What a frozen dataclass inherits to be checked when it is made: types and bounds as its annotations give them.

    A network is built, and a run recorded, from what rows say. One that says something else than its author meant, or
    nothing that is known here, must not come that far.
    """

    kind: ClassVar[str]
    """What such a row is, in a message: "variant"."""

    def __post_init__(self) -> None:
        if not _left_for_later.get():
            self.check()

    def check(self) -> None:
        """Look at every field.

        Raises:
            UserError: one has another type, or a value that cannot be; it is named, and what could be there instead.
        """
        values = {name: getattr(self, name) for name in _field_names(type(self))}
        try:
            _model(self.__class__).model_validate(values)
        except ValidationError as error:
            detail = error.errors()[0]
            field = str(detail["loc"][0])
            place = "".join(f"[{part}]" for part in detail["loc"][1:] if isinstance(part, int))
            reason = _expected(type(self), field, str(detail["msg"]))
            raise self.wrong(f"{field}{place}", values[field], reason) from error
        for name, value in values.items():
            if isinstance(value, Row):
                try:
                    value.check()
                except UserError as error:
                    raise UserError(f"{self._title}: {name}: {error.problem}", hint=error.hint) from error
        self.check_together()

    def check_together(self) -> None:
        """What types cannot say: fields that must fit each other."""

    def wrong(self, field: str, value: object, reason: str) -> UserError:
        """The error for a field whose value cannot be."""
        return UserError(f"{self._title}: {field} = {reprlib.repr(value)}: {reason}")

    @property
    def _title(self) -> str:
        name = getattr(self, "name", None)
        return self.kind if name is None else f"{self.kind} {reprlib.repr(name)}"


@contextmanager
def rows_checked_later() -> Iterator[None]:
    """Let rows be made unseen, as far as their own fields go, while a third-party module is imported.

    It may make several, and a mistake in one must not keep the others from being used: each is checked when it is
    asked for by name.
    """
    token = _left_for_later.set(True)
    try:
        yield
    finally:
        _left_for_later.reset(token)


def _field_names(row_type: type[Row]) -> list[str]:
    return [field.name for field in fields(row_type)]  # type: ignore[arg-type] # every row is a dataclass


_models: dict[type[Row], type[BaseModel]] = {}


def _model(row_type: type[Row]) -> type[BaseModel]:
    """What pydantic makes of a row's annotations, once for each class."""
    if row_type in _models:
        return _models[row_type]
    hints = get_type_hints(row_type, include_extras=True)
    types: dict[str, Any] = {name: (hints[name], ...) for name in _field_names(row_type)}
    strict = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    model: type[BaseModel] = create_model(row_type.__name__, __config__=strict, **types)
    return _models.setdefault(row_type, model)


def _expected(row_type: type[Row], field: str, message: str) -> str:
    hint = get_type_hints(row_type)[field]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"should be {' or '.join(f'{hint.__name__}.{member.name}' for member in hint)}"
    if message.startswith("String should match pattern"):
        return "should be a plain name: lower-case letters, digits and underscores, 64 at most"
    return message.removeprefix("Value error, ").replace("Input should", "should", 1)
