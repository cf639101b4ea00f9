"""A run at its problem's own settings, and one that is not."""

from bnbench.analysis.settings import overrides, problem_at, problem_targets
from bnbench.problem import find_problem
from bnbench.specification import Specification
from support.synthetic_store import SyntheticRun

OWN = find_problem("digits_3c3d").problem("full").training.epochs


def run(**fields):
    return SyntheticRun("digits_3c3d", "bn", 42, **{"accuracy": [0.5] * (OWN + 1), **fields})


def changed(run, **changes):
    spec = run.spec()
    mapping = {**spec.resolved(), **changes}
    return overrides(spec.problem, spec.size, Specification.model_validate(mapping))


def test_own_settings_have_no_overrides():
    assert changed(run()) == ()
    tiny = find_problem("digits_3c3d").problem("tiny").training.epochs
    assert changed(run(size="tiny", epochs=tiny)) == ()


def test_what_the_grid_varies_is_no_override():
    assert changed(run(lr_factor=10.0, placement="every")) == ()


def test_every_other_change_is_named():
    other = run(accuracy=[0.1, 0.2], overrides={"training.l2": 0.123, "width": 1.75})
    assert changed(other) == ("width = 1.75", "training.epochs = 1", "training.l2 = 0.123")
    assert changed(run(), precision="bf16") == ("precision = bf16",)
    assert changed(run(), numerics=2) == ("numerics = 2",)


def test_what_is_merely_recorded_is_no_override():
    for changes in ({"probes.sparsity": True}, {"snapshots.schedule": "every:100"},
                    {"training.population_statistics": True}):  # fmt: skip
        assert changed(run(overrides=changes)) == ()


def test_of_a_problem_whose_file_is_not_known_nothing_is_said():
    mine = find_problem("digits_3c3d").problem().model_copy(update={"name": "mine"})
    assert changed(SyntheticRun(mine, "bn", 42, [0.1, 0.2])) is None
    assert problem_at("mine", "full") is None
    assert problem_targets("mine", "full") == ()


def test_targets_are_those_of_the_problem_file():
    for name in ("digits_3c3d", "cifar10_3c3d"):
        assert problem_targets(name, "full") == find_problem(name).problem("full").targets
        assert problem_targets(name, "tiny") == find_problem(name).problem("tiny").targets
