"""The report in a real headless Chromium: what a reader sees, hears and clicks."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from bnbench.analysis.frames import open_results
from bnbench.report.webpage.embedding import data_block, page_file

from .conftest import HOSTILE, SLOTS

CURVES = "document.querySelector('#c1-curves .plot-area')"
DRAWN = f"{CURVES}.dataset.drawn"


@pytest.fixture(scope="module")
def page(browser, page_path):
    with browser.open(page_path) as opened:
        show_curves(opened)
        yield opened


def show_curves(page):
    page.evaluate("document.getElementById('c1-curves').scrollIntoView({behavior: 'instant'})")
    page.wait_until(DRAWN)


def traces(page):
    """Variants that have a visible line in the loss panel of the first figure."""
    return page.evaluate(f"[...new Set({CURVES}.data.filter(t => t.yaxis === 'y').map(t => t.meta))]")


def test_it_loads_without_a_complaint_and_without_a_request(page):
    assert page.errors() == []
    assert page.requests() == []


def test_the_policy_forbids_every_request(page):
    failed = page.evaluate("fetch('https://example.org/').then(() => 'got it', () => 'refused')")
    assert failed == "refused"
    page.clear_events()


def test_the_curves_are_drawn(page):
    assert traces(page) == ["vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta"]
    assert page.evaluate(f"{CURVES}.querySelectorAll('.scatterlayer path.js-line').length") >= 10


def test_no_button_hands_data_to_a_server(page):
    titles = page.evaluate(f"[...{CURVES}.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert "Download plot" in titles
    assert not [title for title in titles if "hare" in title or "loud" in title]


def test_toggling_a_variant_with_the_keyboard_changes_the_plot(page):
    before = page.evaluate(f"{CURVES}.querySelectorAll('path.js-line').length")
    page.evaluate("document.querySelector('[data-toggle=bn_beta]').focus()")
    page.press(" ")
    page.wait_until(f"!{CURVES}.data.some(t => t.meta === 'bn_beta')")
    assert page.evaluate(f"{CURVES}.querySelectorAll('path.js-line').length") < before
    page.press(" ")
    page.wait_until(f"{CURVES}.data.some(t => t.meta === 'bn_beta')")
    assert page.evaluate(f"{CURVES}.querySelectorAll('path.js-line').length") == before


def choose(page, option, value):
    page.evaluate(
        f"(() => {{ const s = document.querySelector('[data-option={option}]'); s.value = {json.dumps(value)};"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def test_zooming_into_the_first_epochs(page):
    assert page.evaluate(f"{CURVES}.layout.xaxis.range") == [0, 20]
    choose(page, "span", "0.1")
    page.wait_until(f"{CURVES}.layout.xaxis.range[1] === 2 && {CURVES}.layout.xaxis2.range[1] === 2")
    low, high = page.evaluate(f"{CURVES}.layout.yaxis2.range")
    seen = page.evaluate(f"{CURVES}.data.filter(t => t.yaxis === 'y2').flatMap(t => t.y.filter((_, i) => t.x[i] <= 2))")
    assert low <= min(seen) < max(seen) <= high < 1
    choose(page, "span", "1")
    page.wait_until(f"{CURVES}.layout.xaxis.range[1] === 20")


def test_log_scale_and_single_seeds(page):
    page.evaluate("document.querySelector('[data-option=log]').click()")
    page.wait_until(f"{CURVES}.layout.yaxis.type === 'log'")
    assert page.evaluate(f"{CURVES}.layout.yaxis2.type") == "linear"
    page.evaluate("document.querySelector('[data-option=log]').click()")
    page.evaluate("document.querySelector('[data-option=each]').click()")
    page.wait_until(f"{CURVES}.data.filter(t => t.yaxis === 'y').length === 15")
    page.evaluate("document.querySelector('[data-option=each]').click()")
    page.wait_until(f"{CURVES}.data.filter(t => t.yaxis === 'y').length === 15 && {CURVES}.layout.yaxis.type !== 'log'")


def test_other_splits(page):
    choose(page, "on", "test running")
    page.wait_until("document.querySelector('#c1-curves .measured-on').textContent === 'test data'")
    choose(page, "on", "train_eval running")
    page.wait_until("document.querySelector('#c1-curves .measured-on').textContent === 'training data'")


MAP = "document.querySelector('#c1-map-1 .plot-area')"


def test_the_heat_maps_show_the_recorded_trajectories(page, store):
    page.evaluate("document.getElementById('c1-map-1').scrollIntoView({behavior: 'instant'})")
    page.wait_until(f"{MAP}.dataset.drawn")
    figure = page.evaluate("({...document.getElementById('c1-map-1').dataset})")
    assert (figure["variant"], figure["parameter"], figure["seed"]) == ("bn_gamma_beta", "beta", "4842821")
    results = open_results(store)
    (run,) = results.select(
        problem="digits_3c3d", variant="bn_gamma_beta", seed=4842821, placement="hidden", learning_rate=0.02
    )
    panels = page.evaluate(f"{MAP}.data.map(t => [t.x, t.y, t.z])")
    scale = page.evaluate(f"(a => [a.cmin, a.cmax])({MAP}.layout.coloraxis)")
    own = [results.trajectory(run.identity.run_id, f"{slot}", "beta") for slot in SLOTS]
    extent = max(np.abs(trajectory.values).max() for trajectory in own)
    assert scale == pytest.approx([-extent, extent], rel=1e-5)
    for (channels, steps, values), trajectory in zip(panels, own, strict=True):
        assert steps == trajectory.steps.tolist()
        assert channels == list(range(1, 13))
        expected = trajectory.values[:, np.argsort(trajectory.values[-1])]
        assert np.abs(np.array(values) - expected).max() <= extent / 254 * 1.001


def test_another_seed_of_the_heat_maps(page):
    before = page.evaluate(f"{MAP}.data[0].z")
    choose(page, "seed", "43")
    page.wait_until(f"JSON.stringify({MAP}.data[0].z) !== {json.dumps(json.dumps(before, separators=(',', ':')))}")
    assert page.evaluate("document.querySelector('#c1-map-1 .command code').textContent").count("--seed 43") == 1
    assert page.evaluate("document.querySelector('#c1-map-1 .seed').textContent") == "43"
    choose(page, "seed", "4842821")


def test_a_variant_that_is_off_has_no_heat_map(page):
    page.evaluate("document.querySelector('[data-toggle=bn_gamma_beta]').click()")
    figures = "[...document.querySelectorAll('#c1 figure[data-variant]')]"
    shown = f"{figures}.filter(f => f.checkVisibility()).map(f => f.dataset.name)"
    assert page.evaluate(shown) == ["beta bn_beta", "gamma bn_gamma"]
    page.evaluate("document.querySelector('[data-toggle=bn_gamma_beta]').click()")
    assert len(page.evaluate(shown)) == 4


def test_activity_over_training(page):
    page.evaluate("document.getElementById('c1-activity').scrollIntoView({behavior: 'instant'})")
    area = "document.querySelector('#c1-activity .plot-area')"
    page.wait_until(f"{area}.dataset.drawn")
    assert page.evaluate(f"{area}.data.length") == 4 * len(SLOTS)
    # Everything starts where it does nothing and drifts away from there.
    assert page.evaluate(f"{area}.data.every(t => t.y[0] === 0 && t.y.at(-1) > 0.1)")
    show_curves(page)


def test_a_divergence_is_a_cross_where_the_curve_ends(page):
    name = page.evaluate(
        "[...document.querySelectorAll('.comparison')].find(c => c.textContent.includes('1 of 3 diverged')).id"
    )
    page.evaluate(f"location.hash = '#{name}'")
    area = f"document.querySelector('#{name}-curves .plot-area')"
    page.wait_until(f"document.getElementById('{name}').open")
    page.evaluate(f"{area}.scrollIntoView({{behavior: 'instant'}})")
    page.wait_until(f"{area}.dataset.drawn")
    crosses = page.evaluate(f"{area}.data.filter(t => t.mode === 'markers').map(t => [t.yaxis, t.x, t.y])")
    assert crosses == [["y", [1], [1.5]], ["y2", [2], [0.3]]]
    show_curves(page)


def test_a_table_is_saved_as_csv(page, browser, tmp_path):
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    page.evaluate("document.querySelector('[data-csv=\"runs.csv\"]').click()")
    rows = downloaded(tmp_path / "runs.csv", page)
    assert rows[0][:3] == ["run", "status", "problem"]
    assert (
        len(rows)
        == page.evaluate(
            "document.querySelector('[data-csv=\"runs.csv\"]').closest('.table').querySelectorAll('tbody tr').length"
        )
        + 1
    )
    assert HOSTILE in {row[2] for row in rows}


def test_the_curves_are_saved_as_csv(page, browser, tmp_path):
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    page.evaluate("document.querySelector('[data-frame=c1-curves]').click()")
    name = page.evaluate("document.getElementById('said').textContent")
    page.wait_until("document.getElementById('said').textContent.startsWith('curves-')")
    name = page.evaluate("document.getElementById('said').textContent").removesuffix(" saved")
    rows = downloaded(tmp_path / name, page)
    assert len(rows) == 1 + 15 * 3 * 21


def downloaded(path, page):
    for _ in range(300):
        if path.exists() and path.stat().st_size:
            break
        page.evaluate("new Promise(done => setTimeout(done, 20))")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_hostile_names_do_nothing(page):
    assert HOSTILE in page.evaluate("document.body.textContent")
    assert page.evaluate("typeof window.stolen") == "undefined"
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


ALT = """[...document.querySelectorAll('figure[data-figure]')].map(f => f.querySelector('.plot-area').ariaLabel)"""


def test_every_figure_says_in_words_what_it_shows(page):
    said = page.evaluate(ALT)
    assert len(said) >= 5
    assert all(each and len(each) > 60 for each in said)
    curves = next(each for each in said if "5 variants" in each)
    assert "BN_γ,β 0.9" in curves
    assert "vanilla 0.7" in curves
    # What is drawn is hidden from those who hear the page: they have the words.
    assert page.evaluate(f"{CURVES}.querySelectorAll('svg.main-svg:not([aria-hidden=true])').length") == 0


def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a')].filter(e => e.checkVisibility())"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []


CONTRASTS = """
(() => {
  const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n[3] ?? 1 }; };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const lum = (rgb) => { const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (let each = e; each; each = each.parentElement) {
      const c = parse(getComputedStyle(each).backgroundColor); if (c.a === 1) return c.rgb; } return [255, 255, 255]; };
  const low = []; let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('script, style, svg, option') || !e.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(e);
    const [high, lowest] = [lum(parse(style.color).rgb), lum(behind(e))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (lowest + 0.05);
    if (ratio < 4.5) low.push([ratio, e.className, walker.currentNode.data.slice(0, 40)]);
  }
  return { seen, low };
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_enough_contrast(browser, page_path, dark):
    with browser.open(page_path, dark=dark) as page:
        page.wait_until("document.querySelector('#theme').ariaLabel")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        found = page.evaluate(CONTRASTS)
        assert found["seen"] > 300
        assert found["low"] == []


def test_the_theme_follows_the_system_and_can_be_switched(browser, page_path):
    with browser.open(page_path, dark=True) as page:
        show_curves(page)
        background = "getComputedStyle(document.body).backgroundColor"
        vanilla = f"{CURVES}.data.find(t => t.meta === 'vanilla' && t.line.width > 2).line.color"
        assert page.evaluate(background) == "rgb(16, 21, 27)"
        assert page.evaluate(vanilla) == "#e8ecf1"
        page.evaluate("document.querySelector('#theme').focus()")
        page.press("Enter")
        page.wait_until(f"{background} === 'rgb(255, 255, 255)'")
        page.wait_until(f"{vanilla} === '#000000'")
        assert page.errors() == []


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, page_path):
    with browser.open(page_path, width=390, height=844, phone=True) as page:
        show_curves(page)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        # The panels stand below each other, and a finger scrolls the page instead of dragging a box.
        assert page.evaluate(f"{CURVES}.layout.xaxis.domain") == [0, 1]
        assert page.evaluate(f"{CURVES}.layout.xaxis.fixedrange")
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, .chip')].filter(e => e.checkVisibility())"
            ".filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"
        )
        assert small == []
        assert page.errors() == []


def test_the_keyboard_reaches_everything(browser, page_path):
    with browser.open(page_path) as page:
        page.wait_until("document.querySelector('#theme').ariaLabel")
        page.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
        assert page.evaluate("document.activeElement.getBoundingClientRect().width") > 50
        wanted = page.evaluate(
            "[...document.querySelector('main').querySelectorAll('a, button, select, input, summary, [tabindex]')]"
            ".filter(e => e.checkVisibility() && e.tabIndex >= 0).length"
        )
        page.evaluate("window.reached = new Set(); document.addEventListener('focusin', e => reached.add(e.target))")
        for _ in range(wanted + 12):
            page.press("Tab")
        assert page.evaluate("[...reached].filter(e => e.closest('main')).length") >= wanted


def test_what_is_printed_at_once_has_its_figures(browser, page_path):
    """A printer waits for nothing: whatever is drawn is drawn before the handler of `beforeprint` is done."""
    with browser.open(page_path) as page:
        found = page.evaluate(
            "(async () => { dispatchEvent(new Event('beforeprint'));"
            " for (let turn = 0; turn < 200; turn += 1) await null;"  # microtasks alone: no timer and no event comes
            " const all = [...document.querySelectorAll('figure[data-figure]')].filter(f => f.checkVisibility());"
            " return [all.length, all.filter(f => !f.querySelector('.main-svg')).length]; })()"
        )
        assert found[0] > 3
        assert found[1] == 0
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.errors() == []


def test_the_blocks_unpack_to_what_was_packed(browser, tmp_path):
    """The page's own inflate beside zlib: stored, fixed and dynamic blocks, long runs and far distances."""
    noise = "".join(chr(0x4E00 + int(each)) for each in np.random.default_rng(1).integers(0, 20000, 40000))
    values = {"empty": [], "short": "a", "runs": "ab" * 40000, "noise": noise, "far": [noise[:12000], noise[:12000]]}
    script = page_file("page.js")
    inside = script[script.index("  function unpack(") : script.index("  /** plotly.js, run when")]
    blocks = [data_block(f"{name}-{level}", value, level) for name, value in values.items() for level in (0, 1, 9)]
    path = tmp_path / "blocks.html"
    path.write_text(f"<meta charset=utf-8>{''.join(blocks)}<script>{inside}</script>", encoding="utf-8")
    with browser.open(path) as page:
        for name, value in values.items():
            for level in (0, 1, 9):
                assert page.evaluate(f"unpack(document.getElementById('{name}-{level}').textContent)") == value


def test_no_table_is_cut_at_1280_pixels(browser, page_path):
    with browser.open(page_path, width=1280) as page:
        page.wait_until("document.querySelector('#theme').ariaLabel")
        cut = page.evaluate(
            "[...document.querySelectorAll('main > section .scroll')].filter(e => e.checkVisibility())"
            ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
        )
        assert cut == []


def test_on_a_phone_no_tool_bar_lies_over_a_title(browser, page_path):
    with browser.open(page_path, width=390, height=844, phone=True) as page:
        show_curves(page)
        assert page.evaluate("document.querySelectorAll('.modebar-btn').length") == 0
