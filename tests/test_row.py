"""Rows look at their own fields: a component that is not what its name says is refused before it trains anything."""

import dataclasses
import re
from functools import partial

import numpy as np
import pytest
import torch

from bnbench.components.architectures import (
    ARCHITECTURES,
    Architecture,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    MaxPool,
    Norm,
    Residual,
    Subsample,
    slots,
    trace,
)
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, Splits
from bnbench.errors import UserError
from bnbench.network.build import Network
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import find_problem
from bnbench.row import rows_checked_later

LEARNED, FIXED = AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.FIXED, 0.0)
GOOD = {
    Variant: VARIANTS.get("bn_gamma_beta"),
    AffineRule: LEARNED,
    Conv: Conv("conv1", 4, 3),
    Dense: Dense("dense1", 4),
    MaxPool: MaxPool(3, 2),
    Dropout: Dropout("dropout1", 0.5),
    Norm: Norm("norm1"),
    Subsample: Subsample(2, 8),
    Residual: Residual("block1", (Conv("conv1", 4, 3),)),
    Architecture: ARCHITECTURES.get("mlp"),
}
WRONG = [
    (Variant, "normaliser", "Group Norm", "plain name"),
    (Variant, "normaliser", "", "plain name"),
    (Variant, "normaliser", None, "valid string"),
    (Variant, "weights", "Weight Norm", "plain name"),
    (Variant, "options", ["groups"], "instance of Options"),
    (Variant, "weights_in", 3, "valid string"),
    (Variant, "weights_in", "output", "train_weights is True"),
    (AffineRule, "initial_until", 1.0, "greater than initial = 1"),
    (AffineRule, "initial_in", "output", "valid tuple"),
    (Variant, "name", "Group Norm", "plain name"),
    (Variant, "name", "../up", "plain name"),
    (Variant, "symbol", "", "at least 1 character"),
    (Variant, "gamma", {"status": "learned"}, "an instance of AffineRule"),
    (Variant, "train_weights", 1, "valid boolean"),
    (AffineRule, "status", "learned", "should be Affine.ABSENT or Affine.FIXED or Affine.LEARNED"),
    (AffineRule, "initial", "1", "valid number"),
    (AffineRule, "initial", float("nan"), "finite number"),
    (AffineRule, "initial", True, "valid number"),
    (AffineRule, "learning_rate_factor", -1.0, "greater than 0"),
    (AffineRule, "learned_in", ["conv1"], "valid string"),
    (Conv, "channels", 0, "greater than or equal to 1"),
    (Conv, "channels", 4.0, "valid integer"),
    (Conv, "channels", np.int64(4), "valid integer"),
    (Conv, "kernel", -3, "greater than or equal to 1"),
    (Conv, "stride", 0, "greater than or equal to 1"),
    (Conv, "padding", "full", "'same' or 'valid'"),
    (Conv, "padding", -1, "should be 'same' or 'valid', or a number of pixels"),
    (Conv, "padding", True, "should be 'same' or 'valid', or a number of pixels"),
    (Conv, "padding", 1.0, "should be 'same' or 'valid', or a number of pixels"),
    (Conv, "activation", "relu", "valid boolean"),
    (Conv, "initialiser", "he_normal", "'xavier_normal', 'xavier_uniform', 'kaiming_normal' or 'truncated_normal'"),
    (Dense, "features", True, "valid integer"),
    (Dense, "initialiser", "zeros", "'xavier_normal', 'xavier_uniform', 'kaiming_normal' or 'truncated_normal'"),
    (MaxPool, "kernel", 0, "greater than or equal to 1"),
    (Norm, "name", "", "at least 1 character"),
    (Norm, "activation", None, "valid boolean"),
    (Subsample, "stride", 0, "greater than or equal to 1"),
    (Subsample, "channels", 2.0, "valid integer"),
    (Residual, "name", 1, "valid string"),
    (Residual, "activation", 1, "valid boolean"),
    (Residual, "body", [Conv("conv1", 4, 3)], "should be a tuple of layers"),
    (Residual, "body", (), "should have a convolution, a dense layer or a normaliser"),
    (Residual, "body", (MaxPool(3, 1),), "should have a convolution, a dense layer or a normaliser"),
    (Residual, "body", (Residual("block2", (Conv("conv1", 4, 3),)),), "a block cannot be in a block"),
    (Residual, "shortcut", None, "should be (), a Subsample or a Conv"),
    (Residual, "shortcut", (Conv("conv2", 4, 1, activation=False),), "should be (), a Subsample or a Conv"),
    (Residual, "shortcut", Dense("dense1", 4), "should be (), a Subsample or a Conv"),
    (Residual, "shortcut", Conv("conv2", 4, 1), "should have activation=False: ReLU follows the sum"),
    (Dropout, "rate", 1.0, "less than 1"),
    (Dropout, "rate", float("inf"), "finite number"),
    (Architecture, "image_size", 0, "greater than or equal to 1"),
    (Architecture, "layers", (Conv("conv1", 4, 3),), "callable"),
]


@pytest.mark.parametrize(("kind", "field", "value", "reason"), WRONG)
def test_a_field_that_cannot_be_is_named_with_what_can(kind, field, value, reason):
    with pytest.raises(UserError) as caught:
        dataclasses.replace(GOOD[kind], **{field: value})
    assert f"{field} = " in str(caught.value)
    assert reason in str(caught.value)


def test_the_message_names_the_row_the_field_and_what_exists():
    with pytest.raises(UserError) as caught:
        Variant("group_norm", "GN", "GroupNorm", "group norm", gamma=LEARNED, beta=FIXED)
    assert str(caught.value) == (
        "variant 'group_norm': normaliser = 'group norm': should be a plain name: lower-case letters, digits and "
        "underscores, 64 at most"
    )


@pytest.mark.parametrize(("field", "initial"), [("gamma", 0.5), ("beta", 0.1)])
def test_an_absent_parameter_cannot_scale_or_shift(field, initial):
    with pytest.raises(UserError, match=rf"{field}\.initial = {initial}: should be . where {field} is absent"):
        dataclasses.replace(GOOD[Variant], **{field: AffineRule(Affine.ABSENT, initial)})


def test_a_row_that_was_changed_later_is_noticed_when_it_is_looked_at_again():
    with rows_checked_later():
        rule = AffineRule("learnd", 1.0)
        row = Variant("mine", "M", "", "batch", gamma=rule, beta=FIXED)
    with pytest.raises(UserError, match="variant 'mine': gamma: rule of γ or β: status = 'learnd'"):
        row.check()
    object.__setattr__(row, "gamma", LEARNED)
    row.check()
    object.__setattr__(row, "normaliser", "group norm")
    with pytest.raises(UserError, match="normaliser = 'group norm'"):
        row.check()
    with pytest.raises(UserError):
        AffineRule("learnd", 1.0)  # outside of an import it is refused at once


@dataclasses.dataclass(frozen=True)
class Highway:
    name: str


@dataclasses.dataclass(frozen=True)
class WideConv(Conv):
    """A class of its own, which a network would build as a plain convolution."""


def architecture(*layers, name="mine"):
    return Architecture(name, "Mine", "", "this test", 8, lambda classes, width: layers)


HEAD = (Flatten(), Dense("dense1", 10, activation=False))


@pytest.mark.parametrize("stranger", [Highway("block1"), WideConv("conv1", 4, 3), "conv1", None])
def test_a_layer_of_an_unknown_kind_is_refused_wherever_layers_are_looked_at(stranger):
    layers = (stranger, *HEAD)
    message = f"a layer of an unknown kind, {type(stranger).__name__}"
    for look in (
        lambda: architecture(*layers).layer_table(10, 1.0),
        lambda: trace(layers, (1, 8, 8)),
        lambda: slots(layers),
        lambda: Network(layers, (1, 8, 8), "0", VARIANTS.get("vanilla")),
    ):
        with pytest.raises(UserError, match=message) as caught:
            look()
        assert "Known kinds of layers: Conv, Dense, MaxPool, Dropout, Flatten, GlobalMean, Norm, Residual." in str(
            caught.value
        )


def test_a_network_that_was_built_meets_no_layer_that_it_skips():
    network = Network(HEAD, (1, 8, 8), "0", VARIANTS.get("vanilla"))
    network._layers = (Highway("block1"), *HEAD)
    with pytest.raises(AssertionError):
        network(torch.zeros(1, 1, 8, 8))


def test_a_variant_that_was_changed_behind_everybodys_back_builds_no_batch_norm():
    row = Variant("mine", "M", "", "batch", gamma=LEARNED, beta=FIXED)
    object.__setattr__(row, "normaliser", "grup")
    with pytest.raises(UserError, match=r"unknown normaliser 'grup'\. Did you mean 'group'\?"):
        Network(HEAD, (1, 8, 8), "1", row)


@dataclasses.dataclass(frozen=True)
class WideSubsample(Subsample):
    """A class of its own too."""


@pytest.mark.parametrize("stranger", [Highway("block1"), WideConv("conv1", 4, 3), Subsample(1, 4), "conv1", None])
def test_a_layer_of_an_unknown_kind_in_a_block_is_refused_with_the_blocks_name(stranger):
    with pytest.raises(UserError, match="residual block 'block1': there is a layer of an unknown kind") as caught:
        Residual("block1", (Conv("conv2", 4, 3), stranger))
    assert "Known kinds of layers: Conv, Dense" in str(caught.value)
    with pytest.raises(UserError, match=r"shortcut = WideSubsample.*: should be \(\), a Subsample or a Conv"):
        Residual("block1", (Conv("conv2", 4, 3),), WideSubsample(1, 4))


def test_what_is_wrong_in_a_block_is_named_from_the_architecture_down_to_the_field():
    with rows_checked_later():
        block = Residual("block1", (Conv("conv1", 4, 3), Conv("conv2", 0, 3, activation=False)))
    with pytest.raises(UserError) as caught:
        architecture(block, *HEAD).layer_table(10, 1.0)
    assert str(caught.value) == (
        "architecture 'mine': residual block 'block1': convolution 'conv2': channels = 0: "
        "should be greater than or equal to 1"
    )


def doubled():
    return (Conv("conv1", 4, 3), Conv("conv1", 4, 3), *HEAD)


@pytest.mark.parametrize(
    ("layers", "message"),
    [(lambda classes, width: [*HEAD], "its layers are a list, not a tuple"),
     (lambda classes, width: None, "its layers are a NoneType"),
     (lambda classes: HEAD, "cannot be made for 10 classes and width 1: TypeError"),
     (lambda classes, width: HEAD[0:1], "neither a convolution nor a dense layer"),
     (lambda classes, width: doubled(), "two of its layers are called 'conv1'"),
     (lambda classes, width: (Dense("hidden", 4), *HEAD), "'hidden' cannot be the name of a slot"),
     (lambda classes, width: (Dense("a,b", 4), *HEAD), "'a,b' cannot be the name of a slot"),
     (lambda classes, width: (Dense("101", 4), *HEAD), "'101' cannot be the name of a slot"),
     (lambda classes, width: (Conv("conv1", 0, 3), *HEAD), "convolution 'conv1': channels = 0"),
     (lambda classes, width: (Residual("two", (Conv("two", 4, 3),)), *HEAD), "two of its layers are called 'two'"),
     (lambda classes, width: (Residual("one", (Dense("dense1", 4),)), *HEAD), "two of its layers are called 'dense1'"),
     (lambda classes, width: (Norm("norm1"),), "neither a convolution nor a dense layer"),
     (lambda classes, width: (Residual("a b", (Conv("conv1", 4, 3),)), *HEAD), "'a b' cannot be the name of a slot")],
)  # fmt: skip
def test_a_layer_table_that_cannot_be_is_refused_with_the_architectures_name(layers, message):
    row = Architecture("mine", "Mine", "", "this test", 8, layers)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        row.layer_table(10, 1.0)
    assert str(caught.value).startswith("architecture 'mine': ")


@pytest.fixture
def problem(monkeypatch):
    def of(*layers):
        monkeypatch.setitem(ARCHITECTURES._rows, "mine", architecture(*layers))
        return find_problem("digits_mlp").problem("tiny").model_copy(update={"architecture": "mine"})

    return of


DIGITS = DataFacts("digits", 10, 1, "ab" * 32, "embedded")


@pytest.mark.parametrize(
    ("layers", "message"),
    [((Flatten(), Dense("dense1", 7)), r"an output of shape \(7,\) of an image, not \(10,\)"),
     ((Conv("conv1", 10, 3),), r"an output of shape \(10, 8, 8\)"),
     ((Dense("dense1", 10),), "needs a flattened input"),
     ((Conv("conv1", 4, 9, padding="valid"), *HEAD), "8 pixels wide, its kernel 9"),
     ((Conv("conv1", 4, 13, padding=2), *HEAD), "8 pixels wide, its kernel 13"),
     ((Residual("block", (Conv("conv1", 4, 3),)), *HEAD),
      r"residual block 'block': its body makes \(4, 8, 8\), its shortcut \(1, 8, 8\); they cannot be added"),
     ((Residual("block", (Conv("conv1", 4, 3, 2, 1),), Subsample(1, 4)), *HEAD),
      r"its body makes \(4, 4, 4\), its shortcut \(4, 8, 8\)"),
     ((Conv("conv0", 8, 3), Residual("block", (Conv("conv1", 4, 3),), Subsample(1, 4)), *HEAD),
      "residual block 'block': .* gets 8 channels: it adds channels of zeros and takes none away"),
     ((Residual("block", (Dense("dense0", 10),)), *HEAD), "residual block 'block': .*needs a flattened input")],
)  # fmt: skip
def test_a_network_that_does_not_fit_its_data_is_refused_when_runs_are_planned(problem, layers, message):
    with pytest.raises(UserError, match=message) as caught:
        expand_grid(problem(*layers), DIGITS, [VARIANTS.get("bn")], placements=["every"])
    assert "architecture 'mine'" in str(caught.value)


def test_a_variant_that_does_not_fit_is_refused_when_runs_are_planned(problem):
    mine = problem(Flatten(), Dense("dense1", 4), Dense("dense2", 10))
    elsewhere = AffineRule(Affine.LEARNED, 1.0, learned_in="conv1")
    with pytest.raises(UserError, match=r"variant 'mine': gamma\.learned_in: placement 'conv1' does not fit"):
        expand_grid(mine, DIGITS, [Variant("mine", "M", "", "batch", gamma=elsewhere, beta=FIXED)])
    odd = Variant("mine", "M", "", "grup", gamma=LEARNED, beta=FIXED)
    with pytest.raises(UserError, match=r"variant 'mine': unknown normaliser 'grup'\. Did you mean 'group'\?"):
        expand_grid(mine, DIGITS, [odd])
    with pytest.raises(UserError, match="unknown precision 'fp16'"):
        expand_grid(mine, DIGITS, [VARIANTS.get("bn")], precision="fp16")


SEVEN = DATASETS.get("digits")


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"classes": 1}, "classes = 1"), ({"channels": 0}, "channels = 0"),
     ({"largest_value": 256}, "largest_value = 256"),
     ({"mean": (0.5,)}, "std = None: should be given where mean is"),
     ({"mean": (0.5, 0.5), "std": (0.1, 0.1)}, "mean = (0.5, 0.5): should have 1 numbers"),
     ({"mean": (0.5,), "std": (0.0,)}, "std = (0.0,): should be positive"),
     ({"mean": [0.5], "std": [0.1]}, "mean = [0.5]: should be a valid tuple"),
     ({"mean": (float("nan"),), "std": (0.1,)}, "mean[0] = (nan,): should be a finite number"),
     ({"identify": None}, "identify = None: should be callable")],
)  # fmt: skip
def test_a_data_set_that_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=re.escape(f"dataset 'digits': {message}")):
        dataclasses.replace(SEVEN, **fields)


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"name": "other"}, "name = 'digits': identify gives 'other'"), ({"classes": 3}, "classes = 10: identify gives 3"),
     ({"channels": 3}, "channels = 1: identify gives 3")],
)  # fmt: skip
def test_facts_that_disagree_with_the_row_are_refused(facts, message):
    row = dataclasses.replace(SEVEN, identify=lambda: dataclasses.replace(DIGITS, **facts))
    with pytest.raises(UserError, match=message):
        row.facts()
    with pytest.raises(UserError, match="identify gives a dict, not DataFacts"):
        dataclasses.replace(SEVEN, identify=dict).facts()
    with pytest.raises(UserError, match=r"dataset 'digits': identify fails: ZeroDivisionError: "):
        dataclasses.replace(SEVEN, identify=lambda: 1 / 0).facts()


def part(images=4, channels=1, label=0):
    pixels = np.zeros((images, 8, 8, channels), np.uint8)
    return LabelledImages(pixels, np.full(images, label, np.int64))


@pytest.mark.parametrize(
    ("valid", "message"),
    [(part(0), "the split valid is empty"), (part(channels=3), "channels = 1: images of valid have 3"),
     (part(label=10), "classes = 10: labels of valid go from 10 to 10"), (part(label=-1), "go from -1 to -1")],
)  # fmt: skip
def test_images_that_disagree_with_the_row_are_refused(valid, message):
    splits = Splits(part(), part(), valid, part())
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SEVEN, load_splits=lambda split_seed: splits).splits(1)
    with pytest.raises(UserError, match="load_splits gives a tuple, not Splits"):
        dataclasses.replace(SEVEN, load_splits=partial(lambda *_: ())).splits(1)


def test_flat_layers_have_nothing_to_check_and_every_shipped_row_is_right():
    for layer in (Flatten(), GlobalMean()):
        layer.check()
    for table in (VARIANTS, ARCHITECTURES, DATASETS):
        for name in table:
            table.get(name).check()
    for name in ARCHITECTURES:
        ARCHITECTURES.get(name).layer_table(10, 0.25)
