"""The placement grammar: which slots of a network carry a BatchNorm (torch-free).

A *slot* is a convolution or dense layer that may be followed by a BatchNorm. The last slot is the *output*, the
others are *hidden*. An expression of the grammar resolves, for one network, to a *mask*: one digit per slot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bnbench.errors import UserError

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

NOWHERE = "none"
"""What a run's placement column says where no slot carries a BatchNorm."""

_COUNTED = re.compile(r"(first|last|output):([0-9]{1,9})")


def parse_placement(expression: str, slots: Sequence[str]) -> str:
    """The mask an expression stands for in a network with these slots, e.g. "111110".

    Args:
        expression: one expression of the grammar.
        slots: the network's slot names in order, the output last.

    Raises:
        UserError: the expression is not in the grammar, or does not fit this network.
    """
    text = expression.strip()
    count = len(slots)
    named = {"hidden": (0, count - 1), "every": (0, count), "penultimate": (count - 2, count - 1)}
    if text in named:
        mask = _range(*named[text], count)
    elif text in {"first", "output"}:
        mask = _counted(text, 1, slots)
    elif match := _COUNTED.fullmatch(text):
        mask = _counted(match[1], int(match[2]), slots)
    elif re.fullmatch(r"[01]+", text):
        mask = _given_mask(text, slots)
    else:
        mask = _listed(text, slots)
    if "1" not in mask:
        raise _refuse(expression, slots, "it places no BatchNorm at all; that network is the variant 'vanilla'")
    return mask


def refuse_slot_name(name: str) -> None:
    """Refuse a slot's name that placements could not name, or would take for something else.

    Raises:
        UserError: it is no plain word, or is a word of the grammar.
    """
    words = {"hidden", "every", "first", "penultimate", "output", NOWHERE}
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in words:
        raise UserError(
            f"'{name}' cannot be the name of a slot",
            hint="A slot's name is letters, digits and underscores, a letter first, and no word of the placements: "
            f"{', '.join(sorted(words))}.",
        )


def canonical_placement(mask: str, slots: Sequence[str]) -> str:
    """The one name a mask is recorded under, whatever expression it came from: equal masks are one run.

    The first expression of a fixed order that gives the mask; a list of slot names where none does.
    """
    if "1" not in mask:
        return NOWHERE
    candidates: list[str] = ["hidden", "every", "first", "penultimate", "output"]
    for family in ("first", "last", "output"):
        candidates += [f"{family}:{k}" for k in range(2, _limits(slots)[family] + 1)]
    for expression in candidates:
        if parse_placement(expression, slots) == mask:
            return expression
    return ",".join(slot for slot, digit in zip(slots, mask, strict=True) if digit == "1")


def masked_slots(mask: str, slots: Sequence[str]) -> list[str]:
    """The names of the slots that a mask marks, in order."""
    return [slot for slot, digit in zip(slots, mask, strict=True) if digit == "1"]


def _limits(slots: Sequence[str]) -> dict[str, int]:
    return {"first": len(slots), "last": len(slots) - 1, "output": len(slots)}


def _range(start: int, stop: int, count: int) -> str:
    return "".join("1" if start <= index < stop else "0" for index in range(count))


def _counted(family: str, k: int, slots: Sequence[str]) -> str:
    count = len(slots)
    largest = _limits(slots)[family]
    if not 1 <= k <= largest:
        raise _refuse(f"{family}:{k}", slots, f"here the K of {family}:K is a number from 1 to {largest}")
    bounds = {"first": (0, k), "last": (count - 1 - k, count - 1), "output": (count - k, count)}
    return _range(*bounds[family], count)


def _given_mask(text: str, slots: Sequence[str]) -> str:
    if len(text) != len(slots):
        raise _refuse(text, slots, f"a mask needs {len(slots)} digits here, this one has {len(text)}")
    return text


def _listed(text: str, slots: Sequence[str]) -> str:
    names = [name.strip() for name in text.split(",")]
    strangers = [name for name in names if name not in slots]
    if strangers:
        raise _refuse(text, slots, f"'{strangers[0]}' is neither a placement nor a slot of this network")
    if len(set(names)) != len(names):
        raise _refuse(text, slots, "it names a slot twice")
    return "".join("1" if slot in names else "0" for slot in slots)


def _refuse(expression: str, slots: Sequence[str], reason: str) -> UserError:
    width = max(len(form) for form, _ in GRAMMAR)
    grammar = "\n".join(f"  {form:<{width}}  {meaning}" for form, meaning in GRAMMAR)
    return UserError(
        f"placement '{expression}' does not fit: {reason}.",
        hint=f"A placement is one of\n{grammar}\nThis network's slots: {' '.join(slots)}.",
    )
