"""What a user reads when something is wrong."""

import pytest

from bnbench.errors import MissingDataError, UserError, nearest, unknown


def test_the_message_is_the_problem_then_the_hint():
    error = UserError("the file is empty", hint="Write something into it.")
    assert str(error) == "the file is empty\nWrite something into it."
    assert (error.problem, error.hint) == ("the file is empty", "Write something into it.")
    assert str(UserError("the file is empty")) == "the file is empty"


def test_missing_data_is_a_users_mistake():
    assert issubclass(MissingDataError, UserError)


def test_nearest_finds_the_mistyped_name_and_nothing_far_off():
    assert nearest("vanila", ["bn", "vanilla"]) == "vanilla"
    assert nearest("epoch", ["epochs", "batch_size"]) == "epochs"
    assert nearest("zebra", ["bn", "vanilla"]) is None
    assert nearest("bn", []) is None


def test_unknown_names_what_was_asked_what_was_meant_and_all_there_is():
    message = str(unknown("variant", "vanila", ["bn", "vanilla"], hint="Or 'all'."))
    assert message == "unknown variant 'vanila'. Did you mean 'vanilla'?\nKnown variants: bn, vanilla.\nOr 'all'."


def test_unknown_without_a_near_name_guesses_nothing():
    assert str(unknown("variant", "zebra", ["bn"])) == "unknown variant 'zebra'.\nKnown variants: bn."
    assert str(unknown("problem", "x", [])) == "unknown problem 'x'.\nNo problems are known."


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("training.optimizer", "training.optimiser"),
        ("training.epoch", "training.epochs"),
        ("trainig.epochs", "training.epochs"),
        ("epoch", "training.epochs"),
        ("training.colour", None),
        ("optimise.epochs", None),
    ],
)
def test_of_a_dotted_name_every_part_must_be_alike(name, meant):
    known = ["training.batch_size", "training.epochs", "training.optimiser", "width"]
    assert nearest(name, known) == meant


def test_what_stands_before_the_dot_is_no_reason_to_take_one_key_for_another():
    assert nearest("training.optimizer", ["training.batch_size", "training.epochs", "training.momentum"]) is None
