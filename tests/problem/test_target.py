"""Targets: their two kinds of source, and the side from which a level is reached."""

import math

from bnbench.problem import DeepOBSSource, RunsSource, Target
from support.problem_texts import SMALL, WITH_DEEPOBS, refusal


def test_both_kinds_of_source(read):
    assert isinstance(read(SMALL).problem().targets[0].source, RunsSource)
    source = read(WITH_DEEPOBS).problem().targets[0].source
    assert isinstance(source, DeepOBSSource)
    assert source.seeds == (42,)


def test_a_target_is_reached_from_the_right_side(read):
    target = read(SMALL).problem().targets[0]
    assert [target.reached(value) for value in (0.49, 0.5, 0.51, math.nan)] == [False, True, True, False]
    loss = Target(metric="loss", split="test", level=0.5, source=target.source)
    assert [loss.reached(value) for value in (0.49, 0.5, 0.51, math.nan, math.inf)] == [True, True, False, False, False]


def test_a_target_without_a_source_is_no_target(read):
    text = SMALL[: SMALL.index("[targets.source]")] + SMALL[SMALL.index("\n[tiny]") :]
    assert "the key 'targets.0.source' is missing." in refusal(read, text)
