"""Results of a network with residual blocks: what is counted along the main path, what roles a variant's row names."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bnbench.analysis.activity import activity_summary, sparsity_summary
from bnbench.analysis.claims import decide
from bnbench.analysis.claims.trajectories import TrajectoryReader
from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.analysis.narrowing import narrowed
from bnbench.claim import Quantity, Run, Share
from bnbench.components.variants import VARIANTS, Affine, AffineRule
from bnbench.errors import UserError
from bnbench.problem import Problem
from support.synthetic_store import SyntheticRun, build_store

PROBLEM = Problem.model_validate(
    {
        "name": "cifar10_resnet8", "size": "full", "summary": "", "source": "a test", "dataset": "cifar10",
        "architecture": "resnet8", "placements": ["hidden"], "seeds": [1], "split_seed": 1,
        "training": {"batch_size": 128, "epochs": 2, "learning_rate": 0.1, "l2": 0.0001},
        "probes": {"sparsity": True},
    }
)  # fmt: skip
HIDDEN = ["stem", "s1b1c1", "s1b1c2", "s2b1sc", "s2b1c1", "s2b1c2", "s3b1sc", "s3b1c1", "s3b1c2"]
STEPS = (0, 10, 20)
LATE = replace(
    VARIANTS.get("bn_gamma_beta"), name="late", gamma=AffineRule(Affine.LEARNED, 1.0, learned_in="residual-last")
)


def made_up(variant, placement, slots):
    affine = {
        (slot, parameter): (STEPS, [[start + (HIDDEN.index(slot) + 1) * step / 20] for step in STEPS])
        for slot in slots
        for parameter, start in (("gamma", 1.0), ("beta", 0.0))
    }
    zeroed = {site: [0.5, 0.4, 0.3] for site in ("stem", "s1b1c1", "s1b1", "s2b1c1", "s2b1", "s3b1c1", "s3b1")}
    return SyntheticRun(PROBLEM, variant, 1, [0.1, 0.5, 0.7], placement=placement, affine=affine, zeroed=zeroed)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    runs = [
        made_up("bn_gamma_beta", "hidden", HIDDEN),
        made_up(LATE, "bn2,shortcut", [*HIDDEN[2::3], "s2b1sc", "s3b1sc"]),
    ]
    return open_results(build_store(tmp_path_factory.mktemp("residual"), runs))


def record_of(results, variant):
    (record,) = (record for record in results.records if record.identity.variant == variant)
    return record


def test_channels_in_shortcuts_stand_apart_from_those_along_the_main_path(results):
    record = record_of(results, "bn_gamma_beta")
    ends = TrajectoryReader(results).ends(record, record.places, "beta")
    assert [float(channels[0]) for channels in ends.end.main] == [1, 2, 3, 5, 6, 8, 9]
    assert [float(channels[0]) for channels in ends.end.shortcuts] == [4, 7]
    assert all(not channels.any() for channels in (*ends.tenth.main, *ends.tenth.shortcuts))
    assert TrajectoryReader(results).monotonic(record, record.places, "beta") == (9, 9)


def test_a_parameter_that_is_learned_by_role_is_told_from_one_that_is_not(results):
    for parameter, slots in (("gamma", HIDDEN[2::3]), ("beta", ["s1b1c2", "s2b1sc", "s2b1c2", "s3b1sc", "s3b1c2"])):
        summary = activity_summary(results, variant="late", parameter=parameter)
        assert list(summary["slot"]) == slots
        assert summary["learned"].all()


def test_sparsity_of_a_block_stands_where_its_last_slot_is(results):
    summary = sparsity_summary(results, variant="bn_gamma_beta")
    assert dict(zip(summary["slot"], summary["position"], strict=True)) == {
        "stem": 0, "s1b1c1": 1, "s1b1": 2, "s2b1c1": 4, "s2b1": 5, "s3b1c1": 7, "s3b1": 8,
    }  # fmt: skip
    assert np.isclose(summary["final"], 0.3).all()


def test_a_comparison_is_found_by_any_name_of_its_placement(results):
    found = comparisons(results.records)
    for name in ("shortcut,bn2", "residual-last,shortcut", "0011011010"):
        (one,) = narrowed(found, "full", placements=(name,))
        assert one.placement == "bn2,shortcut"
    with pytest.raises(UserError, match="placement 'stage:9' fits no recorded network"):
        narrowed(found, "full", placements=("stage:9",))


def test_rules_on_gamma_and_beta_count_the_slots_of_shortcuts_among_all_only(results):
    record = record_of(results, "bn_gamma_beta")
    body = SimpleNamespace(find=lambda _run: {1: record}, places=lambda _problem: record.places)
    reader = decide._Reader(results, body)
    run = {"problem": "cifar10_resnet8", "variant": "bn_gamma_beta"}

    def number(slots, **more):
        if more:
            side = reader.share_side(Share(rule="share", run=Run(**run), parameter="beta", slots=slots, **more), [1])
        else:
            quantity = Quantity(**run, parameter="beta", statistic="activity", slots=slots)
            side = reader.quantity_side("one", quantity, [1])
        return side.values[1]

    # β ends at the slots' places, 1 to 9; 4 and 7 are those of shortcuts.
    assert number("all") == pytest.approx(sum(range(1, 10)) / 9)
    assert (number("first"), number("last")) == (1, 9)
    assert number("intermediate") == pytest.approx((2 + 3 + 5 + 6 + 8) / 5)
    assert number("others") == pytest.approx((1 + 2 + 3 + 5 + 6 + 8) / 6)
    assert number("all", condition="> +band", band=0.7) == pytest.approx(3 / 9)  # 7, 8 and 9 are above 6.3
    assert number("others", condition="> +band", band=0.7) == pytest.approx(1 / 6)
