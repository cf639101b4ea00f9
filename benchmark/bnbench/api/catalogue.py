"""What there is: problems and variants, by name."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from os import PathLike

from bnbench.api.rows import use_plugins
from bnbench.api.words import Plugins
from bnbench.components.variants import VARIANTS, Variant
from bnbench.execution.selection import Settings, as_overrides
from bnbench.problem import Problem, Size, find_problem, problem_files


def list_problems(pattern: str = "*") -> list[str]:
    """The names of the problems that ship, sorted.

    Args:
        pattern: a shell pattern over names, such as "digits_*".
    """
    return [name for name in problem_files() if fnmatchcase(name, pattern)]


def load_problem(
    name: str | PathLike[str],
    size: Size = "full",
    set: Mapping[str, object] | None = None,  # noqa: A002 -- as --set
    plugins: Plugins = (),
) -> Problem:
    """A problem at a size.

    Args:
        name: of a problem that ships, or the path of a problem file of your own (it ends in .toml).
        size: "full"; "short": on real data, minutes a run; "tiny": on embedded data, seconds.
        set: settings to change, dotted keys to values, such as {"training.epochs": 2}.
        plugins: files of your own, whose rows the tables have from then on (`use_plugins`).

    Raises:
        UserError: there is no such problem, size or setting, or a value cannot be.
    """
    use_plugins(plugins)
    return find_problem(str(name)).problem(size, Settings(overrides=as_overrides(set or {})).changes)


def list_variants() -> list[str]:
    """The names of all variants: the five of the founding study first, then others', then this session's."""
    return VARIANTS.names()


def variant(name: str) -> Variant:
    """A row of the table of variants. `variant("bn").replace(name="mine", …)` makes another of it.

    Raises:
        UserError: there is no such variant.
    """
    return VARIANTS.get(name)
