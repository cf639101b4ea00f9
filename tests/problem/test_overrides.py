"""`--set`: which keys there are, how a value is read, and what it is laid over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.errors import UserError
from bnbench.problem import find_problem, parse_override, settable_keys
from support.problem_texts import SMALL


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("training.l2=0", "training.l2", 0), ("training.l2 = 1e-3", "training.l2", 1e-3),
     ("training.epochs=7", "training.epochs", 7),
     ("training.population_statistics=true", "training.population_statistics", True),
     ("snapshots.schedule=log:50", "snapshots.schedule", "log:50"),
     ('snapshots.schedule="log:50"', "snapshots.schedule", "log:50"),
     ("width=0.25", "width", 0.25), ("augmentation.crop_padding=0", "augmentation.crop_padding", 0)],
)  # fmt: skip
def test_an_override_is_read_and_applied(read, text, key, value):
    assert parse_override(text) == (key, value)
    problem = read(SMALL).problem("full", dict([parse_override(text)]))
    held = problem
    for part in key.split("."):
        held = getattr(held, part)
    assert held == value


def test_an_override_wins_over_the_tiny_overlay_and_leaves_the_file_as_it_was(read):
    file = read(SMALL)
    assert file.problem("tiny", {"training.epochs": 9, "training.l2": 0.0}).training.model_dump() == {
        **file.problem("tiny").training.model_dump(), "epochs": 9, "l2": 0.0,
    }  # fmt: skip
    assert file.problem("tiny").training.epochs == 2


@pytest.mark.parametrize(
    ("text", "reasons"),
    [("training.l2", ["expected KEY=VALUE", "--set training.l2=0"]),
     ("training.l2=", ["expected KEY=VALUE"]), ("", ["expected KEY=VALUE"]),
     ("training.epoch=3", ["unknown key 'training.epoch'. Did you mean 'training.epochs'?", "augmentation.contrast"]),
     ("l2=0", ["unknown key 'l2'. Did you mean 'training.l2'?"]),
     ("seeds=3", ["unknown key 'seeds'.", "Known keys: training.batch_size"]),
     ("dataset=cifar10", ["unknown key 'dataset'"]), ("training=3", ["unknown key 'training'"])],
)  # fmt: skip
def test_an_override_that_cannot_be_meant_is_refused(text, reasons):
    with pytest.raises(UserError) as caught:
        parse_override(text)
    for reason in reasons:
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("training.epochs=0", "training.epochs = 0: input should be greater than or equal to 1"),
     ("training.epochs=1.5", "training.epochs = 1.5"), ("training.l2=abc", "training.l2 = 'abc'"),
     ("training.learning_rate=inf", "training.learning_rate = inf"), ("width=-1", "width = -1"),
     ("training.epochs={a = 1}", "training.epochs = {'a': 1}"), ("snapshots.schedule=5", "snapshots.schedule = 5"),
     ("training.population_statistics=True", "training.population_statistics = 'True'")],
)  # fmt: skip
def test_an_override_with_an_impossible_value_is_refused(read, text, reason):
    file = read(SMALL)
    with pytest.raises(UserError) as caught:
        file.problem("full", dict([parse_override(text)]))
    assert f"mine.toml with --set: {reason}" in str(caught.value)


def test_every_settable_key_is_one_that_decides_what_is_recorded():
    assert list(settable_keys()) == [
        "training.batch_size", "training.epochs", "training.learning_rate", "training.l2", "training.momentum",
        "training.population_statistics", "training.l2_scope", "training.optimiser", "training.nesterov",
        "training.betas", "training.eps", "training.optimiser_options", "training.schedule", "training.milestones",
        "training.factor", "training.floor", "training.anneal", "training.schedule_options", "training.warmup_epochs",
        "training.images", "augmentation.crop_padding", "augmentation.horizontal_flip",
        "augmentation.brightness", "augmentation.contrast", "augmentation.saturation", "evaluation.images",
        "snapshots.schedule", "probes.sparsity", "probes.landscape", "probes.landscape.schedule",
        "probes.covariate_shift", "probes.covariate_shift.schedule", "probes.covariate_shift.batches",
        "probes.spectrum", "probes.spectrum.schedule",
        "probes.spectrum.order", "probes.spectrum.draws", "probes.spectrum.batches", "probes.spectrum.statistics",
        "probes.activations", "probes.activations.statistics", "width",
    ]  # fmt: skip


def test_the_american_spelling_is_a_misspelling():
    with pytest.raises(UserError, match=r"unknown key 'training\.optimizer'\. Did you mean 'training\.optimiser'\?"):
        parse_override("training.optimizer=adamw")
    assert parse_override("training.optimiser_options.rho=0.9") == ("training.optimiser_options.rho", 0.9)


@pytest.mark.parametrize("order", [1, -1])
def test_a_probe_that_is_switched_on_and_has_options(order):
    changes = [("probes.landscape", True), ("probes.landscape.schedule", "log:3")][::order]
    problem = find_problem("digits_mlp").problem("tiny", dict(changes))
    assert problem.probes.hashed()["landscape"] == {"schedule": "log:3"}
    with pytest.raises(UserError, match="'landscape' is set to a value too"):
        find_problem("digits_mlp").problem("tiny", {"probes.landscape": False, "probes.landscape.schedule": "log:3"})


@given(st.floats(min_value=0, max_value=1e6))
def test_a_number_survives_an_override_to_the_last_bit(value):
    assert parse_override(f"training.l2={value!r}")[1] == value
