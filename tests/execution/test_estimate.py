"""How long runs take: what such runs took counts before what was measured alone; and the rest is scheduled."""

from __future__ import annotations

import pytest

from bnbench.execution.estimate import Recorded, sweep_seconds
from bnbench.storage.states import RunState
from storage.test_sweeps import record

NOTHING = Recorded({})


def test_time_left_counts_what_runs_took_before_what_was_estimated_and_schedules_the_rest():
    sweep = record("a1", "a2", "a3", "b1", seconds=100.0, side_by_side=2)
    states = {"a2": RunState("running", step=30, total_steps=120), "b1": RunState("resumable", 60, 120)}
    # a2 has three quarters of 100 s to go, then b1 half of 100; a3 a whole one beside them.
    assert sweep_seconds(sweep.left({"a1"}), 2, states, NOTHING) == pytest.approx(75 + 50)
    # Runs of setting a took 40 s: 30 for a2, then b1's 50; a3's 40 beside them.
    assert sweep_seconds(sweep.left({"a1"}), 2, states, Recorded({("of-a", "bn"): 40.0})) == pytest.approx(30 + 50)
    assert sweep_seconds([], 2, states, NOTHING) == 0
    # One that runs and has not said how far it is counts whole.
    assert sweep_seconds(record("a1", seconds=8.0).runs, 1, {"a1": RunState("running")}, NOTHING) == 8
    assert sweep_seconds(record("a1", "b1").runs, 1, {}, Recorded({("of-a", "bn"): 40.0})) is None


def test_of_a_known_variant_only_what_that_variant_took_counts():
    recorded = Recorded({("s", "bn"): 40.0, ("s", "vanilla"): 20.0})
    assert (recorded.of("s", "bn"), recorded.of("s", "bn_beta"), recorded.of("t", "bn")) == (40.0, None, None)
    assert recorded.of("s", None) == 30.0, "an older record names no variant"
