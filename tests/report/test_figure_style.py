from __future__ import annotations

import itertools
from dataclasses import replace

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb

from bnbench.components.variants import STUDIED, VARIANTS, Variant
from bnbench.report.page import PAGES, TEXT
from bnbench.report.style import LOOKS, looks_of, percent, slot_colours, symbol_of, variant_label
from bnbench.report.webpage.colours import DARK_PAPER, VISIBLE, contrast


def luminance(colour: str) -> float:
    """CIE lightness L*, 0 to 100: what is left of a colour in grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else y * 24389 / 27


def test_every_studied_variant_has_a_look_of_its_own_colour_dash_and_marker():
    assert set(LOOKS) == set(STUDIED)
    for aspect in ("colour", "marker"):
        assert len({getattr(look, aspect) for look in LOOKS.values()}) == len(LOOKS)


def test_any_two_variants_differ_in_grey():
    for (one, a), (other, b) in itertools.combinations(LOOKS.items(), 2):
        assert a.marker != b.marker
        assert a.dash != b.dash or abs(luminance(a.colour) - luminance(b.colour)) > 30, (one, other)


def test_a_variant_looks_the_same_whoever_is_beside_it():
    alone = looks_of(["bn_beta"])["bn_beta"]
    assert looks_of(STUDIED)["bn_beta"] == alone == looks_of(["zeta", "bn_beta", "vanilla"])["bn_beta"]
    assert list(looks_of(["zeta", "bn_gamma_beta", "vanilla"])) == ["vanilla", "bn_gamma_beta", "zeta"]
    assert looks_of(["zeta"])["zeta"].colour not in {look.colour for look in LOOKS.values()}


OWN = 24
NORMALISERS = ("none", "batch")


def own_rows(normaliser: str) -> list[Variant]:
    """Variants that somebody adds, all of one normaliser."""
    base = VARIANTS.get("bn" if normaliser == "batch" else "vanilla")
    return [replace(base, name=f"own_{normaliser}_{n:02}", symbol=f"own {n}", baseline=None) for n in range(OWN)]


@pytest.fixture
def with_own(monkeypatch):
    """The catalogue with 24 variants of each normaliser beside the five."""
    rows = [row for normaliser in NORMALISERS for row in own_rows(normaliser)]
    monkeypatch.setattr(VARIANTS, "_session", {row.name: row for row in rows})
    return [row.name for row in rows]


def test_variants_of_ones_own_all_look_different_and_none_like_those_of_the_study(with_own):
    looks = looks_of([*STUDIED, *with_own])
    assert {name: looks[name] for name in STUDIED} == dict(LOOKS)
    assert len(set(looks.values())) == len(looks) == 5 + 2 * OWN
    # The fourth one looked like the first.
    assert len({(look.dash, look.marker) for look in looks.values()}) == len(looks), "in grey too"


def test_a_family_shares_its_colours_and_is_told_apart_on_the_page_which_has_no_markers(with_own):
    looks = looks_of(with_own)
    colours = {}
    for normaliser in NORMALISERS:
        own = [looks[name] for name in with_own if f"_{normaliser}_" in name]
        assert len({(look.colour, look.dash) for look in own}) == OWN
        colours[normaliser] = {look.colour for look in own}
    for one, other in itertools.combinations(colours.values(), 2):
        assert not one & other


def test_a_look_depends_neither_on_the_order_nor_on_who_is_beside(with_own):
    everybody = looks_of(with_own)
    assert looks_of(reversed(with_own)) == everybody
    assert {name: looks_of([name])[name] for name in with_own} == everybody
    gone = [f"gone_{n:02}" for n in range(OWN)]
    looks = looks_of([*gone, *STUDIED])
    assert looks == looks_of(reversed([*gone, *STUDIED]))
    assert len(set(looks.values())) == len(looks), "of those that no package offers any more, too"


def test_the_colours_of_ones_own_variants_are_seen_on_white_and_on_dark_paper(with_own):
    for look in looks_of([*with_own, "gone"]).values():
        assert contrast(look.colour, "#ffffff") >= VISIBLE, look
        assert contrast(look.colour, DARK_PAPER) >= VISIBLE, look


def test_layers_become_lighter_with_depth():
    lightness = [luminance(colour) for colour in slot_colours([f"conv{n}" for n in range(1, 10)]).values()]
    assert lightness == sorted(lightness)
    assert min(b - a for a, b in itertools.pairwise(lightness)) > 4


def test_labels_set_the_subscript_and_escape_what_mathtext_would_read():
    assert variant_label("bn_gamma_beta") == "BN$_{γ,β}$"
    assert variant_label("vanilla") == "vanilla"
    assert symbol_of("bn_beta#2") == f"{VARIANTS.get('bn_beta').symbol}#2"
    assert variant_label("bn_gamma#2") == "BN$_{γ}$#2", "mathtext has no number sign"
    assert variant_label("bn_zero_last") == "BN$_{γ,β}$ 0", "what stands behind a space is none"
    assert variant_label("gone_$away") == r"gone_\$away"


def test_percent_labels():
    assert [percent(value) for value in (0.0, 0.25, 0.125, 1.0, -0.1)] == ["0", "25", "12.5", "100", "−10"]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_leaves_the_users_settings_as_they_were(page):
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 33.0}):
        with page.style():
            assert mpl.rcParams["font.size"] == page.font
        assert mpl.rcParams["font.size"] == 33.0
    assert dict(mpl.rcParams) == before


def test_a_figure_is_as_wide_as_its_page_and_no_higher():
    figure = TEXT.figure(100.0)
    assert tuple(figure.get_size_inches()) == (TEXT.width, TEXT.tallest)
