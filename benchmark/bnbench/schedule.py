"""When to take a snapshot of γ and β, or to let a probe measure: a plain function of the step (torch-free)."""

from __future__ import annotations

import re
from functools import cache

from bnbench.errors import UserError

GRAMMAR = (
    "every:N (each N steps), log:N (about N steps, evenly spaced on a logarithmic axis; N up to 99999) or even:N "
    "(N + 1 steps, evenly spaced from 0 to the end)"
)

_EXPRESSION = re.compile(r"(every):([1-9][0-9]{0,8})|(log|even):([1-9][0-9]{0,4})")


def check_schedule(expression: str) -> str:
    """The expression itself, if it is one.

    Raises:
        UserError: it is not in the grammar.
    """
    if not _EXPRESSION.fullmatch(expression):
        raise UserError(f"schedule '{expression}' is not known", hint=f"A schedule is {GRAMMAR}.")
    return expression


@cache
def scheduled_steps(expression: str, total_steps: int) -> tuple[int, ...]:
    """The steps at which something is due, ascending: step 0 and the last step always among them.

    A step counts updates done, so step 0 is the initial state. `every:5` is the founding study's schedule.
    """
    match = _EXPRESSION.fullmatch(check_schedule(expression))
    assert match is not None
    if match[1]:
        steps = set(range(0, total_steps + 1, int(match[2])))
    elif match[3] == "log":
        number = int(match[4])
        steps = {round(total_steps ** (index / number)) for index in range(1, number + 1)}
    else:
        number = int(match[4])
        steps = {(2 * total_steps * index + number) // (2 * number) for index in range(1, number + 1)}
    return tuple(sorted(steps | {0, total_steps}))
