"""A problem file: read, checked at every size it has, and laid over by `--set`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnbench.errors import UserError, cut, few
from bnbench.paths import expand_home
from bnbench.problem.coherence import check_references
from bnbench.problem.model import OVERLAYS, Problem, Size
from bnbench.problem.overrides import nest
from bnbench.problem.wording import NOT_GIVEN, explain
from bnbench.toml_file import read_toml

_DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_MISSING = object()

_WITHOUT: Mapping[Size, str] = {
    "short": "Small data, such as the digits, need none: use the full size. For others, add the table with what "
    "differs from a full run so that one takes minutes: width, training.epochs.",
    "tiny": "Add one with what differs: data set, width, training.batch_size, training.epochs.",
}
"""How to do without the table of a size."""


class ProblemFile:
    """A problem file that has been read and found valid, at every size it has."""

    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        """Check the whole file.

        Raises:
            UserError: a key is unknown, a value has the wrong type or is impossible.
        """
        self.path = path
        self.name = _checked_name(path)
        _refuse_given_names(path, raw)
        self._base = {key: value for key, value in raw.items() if key not in OVERLAYS}
        self._overlays: dict[Size, Mapping[str, Any]] = {size: raw[size] for size in OVERLAYS if size in raw}
        self._folder = path.parent.absolute()
        for size in self.sizes:
            self.problem(size)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that the problem has, the full one first."""
        return ("full", *self._overlays)

    def problem(self, size: Size = "full", overrides: Mapping[str, Any] | None = None) -> Problem:
        """The problem at a size, with `--set` overrides applied.

        Args:
            size: "short" and "tiny" lay the file's table of that name over the rest.
            overrides: dotted keys to values, e.g. {"training.l2": 0.0}.

        Raises:
            UserError: no table of that size, an unknown key, a wrong type or an impossible value.
        """
        where = str(self.path)
        raw = self._base
        if size != "full":
            if size not in self._overlays:
                raise UserError(
                    f"{where}: there is no [{size}] table, so the problem has no {size} size", hint=_WITHOUT[size]
                )
            # Targets of the full size say nothing about another one.
            overlay = self._overlays[size]
            raw = _merge({**raw, "targets": []}, overlay)
            if "dataset" in overlay and "dataset_name" not in overlay:
                raw.pop("dataset_name", None)  # which is that of the full size's file
            where = f"{where} with [{size}]"
        if overrides:
            raw = _merge(raw, nest(overrides))
            where = f"{where} with --set"
        raw = _with_own_data(where, raw, self._folder)
        return _validated(where, {**raw, "name": self.name, "size": size})


def read_problem(path: Path) -> ProblemFile:
    """Read and check a problem file.

    Raises:
        UserError: it cannot be read, is no TOML, or does not describe a problem.
    """
    return ProblemFile(path, read_toml(path))


def _checked_name(path: Path) -> str:
    if not _NAME.fullmatch(path.stem):
        raise UserError(
            f"{path}: '{path.stem}' cannot be a problem's name",
            hint="The file's name is the problem's: lower-case letters, digits and underscores, a letter first, "
            "64 characters at most.",
        )
    return path.stem


def _refuse_given_names(path: Path, raw: Mapping[str, Any]) -> None:
    """A file that names its own name or size would contradict its path or the command line."""
    tables = [("", raw)]
    for size in OVERLAYS:
        table = raw.get(size, {})
        if not isinstance(table, dict):
            raise UserError(f"{path}: {size} = {cut(repr(table))}: should be a table, [{size}].")
        tables.append((f"{size}.", table))
    for prefix, table in tables:
        for key, hint in NOT_GIVEN.items():
            if key in table:
                raise UserError(f"{path}: unknown key '{prefix}{key}'.", hint=hint)


def _with_own_data(where: str, raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a file with `dataset = "mine.npz"` taken apart: what the arrays are called, and where they lie."""
    keys = dict(raw)
    given, name = keys.get("dataset"), keys.pop("dataset_name", _MISSING)
    if not isinstance(given, str) or not given.endswith(".npz"):
        if name is not _MISSING:
            raise UserError(
                f"{where}: dataset_name = {cut(repr(name))}: is for arrays of your own",
                hint='They are named by their file, relative to the problem file: dataset = "mine.npz".',
            )
        return keys
    if "\0" in given:
        raise UserError(f"{where}: dataset = {cut(repr(given))}: is no path.")
    file = (folder / expand_home(given)).absolute()
    called = file.stem if name is _MISSING else name
    if not isinstance(called, str) or not _DATASET_NAME.fullmatch(called):
        key = "dataset" if name is _MISSING else "dataset_name"
        raise UserError(
            f"{where}: {key}: {cut(repr(called))} cannot be a data set's name",
            hint="Lower-case letters, digits and underscores, 64 at most. The file's name is the data set's, unless "
            'the key dataset_name gives another: dataset_name = "mine".',
        )
    return {**keys, "dataset": called, "dataset_file": file}


def _validated(where: str, raw: Mapping[str, Any]) -> Problem:
    try:
        problem = Problem.model_validate(raw)
    except ValidationError as error:
        raise UserError(few(error.errors(), lambda detail: explain(where, detail))) from error
    return check_references(where, problem)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key, _MISSING)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
