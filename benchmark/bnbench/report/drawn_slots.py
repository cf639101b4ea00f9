"""Which slots a figure shows of a network that has more than a figure can hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bnbench.components.placements import SlotPlace

MOST_SLOTS = 12
"""Panels, or lines, that a figure of slots has at most."""


def drawn_slots(places: Sequence[SlotPlace], there: Collection[str]) -> list[str]:
    """The slots that stand for all: every one where there are at most `MOST_SLOTS`.

    Else those outside of blocks, and of each stage equally many along the main path, from its first to its last; in a
    network without stages of all slots.

    Args:
        places: the network's slots (or ReLUs), in order.
        there: the names of those that there is something to draw of.
    """
    found = [place for place in places if place.name in there]
    if len(found) <= MOST_SLOTS:
        return [place.name for place in found]
    found = [place for place in found if place.on_main_path] or found
    stages: dict[int, list[SlotPlace]] = {}
    for place in found:
        if place.stage is not None:
            stages.setdefault(place.stage, []).append(place)
    outside = [place for place in found if place.stage is None]
    each = (MOST_SLOTS - len(outside)) // len(stages) if stages else 0
    if each < 1:
        return [place.name for place in _spread(found, MOST_SLOTS)]
    chosen = {place.name for own in (outside, *(_spread(own, each) for own in stages.values())) for place in own}
    return [place.name for place in found if place.name in chosen]


def left_out(drawn: Sequence[str], there: Collection[str]) -> str:
    """The sentence of a caption that says what is not drawn, with a space in front; empty where nothing is left out."""
    if len(drawn) == len(there):
        return ""
    return (
        f" Of {len(there)} layers {len(drawn)} are drawn, spread from the first to the last: {', '.join(drawn)}; the "
        "tables of `bnbench activity` have all."
    )


def _spread(places: Sequence[SlotPlace], most: int) -> list[SlotPlace]:
    """So many of them, evenly spread, the last and (of two or more) the first among them."""
    if len(places) <= most:
        return list(places)
    last = len(places) - 1
    if most == 1:
        return [places[last]]
    return [places[round(index * last / (most - 1))] for index in range(most)]
