"""The comparisons that somebody asks for, of all that there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bnbench.analysis.comparison import Comparison, distinct
from bnbench.components.placements import Slots, parse_placement
from bnbench.errors import UserError, unknown


def narrowed(
    found: Sequence[Comparison],
    size: str,
    problems: Sequence[str] = (),
    placements: Sequence[str] = (),
    factors: Sequence[float] = (),
    settings: Sequence[str] = (),
) -> list[Comparison]:
    """The comparisons of one size, narrowed down; an empty choice leaves all.

    Args:
        found: all that there are.
        size: "full", "short" or "tiny".
        problems: names.
        placements: expressions of the grammar.
        factors: multiples of the problem's learning rate.
        settings: ids of settings, or the last part of them, as `bnbench status` prints it.

    Raises:
        UserError: no run of such a problem or setting is recorded, or a placement fits none of the networks.
    """
    chosen = [each for each in found if size in each.sizes]
    recorded = sorted({name for each in chosen for name in each.problems})
    for problem in problems:
        if problem not in recorded:
            elsewhere = distinct(each for own in found if problem in own.problems for each in own.sizes)
            hint = f"It was run at size {' and '.join(elsewhere)}: --size {elsewhere[0]}." if elsewhere else None
            raise unknown(f"recorded {size} problem", problem, recorded, hint=hint)
    if problems:
        chosen = [each for each in chosen if set(problems) & set(each.problems)]
    for setting in settings:
        known = {each.setting_id for each in chosen}
        if not any(_is_setting(each, setting) for each in known):
            raise unknown("recorded setting", setting, sorted(known))
    if settings:
        chosen = [each for each in chosen if any(_is_setting(each.setting_id, setting) for setting in settings)]
    if placements:
        masks = {name: {each.places: _mask_of(name, each.places) for each in chosen} for name in placements}
        for name, own in masks.items():
            if chosen and all(mask is None for mask in own.values()):
                raise UserError(f"placement '{name}' fits no recorded network", hint="`bnbench show` explains them.")
        chosen = [each for each in chosen if any(masks[name][each.places] == each.mask for name in placements)]
    if factors:
        chosen = [each for each in chosen if any(_is_factor(each.lr_factor, factor) for factor in factors)]
    return chosen


def _is_setting(setting_id: str, asked: str) -> bool:
    return asked in {setting_id, setting_id.rpartition("-")[2]}


def _is_factor(factor: float | None, asked: float) -> bool:
    return factor is not None and math.isclose(factor, asked)


def _mask_of(placement: str, slots: Slots) -> str | None:
    """The mask a placement gives in a network; None where it does not fit."""
    try:
        return parse_placement(placement, slots)
    except UserError:
        return None
