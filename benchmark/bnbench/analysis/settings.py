"""Whether a run was made at its problem's own settings, and what was changed if not."""

from __future__ import annotations

from functools import cache
from typing import get_args

from bnbench.errors import UserError
from bnbench.identity import RECORDED, VARIED_IN_TRAINING
from bnbench.plan import NUMERICS_VERSION
from bnbench.problem import Problem, Size, Target, find_problem, problem_files
from bnbench.specification import Specification


def problem_at(name: str, size: str) -> Problem | None:
    """A problem that ships with the package, at a size; None for any other, whose file is not known here.

    Raises:
        UserError: the problem's file is not valid.
    """
    known: dict[str, Size] = {each: each for each in get_args(Size)}
    return _shipped(name, known[size]) if size in known else None  # what a run.json of elsewhere calls its size


def problem_targets(problem: str, size: str) -> tuple[Target, ...]:
    """The targets of a problem that ships with the package; none for any other.

    Raises:
        UserError: the problem's file is not valid.
    """
    found = problem_at(problem, size)
    return () if found is None else found.targets


def is_of_the_setting(key: str) -> bool:
    """Whether a key of a problem's file can make `overrides`; what is merely recorded, or varied, cannot."""
    table, _, name = key.partition(".")
    return table not in RECORDED and not (table == "training" and name in VARIED_IN_TRAINING)


def overrides(problem: str, size: str, spec: Specification) -> tuple[str, ...] | None:
    """In what a run's setting differs from its problem's file as it is now; None without such a file.

    What is merely recorded (snapshots, probes, population statistics) is no part of the setting.

    Args:
        problem: the name that the run went by.
        size: the size.
        spec: what was run, e.g. for two epochs: ("training.epochs = 2",).

    Raises:
        UserError: the problem's file is not valid.
    """
    known = problem_at(problem, size)
    if known is None:
        return None
    pairs: dict[str, tuple[object, object]] = {
        "numerics": (spec.numerics, NUMERICS_VERSION),
        "data.name": (spec.data.name, known.dataset),
        "split_seed": (spec.split_seed, known.split_seed),
        "architecture": (spec.architecture, known.architecture),
        "width": (spec.width, known.width),
        "precision": (spec.precision, "fp32"),
    }
    for part in ("training", "augmentation", "evaluation"):
        recorded, own = (getattr(each, part).model_dump() for each in (spec, known))
        pairs |= {f"{part}.{key}": (recorded[key], own[key]) for key in own}
    return tuple(
        f"{key} = {_toml(recorded)}"
        for key, (recorded, own) in pairs.items()
        if recorded != own and is_of_the_setting(key)
    )


@cache
def _shipped(name: str, size: Size) -> Problem | None:
    if name not in problem_files():
        return None
    file = find_problem(name)
    try:
        return file.problem(size)
    except UserError:  # the file has been found valid, so it has no table of that size
        return None


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
