"""The tables of `docs/normalisers.md`, from the registries.

    python tests/support/component_document.py        renews them in place, after a row was changed or added

Each table stands between `<!-- rows of NAME -->` and `<!-- end -->`; the prose around them is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bnbench.components.normalisers import NORMALISERS, Normaliser
from bnbench.components.reparametrisations import REPARAMETRISATIONS, Reparametrisation
from bnbench.components.variants import VARIANTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "normalisers.md"

_BLOCK = re.compile(r"^<!-- rows of (\w+) -->$\n(.*?)^<!-- end -->$", flags=re.MULTILINE | re.DOTALL)


def renewed(text: str) -> str:
    """The document as it is to be."""
    wanted = {"normalisers": _components(NORMALISERS), "reparametrisations": _components(REPARAMETRISATIONS),
              "variants": _variants(), "options": _options()}  # fmt: skip
    return _BLOCK.sub(lambda match: f"<!-- rows of {match[1]} -->\n{wanted[match[1]]}<!-- end -->", text)


def _components(registry) -> str:
    rows = (registry.get(name) for name in registry if not registry.is_third_party(name))
    return _table(("name", "what", "formula", "source"), ((f"`{r.name}`", r.title, r.formula, r.source) for r in rows))


def _options() -> str:
    found: Iterator[Normaliser | Reparametrisation] = (
        registry.get(name)
        for registry in (NORMALISERS, REPARAMETRISATIONS)
        for name in registry
        if not registry.is_third_party(name)
    )
    rows = (
        (f"`{row.name}`", f"`{each.name}`", f"{each.default}", each.meaning) for row in found for each in row.options
    )
    return _table(("component", "option", "default", "meaning"), rows)


def _variants() -> str:
    rows = (VARIANTS.get(name) for name in VARIANTS if not VARIANTS.is_third_party(name))
    return _table(
        ("name", "symbol", "normaliser", "weights", "what"),
        ((f"`{r.name}`", r.symbol, f"`{r.normaliser}`", f"`{r.weights}`", r.summary) for r in rows),
    )


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return _row(heading) + "|" + "---|" * len(heading) + "\n" + "".join(map(_row, rows))


def _row(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} ".replace("|", "\\|") for cell in cells) + "|\n"


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
