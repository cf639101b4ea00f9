"""Residual networks: parameters, slots and costs against published and independently computed numbers."""

from functools import partial

import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES, Conv, Residual, slot_names, slot_places, slots, trace
from bnbench.components.architectures.resnet import CIFAR_WIDTHS, residual_network
from bnbench.components.placements import masked_places, parse_placement
from support.networks import FIVE, build

IMAGE = (3, 32, 32)
# Name: slots with a convolution, convolution weights, γ and β of all of them, millions of multiply-adds if known.
CIFAR = {
    "resnet18": (20, 11_159_232, 9_600, 555),
    "resnet34": (36, 21_259_968, 17_024, 1_159),
    "resnet50": (53, 23_447_232, 53_120, 1_298),
    "resnet101": (104, 42_387_136, 105_344, 2_510),
    "resnet8a": (7, 74_160, 480, None),
    "resnet8": (9, 76_720, 672, None),
    "resnet20a": (19, 267_696, 1_376, 40.6),
    "resnet20": (21, 270_256, 1_568, 40.8),
    "resnet32a": (31, 461_232, 2_272, 69),
    "resnet32": (33, 463_792, 2_464, 69),
    "resnet56a": (55, 848_304, 4_064, 126),
    "resnet56": (57, 850_864, 4_256, 126),
    "resnet29b": (31, 305_584, 4_960, 47.1),
}
# Name: parameters of BN_γ,β in every hidden slot for 10 and 100 classes, then of vanilla and BN for 10.
TOTALS = {
    "resnet18": (11_173_962, 11_220_132, 11_169_162, 11_164_362),
    "resnet34": (21_282_122, 21_328_292, 21_273_610, 21_265_098),
    "resnet50": (23_520_842, 23_705_252, 23_494_282, 23_467_722),
    "resnet101": (42_512_970, 42_697_380, 42_460_298, 42_407_626),
    "resnet20a": (269_722, 275_572, 269_034, 268_346),
    "resnet20": (272_474, 278_324, 271_690, 270_906),
    "resnet32a": (464_154, 470_004, 463_018, 461_882),
    "resnet32": (466_906, 472_756, 465_674, 464_442),
    "resnet56a": (853_018, 858_868, 850_986, 848_954),
    "resnet56": (855_770, 861_620, 853_642, 851_514),
}
# Name: channels of the slots of each role.
CHANNELS = {
    "resnet18": {"stem": 64, "bn1": 1_920, "bn2": 1_920, "shortcut": 896},
    "resnet34": {"stem": 64, "bn1": 3_776, "bn2": 3_776, "shortcut": 896},
    "resnet50": {"stem": 64, "bn1": 3_776, "bn2": 3_776, "bn3": 15_104, "shortcut": 3_840},
    "resnet101": {"stem": 64, "bn1": 8_128, "bn2": 8_128, "bn3": 32_512, "shortcut": 3_840},
}


def table(name, classes=10):
    return ARCHITECTURES.get(name).layer_table(classes, 1.0)


def learned(network):
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def on_meta(layers, variant, placement="hidden"):
    with torch.device("meta"):  # shapes without numbers
        return build(layers, IMAGE, variant, placement)


def sizes(layers):
    """(slots, weights, γ and β) of all slots but the output, and all multiply-adds."""
    traced = [each for each in trace(layers, IMAGE) if isinstance(each.layer, Conv)]
    channels = sum(each.layer.channels for each in traced)
    cost = sum(each.multiply_adds for each in trace(layers, IMAGE))
    return len(traced), sum(each.weights for each in traced), 2 * channels, cost


@pytest.mark.parametrize("name", CIFAR)
def test_slots_weights_and_costs(name):
    count, weights, affine, cost = CIFAR[name]
    *found, multiply_adds = sizes(table(name))
    assert found == [count, weights, affine]
    if cost is not None:
        assert multiply_adds / 1e6 == pytest.approx(cost, rel=0.005)


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_of_whole_networks(name):
    variants = {variant.name: variant for variant in FIVE}
    ten, hundred, vanilla, bn = TOTALS[name]
    assert learned(on_meta(table(name), variants["bn_gamma_beta"])) == ten
    assert learned(on_meta(table(name, 100), variants["bn_gamma_beta"])) == hundred
    assert learned(on_meta(table(name), variants["vanilla"])) == vanilla
    assert learned(on_meta(table(name), variants["bn"])) == bn
    for half in ("bn_beta", "bn_gamma"):
        assert learned(on_meta(table(name), variants[half])) == vanilla  # a bias gives way to β, or to γ


@pytest.mark.parametrize(
    ("layers", "total", "affine"),
    [(partial(table, "resnet14"), 175_258, 1_120),
     (partial(table, "resnet110"), 1_730_714, 8_288),
     (partial(table, "resnet8a"), 75_290, 480),
     (partial(table, "resnet8"), 78_042, 672),
     (partial(table, "resnet29b"), 313_114, 4_960),
     (partial(residual_network, 10, 1.0, blocks=(2, 2, 2), widths=CIFAR_WIDTHS, block="bottleneck"), 220_378, 3_616),
     (partial(residual_network, 10, 1.0, blocks=(36,) * 3, widths=CIFAR_WIDTHS), None, 16_352),
     (partial(residual_network, 10, 1.0, blocks=(72,) * 3, widths=CIFAR_WIDTHS), None, 32_480),
     (partial(residual_network, 10, 1.0, blocks=(144,) * 3, widths=CIFAR_WIDTHS), 13_979_930, 64_736)],
    ids=["14", "110", "8a", "8", "29b", "20b", "218", "434", "866"],
)  # fmt: skip
def test_parameters_of_deep_and_small_networks(layers, total, affine):
    layers = layers()
    _, weights, found, _ = sizes(layers)
    assert found == affine
    if total is not None:
        traced = trace(layers, IMAGE)[-1]
        assert weights + affine + traced.weights + 10 == total


def test_a_bottleneck_net_without_normalisers():
    vanilla = next(variant for variant in FIVE if variant.name == "vanilla")
    assert learned(on_meta(table("resnet29b"), vanilla)) == 310_634
    small = residual_network(10, 1.0, blocks=(2, 2, 2), widths=CIFAR_WIDTHS, block="bottleneck")
    assert learned(on_meta(small, vanilla)) == 218_570
    assert sizes(small)[:2] == (22, 214_192)


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_of_each_role_and_what_placements_by_role_learn(name):
    layers = table(name)
    places = slot_places(layers)
    channels = {slot.name: slot.channels for slot in slots(layers) if isinstance(slot, Conv)}
    assert set(channels) == {place.name for place in places[:-1]}
    by_role = CHANNELS[name]
    hidden = sum(by_role.values())
    _, weights, affine, _ = sizes(layers)
    assert affine == 2 * hidden
    last = max(role for role in by_role if role.startswith("bn"))
    placements = {
        **by_role,
        "main": hidden - by_role["shortcut"],
        "residual-last": by_role[last],
        "bn1,shortcut": by_role["bn1"] + by_role["shortcut"],
        "hidden": hidden,
    }
    output = trace(layers, IMAGE)[-1].weights + 10
    for placement, carrying in placements.items():
        mask = parse_placement(placement, places)
        assert sum(channels[place.name] for place in masked_places(mask, places)) == carrying, placement
        plain = weights + hidden - carrying + output
        per_channel = {"vanilla": carrying, "bn": 0, "bn_beta": carrying, "bn_gamma": carrying}
        for variant in FIVE:
            expected = plain + per_channel.get(variant.name, 2 * carrying)
            assert learned(on_meta(layers, variant, placement)) == expected, (placement, variant.name)


def test_slots_are_called_by_stage_block_and_layer_in_the_order_in_which_they_are_computed():
    assert slot_names(table("resnet8")) == [
        "stem", "s1b1c1", "s1b1c2", "s2b1sc", "s2b1c1", "s2b1c2", "s3b1sc", "s3b1c1", "s3b1c2", "out",
    ]  # fmt: skip
    assert slot_names(table("resnet8a")) == [
        "stem", "s1b1c1", "s1b1c2", "s2b1c1", "s2b1c2", "s3b1c1", "s3b1c2", "out",
    ]  # fmt: skip
    assert slot_names(table("resnet50"))[:8] == [
        "stem", "s1b1sc", "s1b1c1", "s1b1c2", "s1b1c3", "s1b2c1", "s1b2c2", "s1b2c3",
    ]  # fmt: skip
    blocks = [layer.name for layer in table("resnet34") if isinstance(layer, Residual)]
    assert [sum(name.startswith(f"s{stage}") for name in blocks) for stage in (1, 2, 3, 4)] == [3, 4, 6, 3]


@pytest.mark.parametrize("name", ["resnet8", "resnet8a", "resnet29b", "resnet18"])
@pytest.mark.parametrize("width", [0.25, 0.3, 0.01, 2.0])
def test_width_scales_every_hidden_count_and_rounded_counts_still_add_up(name, width):
    layers = ARCHITECTURES.get(name).layer_table(7, width)
    assert trace(layers, (1, 32, 32))[-1].output_shape == (7,)  # refused if a block could not be added up
    full = {slot.name: slot.channels for slot in slots(table(name)) if isinstance(slot, Conv)}
    for slot in slots(layers):
        if isinstance(slot, Conv):
            widened = name == "resnet29b" and slot.name.endswith(("c3", "sc"))  # four times the rounded inner width
            factor = 4 if widened else 1
            assert slot.channels == factor * max(1, round(full[slot.name] / factor * width))


def test_no_convolution_pads_more_on_one_side_and_the_maps_halve():
    traced = [each for each in trace(table("resnet18"), IMAGE) if isinstance(each.layer, Residual)]
    assert [each.output_shape for each in traced] == [
        (64, 32, 32), (64, 32, 32), (128, 16, 16), (128, 16, 16), (256, 8, 8), (256, 8, 8), (512, 4, 4), (512, 4, 4),
    ]  # fmt: skip
    assert all(slot.padding == slot.kernel // 2 for slot in slots(table("resnet18")) if isinstance(slot, Conv))
