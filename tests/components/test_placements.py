"""The placement grammar, against a second implementation that counts slots one by one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.components.placements import GRAMMAR, NOWHERE, canonical_placement, masked_slots, parse_placement
from bnbench.errors import UserError

THREE_C_THREE_D = ("conv1", "conv2", "conv3", "dense1", "dense2", "dense3")
ALL_CNN_C = tuple(f"conv{number}" for number in range(1, 10))

networks = st.integers(1, 12).map(lambda count: tuple(f"layer{number}" for number in range(1, count + 1)))


def counted(expression, slots):
    """The mask, slot by slot: what each slot's number must satisfy."""
    last = len(slots)
    family, _, text = expression.partition(":")
    k = int(text) if text else 1
    rule = {
        "hidden": lambda number: number != last,
        "every": lambda number: True,
        "penultimate": lambda number: number == last - 1,
        "first": lambda number: number <= k,
        "last": lambda number: last - k <= number < last,
        "output": lambda number: number > last - k,
    }[family]
    return "".join("1" if rule(number) else "0" for number in range(1, last + 1))


@st.composite
def expressions(draw):
    """(network, expression of the grammar that fits it, its mask)."""
    slots = draw(networks.filter(lambda slots: len(slots) > 1))
    count = len(slots)
    chosen = draw(st.sets(st.sampled_from(slots), min_size=1))
    given_mask = "".join("1" if slot in chosen else "0" for slot in slots)
    kind = draw(st.sampled_from(["named", "first", "last", "output", "list", "mask"]))
    if kind == "named":
        expression = draw(st.sampled_from(["hidden", "every", "first", "penultimate", "output"]))
    elif kind == "list":
        return slots, ",".join(draw(st.permutations(sorted(chosen)))), given_mask
    elif kind == "mask":
        return slots, given_mask, given_mask
    else:
        expression = f"{kind}:{draw(st.integers(1, count - 1 if kind == 'last' else count))}"
    return slots, expression, counted(expression, slots)


@given(expressions())
def test_an_expression_means_the_slots_that_counting_finds(case):
    slots, expression, mask = case
    assert parse_placement(expression, slots) == mask
    assert parse_placement(f"  {expression} ", slots) == mask


@given(expressions())
def test_the_canonical_name_of_a_mask_leads_back_to_it(case):
    slots, _, mask = case
    canonical = canonical_placement(mask, slots)
    assert parse_placement(canonical, slots) == mask
    assert canonical_placement(parse_placement(canonical, slots), slots) == canonical
    assert masked_slots(mask, slots) == [slot for slot, digit in zip(slots, mask, strict=True) if digit == "1"]


@given(networks, st.text(max_size=20) | st.from_regex(r"(first|last|output):[0-9]{1,30}|[01]{1,14}", fullmatch=True))
def test_any_text_is_a_placement_or_a_users_mistake(slots, text):
    try:
        mask = parse_placement(text, slots)
    except UserError as error:
        assert all(form in str(error) for form, _ in GRAMMAR)
        assert " ".join(slots) in str(error)
    else:
        assert re.fullmatch("[01]+", mask)
        assert len(mask) == len(slots)
        assert "1" in mask


@pytest.mark.parametrize(
    ("expression", "mask"),
    [("hidden", "111110"), ("every", "111111"), ("first", "100000"), ("first:1", "100000"), ("first:3", "111000"),
     ("penultimate", "000010"), ("last:3", "001110"), ("output", "000001"), ("output:4", "001111"),
     ("dense2,conv1", "100010"), ("conv1, dense2", "100010"), ("001110", "001110")],
)  # fmt: skip
def test_masks_of_3c3d_written_out(expression, mask):
    assert parse_placement(expression, THREE_C_THREE_D) == mask


@pytest.mark.parametrize(
    ("expression", "mask"),
    [("hidden", "111111110"), ("penultimate", "000000010"), ("first:4", "111100000"), ("last:4", "000011110"),
     ("output:4", "000001111"), ("output", "000000001")],
)  # fmt: skip
def test_masks_of_all_cnn_c_written_out(expression, mask):
    assert parse_placement(expression, ALL_CNN_C) == mask


@pytest.mark.parametrize(
    ("expression", "canonical"),
    [("111110", "hidden"), ("last:5", "hidden"), ("first:5", "hidden"), ("output:6", "every"), ("first:6", "every"),
     ("conv1", "first"), ("first:1", "first"), ("dense2", "penultimate"), ("last:1", "penultimate"),
     ("dense3", "output"), ("001110", "last:3"), ("dense2,conv1", "conv1,dense2"), ("100010", "conv1,dense2")],
)  # fmt: skip
def test_equal_masks_share_one_name(expression, canonical):
    assert canonical_placement(parse_placement(expression, THREE_C_THREE_D), THREE_C_THREE_D) == canonical


def test_no_batchnorm_anywhere_has_a_name_of_its_own():
    assert canonical_placement("000000", THREE_C_THREE_D) == NOWHERE
    assert masked_slots("000000", THREE_C_THREE_D) == []


@pytest.mark.parametrize(
    ("expression", "reason"),
    [("0011100", "a mask needs 6 digits here, this one has 7"),
     ("11111", "a mask needs 6 digits here, this one has 5"),
     ("000000", "places no BatchNorm at all; that network is the variant 'vanilla'"),
     ("first:0", "a number from 1 to 6"), ("first:7", "a number from 1 to 6"), ("last:6", "a number from 1 to 5"),
     ("output:7", "a number from 1 to 6"), ("hiden", "'hiden' is neither a placement nor a slot"),
     ("conv1,conv9", "'conv9' is neither"), ("conv1,conv1", "names a slot twice"), ("conv1,", "'' is neither"),
     ("first:-1", "'first:-1' is neither"), ("HIDDEN", "'HIDDEN' is neither"), ("none", "'none' is neither"),
     ("", "'' is neither"), ("last:" + "9" * 5000, "is neither a placement")],
)  # fmt: skip
def test_a_placement_that_does_not_fit_is_refused_with_reason_grammar_and_slots(expression, reason):
    with pytest.raises(UserError) as caught:
        parse_placement(expression, THREE_C_THREE_D)
    message = str(caught.value)
    assert reason in message
    assert all(form in message and meaning in message for form, meaning in GRAMMAR)
    assert "This network's slots: conv1 conv2 conv3 dense1 dense2 dense3." in message
