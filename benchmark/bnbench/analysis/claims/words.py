"""Runs, parts and effects of claims in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from bnbench.analysis.claims.evidence import FINGERPRINT_DIGITS, DataUsed
from bnbench.analysis.claims.verdict import Decision
from bnbench.analysis.trajectory import NEUTRAL
from bnbench.analysis.variant_labels import symbol_of
from bnbench.claim import (
    Exceeds,
    Fails,
    Greater,
    Level,
    Monotonic,
    MostOfGain,
    NotGreater,
    ParameterLevel,
    Part,
    ProbeRatio,
    Quantity,
    Ratio,
    Run,
    Share,
    Similar,
    Trains,
)
from bnbench.data.origin import origin_in_words

_PARAMETERS = {"gamma": "γ", "beta": "β"}
_SLOTS = {"all": "all slots", "first": "first slot", "intermediate": "intermediate slots", "last": "last slot",
          "others": "slots but the last"}  # fmt: skip


def run_in_words(run: Run, *, problem: bool = True, circumstances: bool = True) -> str:
    """A run of a claim: variant, and where it is not the default, placement and learning rate."""
    words = [run.problem] if problem else []
    words.append(symbol_of(run.variant))
    return " ".join([*words, *(_circumstances(run) if circumstances else [])])


def _circumstances(run: Run) -> list[str]:
    where = [f"`{run.placement}`"] if run.placement != "hidden" else []
    return [*where, *([f"lr ×{run.lr_factor:g}"] if run.lr_factor != 1 else [])]


def part_in_words(part: Part) -> str:
    """What a part says, in one line."""
    match part:
        case Greater() | NotGreater() | Similar() | MostOfGain() | Fails() | Trains() | Level():
            return _about_curves(part)
        case Share() | Ratio() | Exceeds() | Monotonic() | ParameterLevel():
            return _about_parameters(part)
        case ProbeRatio():
            return f"{part.quantity}: {_pair(part.a, part.b, '/')}{_moments(part)} {_ratio_bounds(part)}"
        case other:
            assert_never(other)


def _about_curves(part: Greater | NotGreater | Similar | MostOfGain | Fails | Trains | Level) -> str:
    match part:
        case Greater():
            return f"{part.measure}: {_pair(part.a, part.b, '>')}"
        case NotGreater():
            return f"{part.measure}: not {_pair(part.a, part.b, '>')}"
        case Similar():
            return f"{part.measure}: {_pair(part.a, part.b, '~')}"
        case MostOfGain():
            none, some, whole = (run_in_words(run, problem=False) for run in (part.none, part.part, part.whole))
            return f"{part.measure}: {part.part.problem} {some} − {none} > {whole} − {some}"
        case Fails() | Trains():
            return f"{run_in_words(part.run)} {part.rule}"
        case Level():
            what = run_in_words(part.a) if part.minus is None else _pair(part.a, part.minus, "−")
            return f"{part.measure}: {what} is {_bounds(part)}"
        case other:
            assert_never(other)


def _about_parameters(part: Share | Ratio | Exceeds | Monotonic | ParameterLevel) -> str:
    match part:
        case Share():
            level = f"≥ {part.at_least:.0%}" if part.at_least is not None else f"< {part.below:.0%}"
            who = f"{_PARAMETERS[part.parameter]} of {run_in_words(part.run)}"
            return f"{who}, {_SLOTS[part.slots]}: share {_condition(part)} is {level}"
        case Ratio():
            above, under = _quantities(part.numerator, part.denominator)
            return f"{above} / {under} {_bounds(part)}"
        case Exceeds():
            above, under = _quantities(part.a, part.b)
            return f"{above} > {under}"
        case Monotonic():
            what = f"{_PARAMETERS[part.parameter]} trajectories of {len(part.pooled)} kinds of run"
            return f"monotonic {what}: more than {part.more_than:.0%}"
        case ParameterLevel():
            where = "" if part.quantity.slots == "all" else f", {_SLOTS[part.quantity.slots]}"
            return f"{_statistic(part.quantity)}, {run_in_words(part.quantity)}{where}: {_bounds(part)}"
        case other:
            assert_never(other)


def _condition(part: Share) -> str:
    condition = part.condition.replace("band", f"{part.band:g}·max").replace("<=", "≤")
    if part.level is None:
        return condition
    greek, neutral = _PARAMETERS[part.parameter], NEUTRAL[part.parameter]
    value = f"|{greek} - {neutral:g}|" if "neutral" in condition and neutral else f"|{greek}|"
    return f"{value} < {part.level:g}"


def effect_in_words(part: Part, decision: Decision, *, whole: bool = True) -> str:
    """The number that was decided on, with its interval; else why there is none."""
    if decision.effect is None or isinstance(part, Fails | Trains):
        said = decision.says or ""
        if isinstance(part, Greater | NotGreater | Similar):
            for place, run in (("first", part.a), ("second", part.b)):
                said = said.replace(f"the {place}:", f"{run_in_words(run, problem=False)}:")
        return said
    match part:
        case Share() | Monotonic():
            spelled = "{:.0%}"
        case Ratio() | ProbeRatio():
            spelled = "×{:.2f}"
        case Level(minus=None) | ParameterLevel():
            spelled = "{:.3f}"
        case Greater() | NotGreater() | Similar() | MostOfGain() | Exceeds() | Level():
            spelled = "{:+.3f}"
        case other:
            assert_never(other)
    number = spelled.format(decision.effect)
    if decision.interval is not None:
        number += f" [{spelled.format(decision.interval.low)}, {spelled.format(decision.interval.high)}]"
    return f"{number} ({decision.says})" if whole and decision.says else number


def data_in_words(data: Sequence[DataUsed]) -> str:
    """Data sets with the beginning of their fingerprints, and what kind of copy each is."""
    return ", ".join(
        f"{each.dataset} {(each.fingerprint or 'unknown')[:FINGERPRINT_DIGITS]} "
        f"({origin_in_words(each.dataset, each.origin, each.fingerprint)})"
        for each in data
    )


def _pair(a: Run, b: Run, sign: str) -> str:
    """Two runs that are compared, what they share said once, before them."""
    if a.problem != b.problem:
        return f"{run_in_words(a)} {sign} {run_in_words(b)}"
    alike = (a.placement, a.lr_factor) == (b.placement, b.lr_factor)
    shared = " ".join([a.problem, *(_circumstances(a) if alike else [])])
    first, second = (run_in_words(run, problem=False, circumstances=not alike) for run in (a, b))
    return f"{shared} {first} {sign} {second}"


def _quantities(a: Quantity, b: Quantity) -> tuple[str, str]:
    """Two quantities, the second without what it shares with the first."""
    same_run = Run(**a.model_dump(include=set(Run.model_fields))) == Run(**b.model_dump(include=set(Run.model_fields)))
    what = _statistic(a)
    first = f"{what}, {run_in_words(a)}{where_in_words(a, b)}"
    where = where_in_words(b, a)
    second = where.removeprefix(", ") if same_run else run_in_words(b, problem=a.problem != b.problem) + where
    return first, second or what


def _statistic(quantity: Quantity) -> str:
    """A number of γ or β, without the run."""
    parameter = _PARAMETERS[quantity.parameter]
    if quantity.level is not None:
        return f"share of |{parameter}| < {quantity.level:g}"
    return f"{quantity.statistic} of {parameter}"


def _moments(part: ProbeRatio) -> str:
    if part.at is None:
        return ""
    if part.b_at is None:
        return f", at {part.at:g} of training"
    return f", the first at {part.at:g}, the second at {part.b_at:g} of training"


def _ratio_bounds(part: ProbeRatio) -> str:
    if part.above is not None and part.below is not None:
        return f"in {part.above:.3g}–{part.below:.3g}"
    return f"> {part.above:.3g}" if part.above is not None else f"< {part.below:.3g}"


def where_in_words(quantity: Quantity, other: Quantity) -> str:
    """Slots and moment of a quantity, as far as they tell it from another."""
    said = "" if quantity.slots == other.slots == "all" else f", {_SLOTS[quantity.slots]}"
    moment = "at a tenth of the steps" if quantity.at == "tenth" else "at the end"
    return said + (f", {moment}" if quantity.at != other.at else "")


def _bounds(part: Ratio | Level | ParameterLevel) -> str:
    if part.at_least is not None and part.at_most is not None:
        return f"in {part.at_least:.3g}–{part.at_most:.3g}"
    below = part.below if isinstance(part, Ratio) else None
    bounds = (("≥", part.at_least), ("≤", part.at_most), ("<", below))
    return " and ".join(f"{sign} {level:.3g}" for sign, level in bounds if level is not None)
