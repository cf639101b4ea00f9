"""A run at its problem's own settings, and one that is not."""

from bnbench.analysis.settings import overrides, problem_at, problem_targets
from bnbench.problem import find_problem
from support.synthetic_store import SyntheticRun

OWN = find_problem("digits_3c3d").problem("full").training.epochs


def run(**fields):
    return SyntheticRun("digits_3c3d", "bn", 42, **{"accuracy": [0.5] * (OWN + 1), **fields})


def test_own_settings_have_no_overrides():
    assert overrides(run().spec().document()) == ()
    tiny = find_problem("digits_3c3d").problem("tiny").training.epochs
    assert overrides(run(size="tiny", epochs=tiny).spec().document()) == ()


def test_what_the_grid_varies_is_no_override():
    assert overrides(run(lr_factor=10.0, placement="every").spec().document()) == ()


def test_every_other_change_is_named():
    document = run(accuracy=[0.1, 0.2], overrides={"training.l2": 0.123, "width": 1.75}).spec().document()
    assert overrides(document) == ("width = 1.75", "training.epochs = 1", "training.l2 = 0.123")
    assert overrides({**run().spec().document(), "precision": "bf16"}) == ("precision = bf16",)
    assert overrides({**run().spec().document(), "numerics": 0}) == ("numerics = 0",)


def test_a_probe_that_was_turned_on_or_off_is_named_and_one_that_never_was_asked_for_is_not():
    assert overrides(run(overrides={"probes.sparsity": True}).spec().document()) == ("probes.sparsity = true",)
    thesis = find_problem("cifar10_3c3d").problem("full").training.epochs
    for changes, named in (({}, ()), ({"probes.sparsity": False}, ("probes.sparsity = false",))):
        spec = SyntheticRun("cifar10_3c3d", "bn", 42, [0.5] * (thesis + 1), overrides=changes).spec()
        assert overrides(spec.document()) == named


def test_of_a_problem_whose_file_is_not_known_nothing_is_said():
    mine = find_problem("digits_3c3d").problem().model_copy(update={"name": "mine"})
    assert overrides(SyntheticRun(mine, "bn", 42, [0.1, 0.2]).spec().document()) is None
    assert problem_at("mine", "full") is None
    assert problem_targets("mine", "full") == ()


def test_targets_are_those_of_the_problem_file():
    for name in ("digits_3c3d", "cifar10_3c3d"):
        assert problem_targets(name, "full") == find_problem(name).problem("full").targets
        assert problem_targets(name, "tiny") == find_problem(name).problem("tiny").targets
