"""The problems that ship have the settings, seeds and targets of the works that they reproduce."""

import pytest

from bnbench import identity
from bnbench.identity import hashed
from bnbench.problem import DeepOBSSource, find_problem
from support.shipped_problems import CLASSES, DEEP, FOUNDING, NAMES

COLOUR_JITTER = {"brightness": 63 / 255, "contrast": 0.8, "saturation": 0.5}
SEEDS = (4842821, 42, 43, 44, 45, 46, 47, 48, 49, 50)


@pytest.mark.parametrize("size", ["full", "tiny"])
@pytest.mark.parametrize("name", FOUNDING)
def test_a_founding_problem_is_plain_sgd_with_the_studys_seeds(name, size):
    problem = find_problem(name).problem(size)
    assert problem.seeds == SEEDS
    assert problem.snapshots.schedule == "every:5"
    assert set(hashed(problem.training)) == identity.FOUNDING["Training"]
    assert problem.training.momentum == 0
    if problem.dataset == "digits":
        assert problem.augmentation.crop_padding == 2


# Read in the authors' code: Frankle et al. (open_lth at 2ce732f), Davis & Frank (revisiting-bn-init at 34043d3).
FRANKLE = {
    "batch_size": 128, "epochs": 160, "learning_rate": 0.1, "momentum": 0.9, "population_statistics": False,
    "l2": 1e-4, "l2_scope": "all", "schedule": "steps", "milestones": [80, 120],
}  # fmt: skip
DAVIS = {
    "batch_size": 128, "epochs": 180, "learning_rate": 0.1, "momentum": 0.9, "population_statistics": False,
    "l2": 1e-4, "schedule": "cosine", "anneal": "epoch", "floor": 1e-8,
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_the_deep_networks_have_their_papers_settings(name):
    problem = find_problem(name).problem()
    davis = name.endswith(("resnet18", "resnet34", "resnet50", "resnet101"))
    assert hashed(problem.training) == (DAVIS if davis else FRANKLE)
    assert problem.augmentation.model_dump() == {
        "crop_padding": 0 if davis else 4, "horizontal_flip": 0.5, "brightness": 0, "contrast": 0, "saturation": 0,
    }  # fmt: skip
    assert problem.seeds == (tuple(range(1, 16)) if davis else tuple(range(42, 52)))
    assert problem.targets == ()
    source = "this suite" if name.endswith("29b") else "Davis & Frank 2022" if davis else "Frankle, Schwab & Morcos"
    assert source in problem.source


# The study's table (Tsingunidis 2023, chapter 3, with the released code's learning rates), typed here again.
STUDY = {
    "cifar10_3c3d": (128, 0.022610510812765, 100, 0.002, 10, {"hidden", "first", "penultimate", "first:3", "last:3"}),
    "cifar100_3c3d": (256, 0.16579130972807002, 350, 0.002, 100,
        {"hidden", "first", "penultimate", "first:3", "last:3"}),
    "cifar100_allcnnc": (256, 0.16579130972807002, 350, 0.0005, 100,
        {"hidden", "every", "first", "penultimate", "output", "first:4", "last:4", "output:4"}),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY)
def test_the_problems_of_the_study_have_the_studys_settings(name):
    batch_size, learning_rate, epochs, l2, classes, placements = STUDY[name]
    problem = find_problem(name).problem()
    assert hashed(problem.training) == {
        "batch_size": batch_size, "epochs": epochs, "learning_rate": learning_rate, "l2": l2,
        "momentum": 0.0, "population_statistics": False,
    }  # fmt: skip
    assert problem.augmentation.model_dump() == {"crop_padding": 2, "horizontal_flip": 0.5, **COLOUR_JITTER}
    assert problem.width == 1.0
    assert problem.seeds[0] == 4842821
    assert len(set(problem.seeds)) >= 10
    assert set(problem.placements) == placements
    assert CLASSES[problem.dataset] == classes
    assert "Tsingunidis 2023" in problem.source


def test_a_published_learning_rate_rounds_to_the_texts():
    for name, text in (("cifar10_3c3d", "0.022"), ("cifar100_3c3d", "0.166"), ("cifar100_allcnnc", "0.166")):
        rate = find_problem(name).problem().training.learning_rate
        assert abs(rate - float(text)) < 0.001


# The last epoch's test accuracies in DeepOBS's baselines at 873bbc2, vanilla under plain SGD.
BASELINES = {
    "cifar10_3c3d": (0.0630957, 100, {45: 0.830429, 47: 0.847957, 49: 0.833634, 50: 0.845152, 51: 0.838041}),
    "cifar100_allcnnc": (0.158489, 350, {43: 0.566607, 45: 0.57522, 47: 0.582532, 48: 0.575921, 49: 0.561599,
                                         50: 0.567007, 51: 0.596054}),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_target_is_the_mean_of_the_rows_it_names_and_else_there_is_none(name):
    targets = find_problem(name).problem().targets
    if name not in BASELINES:
        assert targets == ()
        return
    learning_rate, epoch, finals = BASELINES[name]
    (target,) = [each for each in targets if isinstance(each.source, DeepOBSSource)]
    assert (target.metric, target.split) == ("accuracy", "test")
    assert target.level == pytest.approx(sum(finals.values()) / len(finals), abs=5e-8)
    assert (target.source.problem, target.source.optimizer) == (name, "sgd")
    assert (target.source.learning_rate, target.source.epoch) == (learning_rate, epoch)
    assert target.source.seeds == tuple(finals)
    assert "873bbc2" in target.source.deepobs
    assert "mean" in target.source.statistic
