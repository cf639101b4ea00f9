"""Names with numbers in them."""

from hypothesis import given
from hypothesis import strategies as st

from bnbench.natural_order import natural_key


def test_numbers_in_names_count_as_numbers():
    names = ["", "2", "10", "conv", "conv1", "conv02", "conv2", "conv10", "conv10b2", "conv10b10", "dense1", "²"]
    assert sorted(reversed(names), key=natural_key) == names


@given(st.lists(st.text(st.sampled_from("a1²0-"), max_size=5), unique=True))
def test_any_names_have_one_order(names):
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)
