"""Names with numbers in them."""

from hypothesis import given
from hypothesis import strategies as st

from bnbench.natural_order import natural_key

NAMES = ["", "2", "10", "conv", "conv1", "conv02", "conv2", "conv10", "conv10b2", "conv10b10", "dense1", "²"]


@given(st.permutations(NAMES))
def test_numbers_in_names_count_as_numbers(names):
    assert sorted(names, key=natural_key) == NAMES


@given(st.lists(st.text(st.sampled_from("a1²0-"), max_size=5), unique=True))
def test_any_names_have_one_order(names):
    backwards = list(reversed(names))
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
