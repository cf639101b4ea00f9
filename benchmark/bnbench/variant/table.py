"""The table of variants: this package's rows, and those that others add."""

from __future__ import annotations

from bnbench.errors import UserError
from bnbench.registry import Registry
from bnbench.variant import families, founding, literature
from bnbench.variant.founding import STUDIED
from bnbench.variant.row import Variant

VARIANTS: Registry[Variant] = Registry("variant", Variant, "bnbench.variants")

ALL = "all"

for _row in (*founding.ROWS, *families.ROWS, *literature.ROWS):
    VARIANTS.register(_row.name, _row)


def expand_variants(names: tuple[str, ...]) -> list[Variant]:
    """The rows for what a user asked for: names in the given order, `all` for the five studied, no repeats.

    Raises:
        UserError: a name is unknown, or none was given.
    """
    if not names:
        raise UserError("no variant given", hint=f"Known variants: {', '.join(VARIANTS)}; or '{ALL}'.")
    wanted: dict[str, Variant] = {}
    for name in names:
        for each in STUDIED if name == ALL else (name,):
            wanted[each] = VARIANTS.get(each)
    return list(wanted.values())
