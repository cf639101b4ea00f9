"""How fast a run is: what a step takes, its share of the evaluations included."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Follows a run from when it is first heard of."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been heard yet.

        Args:
            clock: seconds that never go backwards.
        """
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def at(self, step: int) -> float:
        """Seconds a step so far; 0 where that is not known.

        Args:
            step: updates done by now.
        """
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        began, then = self._first
        return (now - then) / (step - began) if step > began else 0.0
