"""Options of rows: what one takes, what is said of a value that it does not take, and values that never change."""

import copy
import math
import pickle

import pytest

from bnbench.components.normalisers import NORMALISERS
from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.probes import PROBES
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.components.reparametrisations import REPARAMETRISATIONS
from bnbench.errors import UserError
from bnbench.options import NO_OPTIONS, Option, Options, complete
from bnbench.problem import Training
from bnbench.row import rows_checked_later

SIZE = Option("size", 3, "how large it is", minimum=1, maximum=5)
SHARE = Option("share", 0.5, "how much of it", minimum=0)
MODE = Option("mode", "a", "which one", choices=("a", "b"))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        (Option("x", True, "x"), 1, "true or false"),
        (Option("x", 3, "x"), 2.5, "a whole number"),
        (Option("x", 3, "x"), True, "a whole number"),
        (Option("x", 3, "x", maximum=4), 5, "a whole number, at most 4"),
        (Option("x", 0.5, "x"), "a", "a number"),
        (Option("x", 0.5, "x"), None, "a number"),
        (Option("x", 0.5, "x"), math.inf, "a finite number"),
        (Option("x", 0.5, "x"), math.nan, "a finite number"),
        (Option("x", "a", "x"), 3, "a text"),
        (SIZE, 0, "a whole number from 1 to 5"),
        (SIZE, 6, "a whole number from 1 to 5"),
        (SIZE, 2.0, "a whole number from 1 to 5"),
        (SHARE, -1, "a number, at least 0"),
        (MODE, "c", "'a' or 'b'"),
        (MODE, 1, "'a' or 'b'"),
    ],
)
def test_an_option_takes_values_of_its_defaults_type_within_its_bounds(option, value, expected):
    assert option.objection(value) == f"should be {expected}"
    with pytest.raises(UserError) as caught:
        complete("normaliser 'mine'", [option], {option.name: value})
    assert str(caught.value) == (
        f"normaliser 'mine': option {option.name} = {value!r}: should be {expected}\n{option.name}: {option.meaning}."
    )


def test_what_is_not_given_has_its_default_and_a_whole_number_will_do_for_a_number():
    found = complete("normaliser 'mine'", [SIZE, SHARE, MODE], {"share": 2, "mode": "b"})
    assert found == {"size": 3, "share": 2.0, "mode": "b"}
    assert [type(found[name]) for name in ("size", "share")] == [int, float]
    assert complete("normaliser 'mine'", [], {}) == {}
    assert not Option("x", "any", "x").objection("text")


def test_an_option_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(UserError) as caught:
        complete("optimiser 'lion'", [SIZE, SHARE], {"siz": 1})
    assert str(caught.value) == (
        "optimiser 'lion': unknown option 'siz'. Did you mean 'size'?\nKnown options: size, share."
    )
    with pytest.raises(UserError, match="optimiser 'sgd' has no options of its own, so no 'size'"):
        complete("optimiser 'sgd'", [], {"size": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"default": 0, "minimum": 1}, r"option 'x': default = 0: should be a whole number, at least 1"),
        ({"default": 9.0, "minimum": 1.0, "maximum": 8.0}, r"default = 9\.0: should be a number from 1 to 8"),
        ({"default": "none", "choices": ("all",)}, "default = 'none': should be 'all'"),
        ({"default": 1, "choices": ("all",)}, "default = 1: should be 'all'"),
        ({"default": None}, "default = None"),
    ],
)
def test_an_option_whose_default_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Option("x", meaning="x", **fields)


@pytest.mark.parametrize(
    ("registry", "name"),
    [(OPTIMISERS, "sgd"), (RATE_SCHEDULES, "constant"), (NORMALISERS, "group"), (REPARAMETRISATIONS, "plain"),
     (PROBES, "landscape")],
    ids=lambda each: getattr(each, "kind", each),
)  # fmt: skip
def test_no_row_has_an_option_twice_or_one_whose_default_cannot_be(registry, name):
    row = registry.get(name)
    with rows_checked_later():
        unseen = Option("x", 0, "x", minimum=1)
    for options, message in (((SIZE, SIZE), "'size' is named twice"), ((unseen,), "option 'x': default = 0")):
        with pytest.raises(UserError, match=f"{row.kind} '{name}': options = .*{message}"):
            type(row)(**{**vars(row), "options": options})


def test_values_never_change_and_equal_ones_hash_alike():
    values = Options({"b": 1, "a": "x"})
    assert list(values) == ["a", "b"]
    assert values == {"a": "x", "b": 1} == Options({"a": "x", "b": 1.0})
    assert hash(values) == hash(Options({"a": "x", "b": 1.0}))
    assert NO_OPTIONS == {} != values
    assert repr(values) == "{'a': 'x', 'b': 1}"
    with pytest.raises(TypeError):
        values["a"] = 2
    with pytest.raises(KeyError):
        values["c"]
    for same in (pickle.loads(pickle.dumps(values)), copy.deepcopy(values)):
        assert (same, type(same)) == (values, Options)


def test_values_in_settings_are_written_as_plain_tables_and_read_back():
    settings = Training(batch_size=2, epochs=1, learning_rate=0.1, optimiser_options={"b": 1, "a": "x"})
    assert type(settings.optimiser_options) is Options
    written = settings.model_dump(mode="json")
    assert type(written["optimiser_options"]) is dict
    assert Training.model_validate(written) == settings
    assert hash(Training.model_validate(settings.model_dump())) == hash(settings)
