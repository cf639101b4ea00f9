"""Making every check of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bnbench.errors import UserError
from bnbench.execution.components import REGISTRIES
from bnbench.execution.doctor.checks import CHECKS, USE, check_use
from bnbench.execution.doctor.patient import PROBLEM, Patient, admit, changes_for
from bnbench.execution.doctor.training import CPU
from bnbench.execution.in_process import as_in_a_process_of_its_own
from bnbench.problem import find_problem
from bnbench.training.numerics import numerics


@dataclass(frozen=True)
class Check:
    """One check of a row."""

    title: str
    reason: str | None = None
    """Why it failed; None where it passed."""
    made: bool = True
    """False where it could not be made, because of one before it."""

    @property
    def passed(self) -> bool:
        """Whether it was made and found nothing."""
        return self.made and self.reason is None


def examine(
    what: str, name: str, problem: str = PROBLEM, changes: Mapping[str, object] = MappingProxyType({})
) -> list[Check]:
    """Make every check of a row.

    Args:
        what: the row's table, a name of `bnbench.execution.components.REGISTRIES`.
        name: of the row.
        problem: what is trained, at its tiny size.
        changes: settings of it, dotted keys to values, which the row may need.

    Raises:
        UserError: there is no such row or problem.
    """
    registry = REGISTRIES[what]
    if name not in registry:
        registry.get(name)
    base = find_problem(problem)
    base.problem("tiny")
    checks: list[Check] = []
    with numerics("fp32", CPU, 1), as_in_a_process_of_its_own():
        patient: Patient | None = None
        try:
            patient = admit(what, name, base.problem("tiny", {**changes_for(what, name), **changes}))
            check_use(patient)
        except Exception as error:  # noqa: BLE001 -- whatever the code of somebody's raises
            checks.append(Check(USE, _in_words(error)))
        else:
            checks.append(Check(USE))
        for title, check in CHECKS.items():
            if patient is None or not checks[0].passed:
                checks.append(Check(title, made=False))
            else:
                checks.append(_made(title, check, patient))
    return checks


def _made(title: str, check: Callable[[Patient], str | None], patient: Patient) -> Check:
    try:
        return Check(title, check(patient))
    except Exception as error:  # noqa: BLE001 -- whatever the code of somebody's raises
        return Check(title, _in_words(error))


def _in_words(error: Exception) -> str:
    if not isinstance(error, UserError):
        return f"{type(error).__name__}: {error}"
    told = error.problem if error.hint is None else f"{error.problem.removesuffix('.')}. {error.hint}"
    return " ".join(told.split())
