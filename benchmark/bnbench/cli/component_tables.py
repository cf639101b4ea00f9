"""What there is to make runs of: a table of variants, one of normalisers, and so on, for `bnbench list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, Value
from bnbench.errors import UserError, unknown
from bnbench.execution.components import REGISTRIES

if TYPE_CHECKING:
    from bnbench.registry import Registry


@dataclass(frozen=True)
class _Shown:
    """A column, and what stands in it for a row."""

    column: Column
    value: Callable[[Any], str | int]


def _prose(name: str, heading: str | None = None, priority: int = 0) -> _Shown:
    return _Shown(
        Column(name, heading or name, Kind.PROSE, priority=priority), lambda row: str(getattr(row, name)) or "–"
    )


def _number(name: str) -> _Shown:
    return _Shown(Column(name, name.replace("_", " "), Kind.NUMBER), lambda row: int(getattr(row, name)))


def _options(*more: str) -> _Shown:
    """Options with their defaults, after the keys of [training] that are options too."""

    def told(row: Any) -> str:  # noqa: ANN401 -- a row of any table that has options
        keys = [key for name in more for key in getattr(row, name)]
        return ", ".join([*keys, *(f"{each.name} = {_spelled(each.default)}" for each in row.options)]) or "–"

    return _Shown(Column("options", "options", Kind.PROSE, priority=1), told)


def _normaliser_of_variant(row: Any) -> str:  # noqa: ANN401 -- a variant
    told = ", ".join(f"{name} = {_spelled(value)}" for name, value in row.options.items())
    return f"{row.normaliser} ({told})" if told else str(row.normaliser)


_TITLE, _FORMULA, _SUMMARY, _SOURCE = (
    _prose("title"),
    _prose("formula"),
    _prose("summary"),
    _prose("source", priority=2),
)
_COLUMNS: dict[str, tuple[_Shown, ...]] = {
    "variants": (
        _prose("symbol"),
        _SUMMARY,
        _Shown(Column("normaliser", "normaliser", priority=1), _normaliser_of_variant),
        _prose("weights", priority=2),
    ),
    "normalisers": (_TITLE, _FORMULA, _SOURCE, _options()),
    "reparametrisations": (_TITLE, _FORMULA, _SOURCE, _options()),
    "architectures": (_TITLE, _SUMMARY, _number("image_size"), _SOURCE),
    "datasets": (_TITLE, _SUMMARY, _number("images"), _number("classes")),
    "optimisers": (_TITLE, _FORMULA, _SOURCE, _options("settings")),
    "rate_schedules": (_TITLE, _FORMULA, _SOURCE, _options("settings")),
    "probes": (_TITLE, _SUMMARY, _options()),
}


def component_table(what: str, patterns: Sequence[str]) -> Table:
    """The rows of a table of components, this package's first, then other people's.

    A row that cannot be used stands there with the reason.

    Args:
        what: a name of `bnbench.execution.components.REGISTRIES`.
        patterns: names, or shell patterns over them; none means all.

    Raises:
        UserError: a pattern fits no name.
    """
    registry, shown = REGISTRIES[what], _COLUMNS[what]
    names = _matching(registry, patterns)
    from_others = any(registry.is_third_party(name) for name in names)
    columns = (Column("name", "name", Kind.IDENTIFIER), *(each.column for each in shown))
    rows: list[tuple[Value | Cell, ...]] = [(name, *_values(registry, name, shown)) for name in names]
    if from_others:
        columns = (*columns, Column("origin", "from"))
        rows = [(*row, _from(registry, name)) for row, name in zip(rows, names, strict=True)]
    return Table(what, columns, tuple(rows))


def _matching(registry: Registry[Any], patterns: Sequence[str]) -> list[str]:
    known = registry.names()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise unknown(registry.kind, pattern, known)
    return [name for name in known if not patterns or any(fnmatchcase(name, each) for each in patterns)]


def _values(registry: Registry[Any], name: str, shown: Sequence[_Shown]) -> list[Cell]:
    try:
        row = registry.get(name)
    except UserError as error:
        reason = Cell(None, f"cannot be used: {error.problem}", tone=Tone.WARNING)
        return [reason, *[Cell(None, "–")] * (len(shown) - 1)]
    return [Cell(each.value(row)) for each in shown]


def _from(registry: Registry[Any], name: str) -> str:
    source = registry.source(name)
    if source is None:
        return "bnbench"
    return source.source if source.version is None else f"{source.source} {source.version}"


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
