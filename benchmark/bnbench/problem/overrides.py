"""The settings of `--set`: which keys there are, and dotted keys as tables."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from bnbench.components.probes import PROBES
from bnbench.errors import UserError, nearest
from bnbench.problem.model import Problem
from bnbench.problem.settings import Probes

_TABLES_OF_OPTIONS = ("training.optimiser_options", "training.schedule_options")
"""Tables whose keys are those of whatever row was chosen: `--set training.optimiser_options.rho=0.9`."""

SETTABLE = ("training", "augmentation", "evaluation", "snapshots", "probes", "width")
"""The parts of a problem that `--set` may change: those that decide what a run records."""


def parse_override(text: str) -> tuple[str, Any]:
    """`training.l2=0` as ("training.l2", 0). The value is read as TOML; a bare word is a string.

    Raises:
        UserError: there is no "=", or the key is not one that what a run records depends on.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not value.strip():
        raise UserError(f"--set {text}: expected KEY=VALUE", hint="For example --set training.l2=0.")
    known = list(settable_keys())
    if key not in known and key.rpartition(".")[0] not in _TABLES_OF_OPTIONS and not _is_of_other_probe(key):
        guess = nearest(key, known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        raise UserError(f"--set {text}: unknown key '{key}'.{meant}", hint=f"Known keys: {', '.join(known)}.")
    try:
        return key, tomllib.loads(f"value = {value.strip()}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits, or a deep nest
        return key, value.strip()


def settable_keys() -> Iterator[str]:
    """Every key that `--set` takes, dotted."""
    for part in SETTABLE:
        model = Problem.model_fields[part].annotation
        if model is Probes:
            for name in PROBES:
                yield f"{part}.{name}"
                # A row of another package is imported only when its options are asked for.
                if not PROBES.is_third_party(name):
                    yield from (f"{part}.{name}.{option}" for option in PROBES.get(name).defaults)
        elif isinstance(model, type) and issubclass(model, BaseModel):
            yield from (f"{part}.{field}" for field in model.model_fields)
        else:
            yield part


def _is_of_other_probe(key: str) -> bool:
    """Whether a key is an option of a probe that another package brings."""
    part, _, rest = key.partition(".")
    name, _, option = rest.partition(".")
    return part == "probes" and name in PROBES and PROBES.is_third_party(name) and option in PROBES.get(name).defaults


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables. Of a probe that is switched on (true) and has options, only the options need be said.

    Raises:
        UserError: one key is a value, and another one lies below it.
    """
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, leaf = key.split(".")
        table = nested
        for parent in parents:
            if table.get(parent) is True:
                table[parent] = {}
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {key}: '{parent}' is set to a value too, and has no keys below it")
        if not (value is True and isinstance(table.get(leaf), dict)):
            table[leaf] = value
    return nested
