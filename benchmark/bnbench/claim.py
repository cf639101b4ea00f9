"""Claims as data: what a study says of its runs, in parts that a fixed set of rules can decide (torch-free).

A part names a rule, the runs it looks at, and the rule's parameters. `bnbench.analysis.claims` holds the rules
themselves: what a part comes out as, given recorded runs.

In a file, any value of a part may be a list: the part then stands for one part for each value, and for each combination
where there are several. What stands at the part's own level (`problem`, `placement`, `lr_factor`, `variant`, and for γ
and β `parameter`, `slots`, `statistic`, `at`) holds for each of the runs it names; a run may be given by its variant
alone:

    rule = "greater"
    measure = "final accuracy"
    problem = "cifar10_3c3d"
    lr_factor = [0.1, 10.0]
    a = ["bn", "bn_gamma_beta"]     # four parts: each of these two, at each of two learning rates,
    b = "vanilla"                   # against vanilla at the same learning rate
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, model_validator

from bnbench.measurement import NormaliserParameter
from bnbench.strict import Strict, to_tuple

Measure = Literal["final accuracy", "early accuracy", "final loss", "final test accuracy"]
"""Of a run's curves with running statistics, on `train_eval` but for the last: means over the last, or the first, tenth
of the epochs."""
Slots = Literal["all", "first", "intermediate", "last", "others"]
"""Of the slots that carry a BatchNorm: all; the first; those between the first and the last; the last; all but the
last. In a network with residual blocks they are counted along the main path: slots in shortcuts belong to all only."""
Statistic = Literal["activity", "moved", "positive extreme", "negative extreme", "range", "mid-range", "share below"]
"""Over the channels of the slots: mean |γ - 1| or mean |β|; mean distance from the first snapshot; max(0, largest);
max(0, -smallest); largest - smallest; their mean; the share whose |value| is below a level."""
Condition = Literal["> 0", "> 1", "> +band", "< -band", "<= +band", "|value| < level", "|value - neutral| < level"]
"""What a channel's value is counted for; the band is a share of the largest |value| of the run. Neutral is 1 for γ, 0
for β."""
Moment = Literal["end", "tenth"]
"""The last snapshot, or the last one within the first tenth of the steps."""
ProbeQuantity = Literal[
    "loss variation",
    "gradient change",
    "effective smoothness",
    "covariate shift",
    "eigenvalue ratio",
    "gradient share",
]
"""What a probe says of a run at one step, in one number (`bnbench.analysis.probes`). Along the gradient: max L - min L;
max ‖g - g₀‖ / ‖g₀‖; max ‖g - g₀‖ / (a ‖g₀‖). Of the slots' ‖G - G'‖ / ‖G‖ the median. λ₁ / λ_C, and the share of
‖g‖² in the top C eigenvectors, for C classes."""
Standing = Literal["published", "our operationalisation", "ours", "exploratory"]
"""What a claim's verdict says: something of the source's own statement; of our reading of it, by a constant that the
source was not read for; of a question of this suite's; or nothing, because there is no statement to decide."""


_Bounded = TypeVar("_Bounded", bound="Level | ParameterLevel")


def _with_a_bound(part: _Bounded) -> _Bounded:
    if part.at_least is None and part.at_most is None:
        raise ValueError("needs a bound: at_least, at_most, or both")
    return part


class Run(Strict):
    """One run a seed: which of the study's runs a part looks at."""

    problem: str
    variant: str
    placement: str = "hidden"
    lr_factor: Annotated[float, Field(gt=0)] = 1.0


class Quantity(Run):
    """A number that the γ or the β of a run give: a statistic over the channels of some slots."""

    parameter: NormaliserParameter
    statistic: Statistic
    slots: Slots = "all"
    at: Moment = "end"
    level: Annotated[float, Field(gt=0)] | None = None
    """Of "share below", and of nothing else: what |value| is compared with."""

    @model_validator(mode="after")
    def _level_where_needed(self) -> Quantity:
        if (self.level is None) is (self.statistic == "share below"):
            raise ValueError('"share below" needs a level, and no other statistic takes one')
        return self


class Greater(Strict):
    """a > b: holds if the interval of a - b lies above 0, is refuted if it lies below δ."""

    rule: Literal["greater"]
    measure: Measure
    a: Run
    b: Run
    beside: Literal["one-sided paired t"] | None = None
    """A test of the source's own, whose p is printed beside the verdict and decides nothing."""


class NotGreater(Strict):
    """Not a > b: refuted where that holds, holds where that is refuted."""

    rule: Literal["not greater"]
    measure: Measure
    a: Run
    b: Run


class Similar(Strict):
    """a ~ b: holds if the interval of a - b lies inside ±δ, is refuted if it lies outside."""

    rule: Literal["similar"]
    measure: Measure
    a: Run
    b: Run


class MostOfGain(Strict):
    """part - none > whole - part, decided as a > b on the differences inside each seed."""

    rule: Literal["most of the gain"]
    measure: Measure
    none: Run
    part: Run
    whole: Run


class Fails(Strict):
    """Fails to train: diverged, or final accuracy < 2 / C, in every seed."""

    rule: Literal["fails to train"]
    run: Run


class Trains(Strict):
    """Trains: holds if no seed diverged or stayed below 2 / C; refuted where the run fails to train."""

    rule: Literal["trains"]
    run: Run


class Share(Strict):
    """The share of channels, pooled over the slots, that meet a condition: at least, or below, a level."""

    rule: Literal["share"]
    run: Run
    parameter: NormaliserParameter
    slots: Slots
    condition: Condition
    band: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """As a share of the largest |value| of the parameter in the run."""
    level: Annotated[float, Field(gt=0)] | None = None
    """Of the conditions that name one."""
    at_least: Annotated[float, Field(ge=0, le=1)] | None = None
    below: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _level_where_needed(self) -> Share:
        if (self.level is None) is ("level" in self.condition):
            raise ValueError("a condition that names a level needs one, and no other takes one")
        return self


class Ratio(Strict):
    """numerator / denominator within bounds: `at_least`, `at_most`, or strictly `below`."""

    rule: Literal["ratio"]
    numerator: Quantity
    denominator: Quantity
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None


class Exceeds(Strict):
    """a is the larger of two numbers of γ or β."""

    rule: Literal["exceeds"]
    a: Quantity
    b: Quantity


class Monotonic(Strict):
    """The share of monotonic trajectories, pooled over runs: more than a level."""

    rule: Literal["monotonic"]
    parameter: NormaliserParameter
    pooled: Annotated[tuple[Run, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    more_than: Annotated[float, Field(ge=0, lt=1)]


class Level(Strict):
    """The mean over seeds of a measure, or of its difference from another run's, lies within bounds.

    Holds if the 95 % interval of the mean lies inside them, is refuted if it lies wholly outside, else undecided.
    """

    rule: Literal["level"]
    measure: Measure
    a: Run
    minus: Run | None = None
    """What is taken off, seed by seed."""
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Level:
        return _with_a_bound(self)


class ParameterLevel(Strict):
    """The mean over seeds of a number of γ or β lies within bounds, decided as `level`."""

    rule: Literal["parameter level"]
    quantity: Quantity
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> ParameterLevel:
        return _with_a_bound(self)


class ProbeRatio(Strict):
    """What a probe measured in run a, over what it measured in run b.

    For each seed r, the median of log(a / b) over the probed steps after the first tenth (or at one moment). Holds if
    the 95 % interval of r lies within the logarithms of the bounds, is refuted if it lies wholly outside, else
    undecided.
    """

    rule: Literal["probe ratio"]
    quantity: ProbeQuantity
    a: Run
    b: Run
    at: Annotated[float, Field(ge=0, le=1)] | None = None
    """The moment, as a share of the steps; None for all probed steps after the first tenth."""
    b_at: Annotated[float, Field(ge=0, le=1)] | None = None
    """The moment of b, where it is another."""
    above: Annotated[float, Field(gt=0)] | None = None
    below: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> ProbeRatio:
        if self.above is None and self.below is None:
            raise ValueError("needs a bound: above, below, or both")
        if self.b_at is not None and self.at is None:
            raise ValueError("b_at needs at")
        return self


Part = Annotated[
    Greater
    | NotGreater
    | Similar
    | MostOfGain
    | Fails
    | Trains
    | Share
    | Ratio
    | Exceeds
    | Monotonic
    | Level
    | ParameterLevel
    | ProbeRatio,
    Field(discriminator="rule"),
]
RULES: tuple[str, ...] = tuple(
    get_args(model.model_fields["rule"].annotation)[0] for model in get_args(get_args(Part)[0])
)
"""The names of the rules."""


class Claim(Strict):
    """A statement of a study, and what it comes to: all parts must hold, one that is refuted refutes it."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
    figure: str
    """The figure or section that makes it."""
    text: str
    standing: Standing = "published"
    """What a verdict on it says of the source."""
    parts: Annotated[tuple[Part, ...], BeforeValidator(to_tuple)] = ()
    """None: no run of the study can decide it."""
    remark: str = ""
    """How the words were read where they leave a choice, or why there are no parts."""


def runs_of(part: Part) -> tuple[Run, ...]:
    """The runs that a part looks at, each once."""
    found: dict[Run, None] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Run):
                plain = Run(
                    problem=each.problem, variant=each.variant, placement=each.placement, lr_factor=each.lr_factor
                )
                found[plain] = None
    return tuple(found)


def problems_of(claim: Claim) -> tuple[str, ...]:
    """The problems that a claim is about, by the names that its study uses, each once."""
    return tuple(dict.fromkeys(run.problem for part in claim.parts for run in runs_of(part)))


# --- a part as it stands in a file ------------------------------------------------------------------------------

_RUN_KEYS = tuple(Run.model_fields)
_QUANTITY_KEYS = tuple(Quantity.model_fields)
_INNER: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # rule: (the runs or quantities it names, the keys each may take from the part's own level)
    "greater": (("a", "b"), _RUN_KEYS),
    "not greater": (("a", "b"), _RUN_KEYS),
    "similar": (("a", "b"), _RUN_KEYS),
    "most of the gain": (("none", "part", "whole"), _RUN_KEYS),
    "fails to train": (("run",), _RUN_KEYS),
    "trains": (("run",), _RUN_KEYS),
    "share": (("run",), _RUN_KEYS),
    "ratio": (("numerator", "denominator"), _QUANTITY_KEYS),
    "exceeds": (("a", "b"), _QUANTITY_KEYS),
    "monotonic": ((), ()),
    "level": (("a", "minus"), _RUN_KEYS),
    "parameter level": (("quantity",), _QUANTITY_KEYS),
    "probe ratio": (("a", "b"), _RUN_KEYS),
}
_OPTIONAL = frozenset({"minus"})
"""Runs that a part may leave out."""


def expand_part(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts that one table of a file stands for, lists multiplied out, every run named in full.

    What is not understood is left as it is, for the model to refuse.
    """
    table = dict(raw)
    among = table.pop("among", None)
    pairs: list[dict[str, Any]] = [{}]
    if isinstance(among, Sequence) and not isinstance(among, str):
        pairs = [{"a": a, "b": b} for a, b in itertools.combinations(among, 2)]
    elif among is not None:
        pairs = [{"among": among}]
    pooled = table.pop("pooled", None)
    if isinstance(pooled, list):
        table["pooled"] = tuple(run for each in pooled for run in _combinations(each))
    return [_with_inner(flat) for pair in pairs for flat in _combinations({**table, **pair})]


def _combinations(value: Any) -> Iterator[Any]:  # noqa: ANN401 -- anything that TOML can say
    """Every combination of the listed values, nested tables included, in the order of the lists."""
    if isinstance(value, list):
        for each in value:
            yield from _combinations(each)
    elif isinstance(value, dict):
        choices = [list(_combinations(each)) for each in value.values()]
        for chosen in itertools.product(*choices):
            yield dict(zip(value, chosen, strict=True))
    else:
        yield value


def _with_inner(part: dict[str, Any]) -> dict[str, Any]:
    """A part whose runs carry what the part's own level says of them."""
    inner, inherited = _INNER.get(str(part.get("rule")), ((), ()))
    shared = {key: part[key] for key in inherited if key in part}
    own = {key: value for key, value in part.items() if key not in shared}
    for name in inner:
        if name in _OPTIONAL and name not in own:
            continue
        value = own.get(name, {})
        if isinstance(value, str):
            value = {"variant": value}
        own[name] = {**shared, **value} if isinstance(value, dict) else value
    return own
