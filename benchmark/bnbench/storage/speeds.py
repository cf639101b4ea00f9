"""Measured speeds: how long a step and an evaluation take, by what is trained and on what. Only estimates use them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bnbench.data.store import cache_home
from bnbench.disk import parse_json, read_regular
from bnbench.identity import canonical_json
from bnbench.plan import RunSpec
from bnbench.storage.files import atomic_file

SPEEDS = "speeds.json"
"""The file that measured speeds are kept in: in the folder of this machine's imported data or, where the user may not
write that, in a folder of the user's own."""

_LIMIT = 16 << 20
"""Bytes of that file: enough for fifty thousand settings."""
_NOT_OF_SPEED = ("numerics", "split_seed", "seed")
_TRAINING_OF_SPEED = ("batch_size", "population_statistics", "images")


class Speed(BaseModel):
    """What was measured, with one run alone on the device."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    step_s: Annotated[float, Field(gt=0)]
    """Seconds a step."""
    eval_s: Annotated[float, Field(ge=0)]
    """Seconds an evaluation of all splits."""
    steps_per_epoch: Annotated[int, Field(ge=1)]
    cpu_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the CPU that it had while it was measured; below 1 the seconds are reckoned for a whole one."""


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    machine: str
    exact: str
    alike: str
    speed: Speed


class _Book(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    speeds: list[_Entry]


@dataclass(frozen=True)
class Speeds:
    """All speeds measured on one machine."""

    entries: tuple[_Entry, ...]

    def of(self, spec: RunSpec) -> Speed | None:
        """The speed of a run; where it was not measured, the slowest of the same network with BatchNorm elsewhere."""
        exact, alike = _keys(spec)
        for entry in self.entries:
            if entry.exact == exact:
                return entry.speed
        similar = [entry.speed for entry in self.entries if entry.alike == alike]
        return max(similar, key=lambda speed: speed.step_s, default=None)


def read_speeds(path: Path, machine: str) -> Speeds:
    """What was measured on a machine; nothing where the file is not there or cannot be read.

    Args:
        path: the file among the imported data.
        machine: what it was measured on: the device, and for a CPU its model and the threads.
    """
    entries = (entry for file in (_users_own(path), path) for entry in _read(file))
    return Speeds(tuple(entry for entry in entries if entry.machine == machine))


def add_speed(path: Path, machine: str, spec: RunSpec, speed: Speed) -> None:
    """Keep a speed, in place of what was measured before, where there is a place for it (`place_of_speeds`).

    Args:
        path: the file among the imported data.
        machine: as `read_speeds` takes it.
        spec: what was measured.
        speed: what came out.
    """
    place = place_of_speeds(path)
    if place is None:
        return
    exact, alike = _keys(spec)
    kept = [entry for entry in _read(place) if (entry.machine, entry.exact) != (machine, exact)]
    book = _Book(speeds=[*kept, _Entry(machine=machine, exact=exact, alike=alike, speed=speed)])
    with suppress(OSError), atomic_file(place) as file:  # an estimate is worth no error
        file.write(book.model_dump_json(indent=1).encode())


def place_of_speeds(path: Path) -> Path | None:
    """The file that speeds go to: the one among the imported data or, where that cannot be written, the user's own.

    Args:
        path: the file among the imported data.

    Returns:
        None where neither can be written; writing is tried with a real file.
    """
    for file in (path, _users_own(path)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=file.parent) as trial:
                trial.write(b"\0" * (1 << 16))
        except OSError:
            continue
        return file
    return None


def _users_own(path: Path) -> Path:
    """In the user's cache, for this folder of imported data: other machines have others."""
    return cache_home() / f"speeds-{_digest(str(path))}.json"


def _read(path: Path) -> list[_Entry]:
    try:
        return _Book.model_validate(parse_json(read_regular(path, _LIMIT))).speeds
    except (OSError, ValueError, ValidationError):
        return []  # an estimate is worth no error


def _keys(spec: RunSpec) -> tuple[str, str]:
    """What decides the speed of a run; and the same without variant and placement."""
    resolved = spec.resolved()
    training: Mapping[str, Any] = resolved["training"]
    exact = {key: value for key, value in resolved.items() if key not in _NOT_OF_SPEED}
    exact["training"] = {key: training[key] for key in _TRAINING_OF_SPEED if key in training}
    alike = {key: value for key, value in exact.items() if key not in {"variant", "mask"}}
    return _digest(exact), _digest(alike)


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
