"""The table of variants: this package's rows, and those that others add."""

from __future__ import annotations

from bnbench.components.variants import families, founding, literature
from bnbench.components.variants.founding import STUDIED
from bnbench.components.variants.row import Variant
from bnbench.errors import UserError
from bnbench.registry import Registry

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
