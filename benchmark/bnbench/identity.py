"""What is hashed into `run_id` and `setting_id`, and since when: ids that last.

A run's id is a readable stem and a hash of the mapping of everything that decides its numbers; `run.json` keeps that
mapping verbatim, so an id can be checked years later without the code that made it. Three rules keep ids where they
are while the suite grows:

- the fields of `FOUNDING` are in the hash whatever their value, because the first runs were hashed so;
- a field that came later is in the hash only where it differs from its default;
- prose (`PROSE`) never is.

So a new setting with a default moves no id, and old results stay the results of what they always were.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, cast

from pydantic import BaseModel

FOUNDING: Mapping[str, frozenset[str]] = {
    "Training": frozenset(
        {"batch_size", "epochs", "learning_rate", "l2", "momentum", "population_statistics"},
    ),
    "Augmentation": frozenset({"crop_padding", "horizontal_flip", "brightness", "contrast", "saturation"}),
    "Snapshots": frozenset({"schedule"}),
    "Variant": frozenset({"name", "normaliser", "gamma", "beta", "train_weights"}),
    "AffineRule": frozenset({"status", "initial", "learning_rate_factor", "learned_in"}),
    "Conv": frozenset({"name", "channels", "kernel", "stride", "padding", "activation", "initialiser"}),
    "Dense": frozenset({"name", "features", "activation", "initialiser"}),
    "MaxPool": frozenset({"kernel", "stride"}),
    "Dropout": frozenset({"name", "rate"}),
}
"""By class: the fields that are hashed whatever their value. Never add to it: a class or field that comes later has
none, and is hashed where it differs from its default."""

PROSE: Mapping[str, frozenset[str]] = {"Variant": frozenset({"symbol", "summary", "baseline"})}
"""By class: the fields that say something and decide nothing."""

COMPARED = ("variant", "mask", "seed")
"""What runs of one setting differ in, beside the learning rate."""

RECORDED = ("snapshots", "probes")
"""What is merely recorded: parts of the run's id, since they decide what its folder holds, not of the setting's."""

LONGEST_MASK = 24
"""Digits of a mask that a run's id shows; of a longer one a digest."""

VARIED_IN_TRAINING = ("learning_rate", "population_statistics")
"""Of the table `training`: what is compared, and what is merely recorded."""

_MISSING = object()


def hashed(component: object) -> dict[str, Any]:
    """The fields of a row or a table of settings that an id depends on, as plain JSON values.

    Args:
        component: a dataclass or a pydantic model; its fields may be such again.

    Raises:
        TypeError: it is neither, or a field has no JSON form.
    """
    always = _of_class(FOUNDING, component)
    prose = _of_class(PROSE, component)
    return {
        name: _plain(value)
        for name, value, default in _fields(component)
        if name not in prose and (name in always or default is _MISSING or value != default)
    }


def run_id_of(hashed_mapping: Mapping[str, Any], placement: str) -> str:
    """A readable stem and the hash: one run, one folder.

    Args:
        hashed_mapping: the run's, as `run.json` keeps it.
        placement: the canonical expression of its mask.
    """
    name, seed = hashed_mapping["variant"]["name"], hashed_mapping["seed"]
    place = _plain_place(placement, hashed_mapping["mask"])
    return f"{_stem(hashed_mapping)}-{name}-{place}-s{seed}-{digest(hashed_mapping)}"


def setting_id_of(hashed_mapping: Mapping[str, Any]) -> str:
    """The id of what a run shares with those it may be compared with."""
    return f"{_stem(hashed_mapping)}-{digest(setting_of(hashed_mapping))}"


def setting_of(hashed_mapping: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides a run's numbers but variant, mask, learning rate and seed, without what is merely recorded."""
    shared = {key: value for key, value in hashed_mapping.items() if key not in {*COMPARED, *RECORDED}}
    training = shared["training"]
    shared["training"] = {key: value for key, value in training.items() if key not in VARIED_IN_TRAINING}
    return shared


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces, floats in their shortest exact form: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]


def _stem(hashed_mapping: Mapping[str, Any]) -> str:
    return f"{hashed_mapping['data']['name']}_{hashed_mapping['architecture']}"


def _plain_place(placement: str, mask: str) -> str:
    """A placement as part of a folder's name: in a word where it is one, else its mask, or a digest of a long one."""
    plain = re.sub("[:-]", "", placement)
    if plain.isalnum():
        return plain
    return f"mask{mask}" if len(mask) <= LONGEST_MASK else f"maskx{hashlib.sha256(mask.encode()).hexdigest()[:8]}"


def _of_class(table: Mapping[str, frozenset[str]], component: object) -> frozenset[str]:
    """A class's entry; that of the class it derives from, where it has none of its own."""
    found = (table[kind.__name__] for kind in type(component).__mro__ if kind.__name__ in table)
    return next(found, frozenset())


def _fields(component: object) -> Iterator[tuple[str, object, object]]:
    """(name, value, default) of every field; `_MISSING` for a field without default."""
    if isinstance(component, BaseModel):
        for name, described in type(component).model_fields.items():
            default = _MISSING if described.is_required() else described.get_default(call_default_factory=True)
            yield name, getattr(component, name), default
    elif is_dataclass(component) and not isinstance(component, type):
        for each in fields(component):
            default = each.default
            if default is MISSING:
                default = _MISSING if each.default_factory is MISSING else each.default_factory()
            yield each.name, getattr(component, each.name), default
    else:
        raise TypeError(f"a {type(component).__name__} has no fields to hash")


def _plain(value: object) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel) or is_dataclass(value):
        return hashed(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[object, object]", value).items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} has no JSON form")
