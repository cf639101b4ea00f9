"""The placement grammar: which slots of a network carry a BatchNorm (torch-free).

A *slot* is a convolution or dense layer that may be followed by a BatchNorm. The last slot is the *output*, the
others are *hidden*. An expression of the grammar resolves, for one network, to a *mask*: one digit per slot.

In a network with residual blocks each slot also has a *role*, and in a block a *stage*. What leads past a block's body,
the shortcuts, is not on the *main path*; counting goes along it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bnbench.errors import UserError, nearest

GRAMMAR = (
    ("hidden", "every slot but the output"),
    ("every", "every slot, the output included"),
    ("first, first:K", "the first slot, the first K slots"),
    ("penultimate", "the last hidden slot"),
    ("last:K", "the last K hidden slots"),
    ("output, output:K", "the output; the last K slots, the output included"),
    ("conv1,dense2", "these slots, by name"),
    ("001110", "a mask, one digit per slot, the output included"),
)
BLOCK_GRAMMAR = (
    ("stem", "the slots before the first block"),
    ("bn1, bn2, …", "the first, the second, … slot of each block's body"),
    ("shortcut", "the slots in shortcuts"),
    ("head", "the hidden slots behind the last block"),
    ("main", "every hidden slot but the shortcuts"),
    ("residual-last", "the last slot of each block's body"),
    ("stage:K", "every slot of stage K, shortcuts included"),
    ("bn1,shortcut,out", "all of these: roles, stages and slots"),
)
"""What is in the grammar beside `GRAMMAR` for a network with residual blocks; K counts along the main path there."""

NOWHERE = "none"
"""What a run's placement column says where no slot carries a BatchNorm."""

STEM, SHORTCUT, HEAD, OUTPUT = "stem", "shortcut", "head", "output"
MAIN, RESIDUAL_LAST = "main", "residual-last"
ROLE = re.compile(r"stem|shortcut|head|output|bn[1-9][0-9]{0,2}")
"""The roles: before the first block, in a shortcut, behind the last block, the last slot, the n-th of a body."""

_WORDS = frozenset({"hidden", "every", "first", "penultimate", OUTPUT, NOWHERE})
_COUNTED = re.compile(r"(first|last|output):([0-9]{1,9})")
_OF_BLOCKS = re.compile(rf"{ROLE.pattern}|{MAIN}|{RESIDUAL_LAST}|stage:[0-9]+")


@dataclass(frozen=True)
class SlotPlace:
    """What placements can tell a slot by."""

    name: str
    role: str | None = None
    """One of `ROLE`; None in a network without residual blocks."""
    stage: int | None = None
    """From 1; None outside of blocks."""
    block: str | None = None
    """The block's name; None outside of blocks."""

    @property
    def on_main_path(self) -> bool:
        """Whether the slot counts where slots are counted: every one that is not in a shortcut."""
        return self.role != SHORTCUT


Slots = Sequence[str] | Sequence[SlotPlace]
"""A network's slots in order, the output last; names suffice where it has no residual blocks."""


def parse_placement(expression: str, slots: Slots) -> str:
    """The mask an expression stands for in a network with these slots, e.g. "111110".

    Args:
        expression: one expression of the grammar.
        slots: the network's slots in order, the output last.

    Raises:
        UserError: the expression is not in the grammar, or does not fit this network.
    """
    places = _places(slots)
    mask = _resolved(expression.strip(), places)
    if "1" not in mask:
        raise _refuse(expression, places, "it places no BatchNorm at all; that network is the variant 'vanilla'")
    return mask


def refuse_slot_name(name: str) -> None:
    """Refuse a slot's name that placements could not name, or would take for something else.

    Raises:
        UserError: it is no plain word, or is a word of the grammar.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _WORDS:
        raise UserError(
            f"'{name}' cannot be the name of a slot",
            hint="A slot's name is letters, digits and underscores, a letter first, and no word of the placements: "
            f"{', '.join(sorted(_WORDS))}.",
        )


def refuse_slot_names(places: Sequence[SlotPlace]) -> None:
    """Refuse a slot's name that, in a network with residual blocks, means other slots than that one.

    Raises:
        UserError: a slot is called by a role of others, or by what means others.
    """
    groups = _groups(places)
    for place in places:
        meant = groups.get(place.name, (place,))
        if place.role is not None and (
            meant != (place,) or (_OF_BLOCKS.fullmatch(place.name) and place.name not in groups)
        ):
            raise UserError(
                f"'{place.name}' cannot be the name of this slot, whose role is {place.role}",
                hint="In a network with residual blocks a slot may be called by a role only if no other slot has it.",
            )


def canonical_placement(mask: str, slots: Slots) -> str:
    """The one name a mask is recorded under, whatever expression it came from: equal masks are one run.

    The first expression of a fixed order that gives the mask; a list of roles, stages and slots where none does.
    """
    if "1" not in mask:
        return NOWHERE
    places = _places(slots)
    candidates: list[str] = ["hidden", "every", "first", "penultimate", OUTPUT]
    for family in ("first", "last", OUTPUT):
        candidates += [f"{family}:{k}" for k in range(2, _limits(places)[family] + 1)]
    for expression in candidates:
        if _resolved(expression, places) == mask:
            return expression
    marked = masked_places(mask, places)
    several = {word: group for word, group in _groups(places).items() if len(group) > 1}
    for word, group in several.items():
        if list(group) == marked:
            return word
    words: list[str] = []
    left = marked
    for word, group in several.items():
        if set(group) <= set(marked) and len(set(group) & set(left)) > 1:
            words.append(word)
            left = [place for place in left if place not in group]
    return ",".join([*words, *(place.name for place in left)])


def masked_slots(mask: str, slots: Sequence[str]) -> list[str]:
    """The names of the slots that a mask marks, in order."""
    return [slot for slot, digit in zip(slots, mask, strict=True) if digit == "1"]


def masked_places(mask: str, places: Sequence[SlotPlace]) -> list[SlotPlace]:
    """The same with all that placements can tell them by."""
    return [place for place, digit in zip(places, mask, strict=True) if digit == "1"]


def relu_sites(places: Sequence[SlotPlace]) -> list[SlotPlace]:
    """Wherever a ReLU may be: slots in order, and behind the last slot of each residual block the block itself."""
    sites: list[SlotPlace] = []
    for place, following in zip(places, [*places[1:], None], strict=True):
        sites.append(place)
        if place.block is not None and (following is None or following.block != place.block):
            sites.append(replace(place, name=place.block))
    return sites


def _places(slots: Slots) -> tuple[SlotPlace, ...]:
    return tuple(SlotPlace(each) if isinstance(each, str) else each for each in slots)


def _has_blocks(places: Sequence[SlotPlace]) -> bool:
    return any(place.role is not None for place in places)


def _groups(places: Sequence[SlotPlace]) -> dict[str, tuple[SlotPlace, ...]]:
    """What the words of residual networks mean here, in the order in which they are tried; none elsewhere."""
    groups: dict[str, tuple[SlotPlace, ...]] = {}
    if not _has_blocks(places):
        return groups

    def add(word: str, meant: Iterable[SlotPlace]) -> None:
        if chosen := tuple(meant):
            groups[word] = chosen

    roles = {place.role for place in places if place.role is not None}
    add(MAIN, (place for place in places[:-1] if place.on_main_path))
    for role in (STEM, *sorted(roles - {STEM, SHORTCUT, HEAD, OUTPUT}, key=lambda role: (len(role), role)),
                 SHORTCUT, HEAD, OUTPUT):  # fmt: skip
        add(role, (place for place in places if place.role == role))
    last = {place.block: place for place in places if place.block is not None and place.on_main_path}
    add(RESIDUAL_LAST, last.values())
    for stage in sorted({place.stage for place in places if place.stage is not None}):
        add(f"stage:{stage}", (place for place in places if place.stage == stage))
    return groups


def _main_path(places: Sequence[SlotPlace]) -> list[SlotPlace]:
    return [place for place in places if place.on_main_path]


def _resolved(text: str, places: Sequence[SlotPlace]) -> str:
    """The mask of an expression, which may have no 1."""
    if text in {"hidden", "every"}:
        return _mask_of(places, places if text == "every" else places[:-1])
    if text == "penultimate":
        return _mask_of(places, _main_path(places)[:-1][-1:])
    if text in {"first", OUTPUT}:
        return _counted(text, 1, places)
    if match := _COUNTED.fullmatch(text):
        return _counted(match[1], int(match[2]), places)
    return _given_mask(text, places) if re.fullmatch(r"[01]+", text) else _listed(text, places)


def _limits(places: Sequence[SlotPlace]) -> dict[str, int]:
    count = len(_main_path(places))
    return {"first": count, "last": count - 1, OUTPUT: count}


def _mask_of(places: Sequence[SlotPlace], chosen: Iterable[SlotPlace]) -> str:
    names = {place.name for place in chosen}
    return "".join("1" if place.name in names else "0" for place in places)


def _counted(family: str, k: int, places: Sequence[SlotPlace]) -> str:
    largest = _limits(places)[family]
    if not 1 <= k <= largest:
        raise _refuse(f"{family}:{k}", places, f"here the K of {family}:K is a number from 1 to {largest}")
    path = _main_path(places)
    chosen = {"first": path[:k], "last": path[:-1][-k:], OUTPUT: path[-k:]}[family]
    return _mask_of(places, chosen)


def _given_mask(text: str, places: Sequence[SlotPlace]) -> str:
    if len(text) != len(places):
        raise _refuse(text, places, f"a mask needs {len(places)} digits here, this one has {len(text)}")
    return text


def _listed(text: str, places: Sequence[SlotPlace]) -> str:
    words = [word.strip() for word in text.split(",")]
    groups = _groups(places)
    meant: dict[str, tuple[SlotPlace, ...]] = {place.name: (place,) for place in places} | groups
    strangers = [word for word in words if word not in meant]
    if strangers:
        raise _refuse(text, places, _why_not(strangers[0], places, meant))
    if len(set(words)) != len(words):
        raise _refuse(text, places, "it names a slot twice" if not groups else "it names something twice")
    return _mask_of(places, (place for word in words for place in meant[word]))


def _why_not(word: str, places: Sequence[SlotPlace], known: Iterable[str]) -> str:
    if _OF_BLOCKS.fullmatch(word) and not _has_blocks(places):
        return f"'{word}' is said of networks with residual blocks, and this one has none"
    if word.startswith("stage:") and _has_blocks(places):
        stages = max(place.stage or 0 for place in places)
        return f"here the K of stage:K is a number from 1 to {stages}"
    guess = nearest(word, (*known, *_WORDS - {NOWHERE}))
    meant = f"; did you mean '{guess}'?" if guess else ""
    return f"'{word}' is neither a placement nor a slot of this network{meant}"


def _refuse(expression: str, places: Sequence[SlotPlace], reason: str) -> UserError:
    forms = (*GRAMMAR, *BLOCK_GRAMMAR) if _has_blocks(places) else GRAMMAR
    width = max(len(form) for form, _ in forms)
    grammar = "\n".join(f"  {form:<{width}}  {meaning}" for form, meaning in forms)
    end = "" if reason.endswith("?") else "."
    return UserError(
        f"placement '{expression}' does not fit: {reason}{end}",
        hint=f"A placement is one of\n{grammar}\nThis network's slots: {' '.join(place.name for place in places)}.",
    )
