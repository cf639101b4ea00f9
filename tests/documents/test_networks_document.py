"""`docs/networks.md` is followed: its numbers are counted, its placements parsed, its network built."""

import re
from pathlib import Path

import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES, slot_places, trace
from bnbench.components.placements import BLOCK_GRAMMAR, parse_placement
from support.networks import build, variant_named

TEXT = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| (\d+)×\d+ \|$", TEXT, flags=re.MULTILINE)
(CODE,) = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_table_of_networks_has_all_and_counts_right():
    of_option_a = {f"resnet{depth}a" for depth in (8, 14, 32, 56, 110)}  # named in the text beside resnet20a
    assert {name for name, *_ in ROWS} | of_option_a == set(ARCHITECTURES._rows)
    for name, count, parameters, pixels in ROWS:
        architecture = ARCHITECTURES.get(name)
        assert architecture.image_size == int(pixels)
        image = (1 if name in {"mlp", "2c2d"} else 3, int(pixels), int(pixels))
        layers = architecture.layer_table(10, 1.0)
        assert sum(each.weights > 0 for each in trace(layers, image)) == int(count), name
        with torch.device("meta"):
            network = build(layers, image, variant_named("bn_gamma_beta"))
        assert sum(each.numel() for each in network.parameters()) == int(parameters.replace(",", "")), name


def test_every_placement_of_the_page_is_one_and_every_form_of_the_grammar_is_on_it():
    places = slot_places(ARCHITECTURES.get("resnet29b").layer_table(10, 1.0))
    listed = TEXT.partition("| placement | slots |")[2].partition("\n\n")[0]
    named = [
        expression
        for cell in re.findall(r"^\| (`.*`) \|", listed, re.MULTILINE)
        for expression in re.findall("`([^`]+)`", cell)
    ]
    for expression in named:
        if expression != "head":  # of which this family has none
            assert "1" in parse_placement(expression, places)
    for form, _ in BLOCK_GRAMMAR:
        first = form.split(",")[0].replace(":K", ":2")
        assert first in named


def test_the_pages_network_is_built(capsys, monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_session", {})
    exec(CODE, {})
    assert capsys.readouterr().out == "['s1b1n1', 's1b1n2', 's2b1n1', 's2b1n2', 'last']\n"


@pytest.mark.parametrize("name", ["resnet20", "resnet20a", "resnet29b"])
def test_rows_say_what_their_shortcuts_are(name):
    summary = ARCHITECTURES.get(name).summary
    assert ("option A" in summary) is name.endswith("a")
    assert ("bottleneck" in summary) is name.endswith("b")
