"""A run that is killed with SIGKILL wherever it is, and resumed, ends in the same bytes. `tests/kills.py` does more."""

from __future__ import annotations

import random
from collections import Counter

from support.killing import PLACES, Trap, in_one_go, kill_run, tiny_specs


def test_killed_at_every_place(tmp_path):
    chance = random.Random(3)
    # Long enough for a fast machine too: checkpoints come by the clock, and the run must outlast seven deaths.
    specs = tiny_specs(("digits_3c3d",), ("hidden",), epochs=16)
    spec = next(spec for spec in specs if spec.variant.name == "bn_gamma_beta")
    reference = in_one_go(spec, tmp_path / "whole")
    traps = [
        Trap("before the first step", 1, 5),
        Trap("training", 1, 0),
        None,
        Trap("writing a part", 2, 7),
        Trap("writing a checkpoint", 2, 3),
        Trap("evaluation", 1, 4),
        None,
        Trap("compaction", 1, 9),
    ]
    deaths = kill_run(spec, tmp_path / "killed", reference, traps, chance, latest=0.5)
    found = Counter(death.place for death in deaths)
    assert set(found) >= set(PLACES)
    assert sum(found.values()) >= 7
