"""Whether a run was made at its problem's own settings, and what was changed if not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydantic import JsonValue

from bnbench.errors import UserError
from bnbench.plan import NUMERICS_VERSION
from bnbench.problem import Probes, Problem, Size, Target, find_problem, problem_files

_GRID = frozenset({"training.learning_rate"})
"""What the experiments vary: not a matter of the setting."""


def problem_at(name: str, size: str) -> Problem | None:
    """A problem that ships with the package, at a size; None for any other, whose file is not known here.

    Raises:
        UserError: the problem's file is not valid.
    """
    match size:
        case "tiny" | "full":
            return _shipped(name, size)
        case _:
            return None  # what a run.json of elsewhere calls its size


def problem_targets(problem: str, size: str) -> tuple[Target, ...]:
    """The targets of a problem that ships with the package; none for any other.

    Raises:
        UserError: the problem's file is not valid.
    """
    found = problem_at(problem, size)
    return () if found is None else found.targets


def overrides(spec: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """What differs from the problem's file as it is now, e.g. ("training.epochs = 2",); None without such a file.

    Args:
        spec: the specification as `run.json` keeps it.

    Raises:
        UserError: the problem's file is not valid.
    """
    problem = problem_at(str(spec["problem"]), str(spec["size"]))
    if problem is None:
        return None
    own: dict[str, object] = {
        "numerics": NUMERICS_VERSION,
        "data.name": problem.dataset,
        "split_seed": problem.split_seed,
        "architecture": problem.architecture,
        "width": problem.width,
        "precision": "fp32",
        **_dotted("training", problem.training.model_dump()),
        **_dotted("augmentation", problem.augmentation.model_dump()),
        **_dotted("snapshots", problem.snapshots.model_dump()),
        **_dotted("probes", problem.probes.model_dump()),
    }
    # A specification does not name the probes that are off.
    recorded = _dotted("probes", Probes().model_dump()) | {
        key: value for name, part in spec.items() for key, value in _dotted(name, part).items()
    }
    return tuple(
        f"{key} = {_toml(recorded.get(key))}" for key in own if key not in _GRID and recorded.get(key) != own[key]
    )


@cache
def _shipped(name: str, size: Size) -> Problem | None:
    if name not in problem_files():
        return None
    file = find_problem(name)
    try:
        return file.problem(size)
    except UserError:  # the file has been found valid, so it has no [tiny] table
        return None


def _dotted(name: str, value: object) -> dict[str, object]:
    return {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
