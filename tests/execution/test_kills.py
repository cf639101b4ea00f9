"""A run that is killed with SIGKILL wherever it is, and resumed, ends in the same bytes. `tests/kills.py` does more."""

from __future__ import annotations

import random
from collections import Counter

from support.killing import PLACES, Trap, in_one_go, kill_run, tiny_specs


def test_killed_at_every_place(tmp_path):
    chance = random.Random(3)
    spec = next(spec for spec in tiny_specs(("digits_3c3d",), ("hidden",)) if spec.variant.name == "bn_gamma_beta")
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
    deaths = kill_run(spec, tmp_path / "killed", reference, traps, chance)
    found = Counter(death.place for death in deaths)
    assert set(found) >= set(PLACES)
    assert sum(found.values()) >= 7
