"""When to take a snapshot of γ and β, or to let a probe measure: a plain function of the step (torch-free)."""

from __future__ import annotations

import re
from functools import cache

from bnbench.errors import UserError

GRAMMAR = (
    "every:N (each N steps), log:N (about N steps, evenly spaced on a logarithmic axis; N up to 99999) or even:N "
    "(N + 1 steps, evenly spaced from 0 to the end)"
)

MOST_SNAPSHOTS = 1_000_000
"""A hundred times as many as the longest run of the founding study has."""

_EXPRESSION = re.compile(r"(every):([1-9][0-9]{0,8})|(log|even):([1-9][0-9]{0,4})")


def check_schedule(expression: str) -> str:
    """The expression itself, if it is one.

    Raises:
        UserError: it is not in the grammar.
    """
    if not _EXPRESSION.fullmatch(expression):
        raise UserError(f"schedule '{expression}' is not known", hint=f"A schedule is {GRAMMAR}.")
    return expression


def check_snapshots(expression: str, total_steps: int) -> None:
    """Refuse more snapshots of a run than there is any use for, before they are listed.

    Raises:
        UserError: there would be more than a million, or the expression is not in the grammar.
    """
    family, number = _parsed(expression)
    if family == "every" and total_steps // number >= MOST_SNAPSHOTS:
        raise UserError(
            f"'{expression}' makes more than {MOST_SNAPSHOTS:,} snapshots of γ and β in {total_steps:,} steps",
            hint="Take fewer of them: --set snapshots.schedule=every:N with a larger N, or log:N.",
        )


@cache
def scheduled_steps(expression: str, total_steps: int) -> tuple[int, ...]:
    """The steps at which something is due, ascending: step 0 and the last step always among them.

    A step counts updates done, so step 0 is the initial state. `every:5` is the founding study's schedule.

    Raises:
        UserError: there would be more than a million, or the expression is not in the grammar.
    """
    check_snapshots(expression, total_steps)
    family, number = _parsed(expression)
    if family == "every":
        steps = set(range(0, total_steps + 1, number))
    elif family == "log":
        steps = {round(total_steps ** (index / number)) for index in range(1, number + 1)}
    else:
        steps = {(2 * total_steps * index + number) // (2 * number) for index in range(1, number + 1)}
    return tuple(sorted(steps | {0, total_steps}))


def _parsed(expression: str) -> tuple[str, int]:
    match = _EXPRESSION.fullmatch(check_schedule(expression))
    assert match is not None
    return (match[1], int(match[2])) if match[1] else (match[3], int(match[4]))
