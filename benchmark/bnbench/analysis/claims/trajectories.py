"""What the rules need of the γ and β of a run, one trajectory in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bnbench.analysis.claims.parameter_rules import Channels, Pooled, pooled
from bnbench.analysis.frames import Filter, Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import EARLY_SHARE, monotonic
from bnbench.claim import Slots
from bnbench.components.placements import SlotPlace, masked_places
from bnbench.measurement import NormaliserParameter


@dataclass(frozen=True, eq=False)
class SlotBySlot:
    """A parameter at one moment of a run."""

    main: Channels
    """Of the slots along the main path, in order."""
    shortcuts: Channels
    """Of the others."""

    def pooled(self, slots: Slots) -> Pooled:
        """The channels of some of the slots, one after the other; None where the run has no such slot."""
        return pooled(self.main, slots, self.shortcuts)


@dataclass(frozen=True, eq=False)
class Ends:
    """A parameter at three moments of a run, slot by slot."""

    end: SlotBySlot
    """At the last snapshot."""
    tenth: SlotBySlot
    """At the last snapshot within the first tenth of the steps."""
    start: SlotBySlot
    """At the first snapshot."""


class TrajectoryReader:
    """Reads each run's parameters once, however many rules ask for them."""

    def __init__(self, results: Results) -> None:
        """A reader of these results."""
        self._results = results
        self._ends: dict[tuple[str, NormaliserParameter], Ends] = {}
        self._monotonic: dict[tuple[str, NormaliserParameter], tuple[int, int]] = {}

    def ends(self, record: RunRecord, places: Sequence[SlotPlace], parameter: NormaliserParameter) -> Ends:
        """The first snapshot, the last and the one after a tenth of the steps, of every slot that carries a BatchNorm.

        Only these rows are kept of what is read.

        Raises:
            UserError: a table is damaged, or the run has no such parameter.
        """
        key = (record.identity.run_id, parameter)
        if key not in self._ends:
            carrying = masked_places(record.identity.mask, places)
            rows = [(place.on_main_path, self._three_rows(*key, place.name)) for place in carrying]
            start, tenth, end = (
                SlotBySlot([each[at] for main, each in rows if main], [each[at] for main, each in rows if not main])
                for at in range(3)
            )
            self._ends[key] = Ends(end=end, tenth=tenth, start=start)
        return self._ends[key]

    def monotonic(
        self, record: RunRecord, places: Sequence[SlotPlace], parameter: NormaliserParameter
    ) -> tuple[int, int]:
        """How many of a run's trajectories are monotonic, and how many there are: one for each channel.

        Raises:
            UserError: a table is damaged, or the run has no such parameter.
        """
        key = (record.identity.run_id, parameter)
        if key not in self._monotonic:
            good = total = 0
            for place in masked_places(record.identity.mask, places):
                trajectory = self._results.trajectory(key[0], place.name, parameter)
                good += int(monotonic(trajectory.steps, trajectory.values).sum())
                total += trajectory.values.shape[1]
            self._monotonic[key] = (good, total)
        return self._monotonic[key]

    def _three_rows(
        self, run_id: str, parameter: NormaliserParameter, slot: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        where: dict[str, Filter] = {"run_id": run_id, "parameter": parameter, "slot": slot}
        steps = self._results.affine(columns=["step"], **where)["step"].to_numpy(np.int64)
        if not len(steps):
            # Says what the run has instead.
            self._results.trajectory(run_id, slot, parameter)
        early = int(steps[np.searchsorted(steps, steps[0] + EARLY_SHARE * (steps[-1] - steps[0]), side="right") - 1])
        first, last = int(steps[0]), int(steps[-1])
        where["step"] = [first, early, last]
        rows = self._results.affine(columns=["step", "values"], **where)
        by_step = {int(step): np.asarray(values) for step, values in zip(rows["step"], rows["values"], strict=True)}
        return by_step[first], by_step[early], by_step[last]
