"""The model of what somebody wrote or stored: strict, closed, a value once read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A table or an object of a file: no unknown key, no value of another type, no infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def to_tuple(value: object) -> object:
    """An array of TOML or JSON as the tuple that a strict model takes."""
    return tuple(value) if isinstance(value, list) else value
