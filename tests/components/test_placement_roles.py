"""Placements of networks with residual blocks, against a second implementation that looks at slots one by one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.components.architectures import ARCHITECTURES, Conv, Dense, GlobalMean, Residual, Subsample, slot_places
from bnbench.components.placements import (
    BLOCK_GRAMMAR,
    GRAMMAR,
    SlotPlace,
    canonical_placement,
    masked_places,
    parse_placement,
    relu_sites,
)
from bnbench.errors import UserError

RESNET8 = slot_places(ARCHITECTURES.get("resnet8").layer_table(10, 1.0))
# stem s1b1c1 s1b1c2 s2b1sc s2b1c1 s2b1c2 s3b1sc s3b1c1 s3b1c2 out
RESNET20A = slot_places(ARCHITECTURES.get("resnet20a").layer_table(10, 1.0))


@st.composite
def tables(draw):
    """Layer tables with residual blocks: stem, blocks, head, output, each as long as it may be."""
    stem = [Conv(f"stem{number}", 4, 3) for number in range(draw(st.integers(0, 2)))]
    blocks = []
    for number in range(draw(st.integers(1, 4))):
        body = tuple(Conv(f"b{number}c{k}", 4, 3) for k in range(draw(st.integers(1, 3))))
        shortcut = draw(st.sampled_from([(), Subsample(1, 4), Conv(f"b{number}sc", 4, 1, activation=False)]))
        blocks.append(Residual(f"b{number}", body, shortcut))
    head = [Conv(f"top{number}", 4, 3) for number in range(draw(st.integers(0, 2)))]
    output = draw(st.sampled_from([(), (GlobalMean(), Dense("out", 4, activation=False))]))
    return (*stem, *blocks, *head, *output)


def reference(layers):
    """Name to (role, stage, block), from the table's structure, written a second time."""
    found, stage, seen = {}, 0, False
    for layer in layers:
        if isinstance(layer, Residual):
            stage += not seen or layer.shortcut != ()
            seen = True
            if isinstance(layer.shortcut, Conv):
                found[layer.shortcut.name] = ("shortcut", stage, layer.name)
            for number, slot in enumerate(layer.body):
                found[slot.name] = (f"bn{number + 1}", stage, layer.name)
        elif isinstance(layer, Conv | Dense):
            found[layer.name] = ("head" if seen else "stem", None, None)
    last = list(found)[-1]
    found[last] = ("output", *found[last][1:])
    return found


def meaning(expression, layers):
    """The names that an expression means, by looking at each."""
    known = reference(layers)
    names, output = list(known), list(known)[-1]
    path = [name for name in names if known[name][0] != "shortcut"]
    family, _, text = expression.partition(":")
    k = int(text) if text else 1
    if family == "stage":
        return {name for name in names if known[name][1] == k}
    if family in {"first", "last", "output"}:
        hidden = [name for name in path if name != output]
        return set({"first": path[:k], "last": hidden[len(hidden) - k :], "output": path[len(path) - k :]}[family])
    if expression == "residual-last":
        blocks = {known[name][2] for name in names} - {None}
        return {[name for name in path if known[name][2] == block][-1] for block in blocks}
    if expression in known:
        return {expression}
    return {
        "every": set(names),
        "hidden": set(names) - {output},
        "main": set(path) - {output},
        "penultimate": set(path[-2:-1]),
    }.get(expression, {name for name in names if known[name][0] == expression})


def words(layers):
    """Every word that fits a network alone, and those that may stand in a list."""
    known = reference(layers)
    count = sum(role != "shortcut" for role, *_ in known.values())
    listed = {role for role, *_ in known.values()} | {"residual-last"} | {
        f"stage:{stage}" for _, stage, _ in known.values() if stage
    } | set(known)  # fmt: skip
    if any(role not in {"shortcut", "output"} for role, *_ in known.values()):
        listed.add("main")
    alone = {"every", "hidden", "penultimate", "first", "output"} | {f"first:{k}" for k in range(1, count + 1)}
    alone |= {f"last:{k}" for k in range(1, count)} | {f"output:{k}" for k in range(1, count + 1)}
    return sorted(alone), sorted(listed)


@st.composite
def expressions(draw):
    layers = draw(tables())
    alone, listed = words(layers)
    if draw(st.booleans()):
        expression = draw(st.sampled_from(alone))
        return layers, expression, meaning(expression, layers)
    chosen = draw(st.lists(st.sampled_from(listed), min_size=1, max_size=4, unique=True))
    return layers, ",".join(chosen), set().union(*(meaning(word, layers) for word in chosen))


@given(tables())
def test_roles_stages_and_blocks(layers):
    assert {place.name: (place.role, place.stage, place.block) for place in slot_places(layers)} == reference(layers)


@given(expressions())
def test_an_expression_means_the_slots_that_looking_at_each_finds(case):
    layers, expression, names = case
    places = slot_places(layers)
    if not names:
        with pytest.raises(UserError, match="places no BatchNorm at all"):
            parse_placement(expression, places)
        return
    mask = parse_placement(expression, places)
    assert {place.name for place in masked_places(mask, places)} == names


@given(tables(), st.data())
def test_the_canonical_name_of_any_mask_leads_back_to_it(layers, data):
    places = slot_places(layers)
    mask = data.draw(st.text("01", min_size=len(places), max_size=len(places)).filter(lambda text: "1" in text))
    canonical = canonical_placement(mask, places)
    assert parse_placement(canonical, places) == mask
    assert canonical_placement(parse_placement(canonical, places), places) == canonical


@given(expressions())
def test_the_canonical_name_of_an_expression_leads_back_to_its_mask(case):
    layers, expression, names = case
    places = slot_places(layers)
    if names:
        mask = parse_placement(expression, places)
        assert parse_placement(canonical_placement(mask, places), places) == mask


@pytest.mark.parametrize(
    ("expression", "mask"),
    [("hidden", "1111111110"), ("every", "1111111111"), ("penultimate", "0000000010"), ("last:2", "0000000110"),
     ("first:4", "1110100000"), ("output:3", "0000000111"), ("stem", "1000000000"), ("bn1", "0100100100"),
     ("bn2", "0010010010"), ("shortcut", "0001001000"), ("main", "1110110110"), ("residual-last", "0010010010"),
     ("stage:2", "0001110000"), ("bn1,shortcut", "0101101100"), ("stage:1 , s3b1sc", "0110001000"),
     ("shortcut,output", "0001001001"), ("bn1,s1b1c1", "0100100100")],
)  # fmt: skip
def test_masks_of_resnet_8_written_out(expression, mask):
    assert parse_placement(expression, RESNET8) == mask


@pytest.mark.parametrize(
    ("expression", "canonical"),
    [("1111111110", "hidden"), ("bn1,bn2,stem", "first:7"), ("main", "first:7"), ("residual-last", "bn2"),
     ("bn1", "bn1"), ("stage:3", "stage:3"), ("shortcut,bn1", "bn1,shortcut"), ("s3b1c2", "penultimate"),
     ("s2b1sc,s3b1sc", "shortcut"), ("s1b1c1,bn2", "bn2,s1b1c1"), ("stage:2,stage:1", "stage:1,stage:2"),
     ("out,bn1", "bn1,out"), ("s1b1c1,s2b1sc", "s1b1c1,s2b1sc")],
)  # fmt: skip
def test_equal_masks_share_one_name(expression, canonical):
    assert canonical_placement(parse_placement(expression, RESNET8), RESNET8) == canonical


def test_the_penultimate_slot_is_the_last_blocks_last_whatever_its_shortcut():
    for name in ("resnet18", "resnet50", "resnet56", "resnet29b"):
        places = slot_places(ARCHITECTURES.get(name).layer_table(10, 1.0))
        (penultimate,) = masked_places(parse_placement("penultimate", places), places)
        last = masked_places(parse_placement("residual-last", places), places)[-1]
        assert penultimate == last
        assert penultimate.block == [place.block for place in places if place.block][-1]


def test_a_network_without_shortcuts_that_have_weights_has_no_such_role():
    with pytest.raises(UserError, match="'shortcut' is neither a placement nor a slot of this network"):
        parse_placement("shortcut", RESNET20A)
    assert parse_placement("main", RESNET20A) == parse_placement("hidden", RESNET20A)


@pytest.mark.parametrize(
    "expression", ["bn1", "main", "residual-last", "stage:1", "shortcut", "stem", "head", "bn1,conv1"]
)
def test_networks_without_blocks_refuse_what_is_said_of_blocks(expression):
    with pytest.raises(UserError) as caught:
        parse_placement(expression, ("conv1", "conv2", "dense1"))
    message = str(caught.value)
    assert (
        f"'{expression.partition(',')[0]}' is said of networks with residual blocks, and this one has none" in message
    )
    assert all(form in message for form, _ in GRAMMAR)
    assert "residual-last  " not in message


@pytest.mark.parametrize(
    ("expression", "reason"),
    [("bn4", "'bn4' is neither a placement nor a slot of this network; did you mean 'bn"),
     ("shortcuts", "did you mean 'shortcut'?"), ("residual_last", "did you mean 'residual-last'?"),
     ("s2b1cs", "did you mean 's2b1"), ("stage:4", "the K of stage:K is a number from 1 to 3"),
     ("stage:0", "the K of stage:K is a number from 1 to 3"), ("bn1,bn1", "it names something twice"),
     ("hidden,shortcut", "'hidden' is neither"), ("first:9", "a number from 1 to 8"), ("last:8", "from 1 to 7")],
)  # fmt: skip
def test_a_placement_that_does_not_fit_is_refused_with_reason_grammar_and_slots(expression, reason):
    with pytest.raises(UserError) as caught:
        parse_placement(expression, RESNET8)
    message = str(caught.value)
    assert reason in message
    assert all(form in message and meaning in message for form, meaning in (*GRAMMAR, *BLOCK_GRAMMAR))
    assert "This network's slots: stem s1b1c1" in message


@given(st.text(max_size=20) | st.from_regex(r"(bn|stage:)[0-9]{1,30}(,shortcut)?", fullmatch=True))
def test_any_text_is_a_placement_or_a_users_mistake(text):
    try:
        mask = parse_placement(text, RESNET8)
    except UserError:
        return
    assert re.fullmatch("[01]{10}", mask)


def block(name, *slots):
    return Residual(name, tuple(Conv(slot, 4, 3) for slot in slots))


@pytest.mark.parametrize(
    ("slots", "wrong"),
    [(("bn2", "bn1"), "bn2"), (("main", "conv"), "main"), (("shortcut", "conv"), "shortcut"), (("bn9", "conv"), "bn9")],
)
def test_a_slot_may_not_be_called_by_a_role_that_others_have(slots, wrong):
    table = (Conv("stem", 4, 3), block("one", *slots), GlobalMean(), Dense("out", 4, activation=False))
    architecture = ARCHITECTURES.get("mlp").__class__("mine", "Mine", "", "", 8, lambda _classes, _width: table)
    with pytest.raises(UserError, match=f"'{wrong}' cannot be the name of this slot, whose role is bn"):
        architecture.layer_table(4, 1.0)


def test_where_relus_may_be():
    names = [site.name for site in relu_sites(RESNET8)]
    assert names[:8] == ["stem", "s1b1c1", "s1b1c2", "s1b1", "s2b1sc", "s2b1c1", "s2b1c2", "s2b1"]
    assert names[-2:] == ["s3b1", "out"]
    assert {site.stage for site in relu_sites(RESNET8) if site.name == "s2b1"} == {2}
    plain = [SlotPlace("conv1"), SlotPlace("out")]
    assert relu_sites(plain) == plain
