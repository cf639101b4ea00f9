"""What a row of the table of variants says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, assert_never

from pydantic import Field

from bnbench.components.normalisers import NONE
from bnbench.components.reparametrisations import PLAIN
from bnbench.errors import UserError, unknown
from bnbench.options import NO_OPTIONS, Options
from bnbench.row import Name, Row, Text


class Affine(StrEnum):
    """What becomes of a parameter of the affine part."""

    ABSENT = "absent"
    FIXED = "fixed"
    LEARNED = "learned"


@dataclass(frozen=True)
class AffineRule(Row):
    """How one affine parameter, γ or β, is treated.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "rule of γ or β"

    status: Affine
    initial: float
    """The value every channel starts from (and keeps, where the parameter is fixed)."""
    learning_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """The parameter's learning rate, as a multiple of the run's."""
    learned_in: Text | None = None
    """A placement expression: the parameter is learned in those slots only and fixed in the others.
    None: learned in every slot that carries a normaliser."""
    initial_until: float | None = None
    """Where given, every channel draws its own start, uniformly from `initial` up to this."""
    initial_in: tuple[Text, float] | None = None
    """A placement expression, and the value that every channel of those slots starts from instead."""

    def check_together(self) -> None:
        """A start is drawn from a range, and only what is learned can be learned somewhere."""
        if self.initial_until is not None and not self.initial_until > self.initial:
            raise self.wrong("initial_until", self.initial_until, f"should be greater than initial = {self.initial:g}")

    @property
    def is_learned(self) -> bool:
        """Whether the optimiser moves the parameter, in some slots at least."""
        match self.status:
            case Affine.LEARNED:
                return True
            case Affine.FIXED | Affine.ABSENT:
                return False
            case other:
                assert_never(other)


@dataclass(frozen=True)
class Variant(Row):
    """One row: what a slot's normaliser does, and which parameters the optimiser moves.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "variant"

    name: Name
    symbol: Text
    """As the study writes it, with Unicode subscripts where they exist."""
    summary: str
    normaliser: Name
    """A name of the table of normalisers (`bnbench.components.normalisers`)."""
    gamma: AffineRule
    beta: AffineRule
    train_weights: bool = True
    """Whether the convolution and dense weights and biases are trained (False: Frankle et al. 2020)."""
    baseline: Text | None = None
    """"lower" or "upper" where the study uses the variant as that baseline."""
    revision: int = 1
    """Raised by its author whenever the same name comes to mean other numbers."""
    options: Options = NO_OPTIONS
    """The normaliser's; what is left out has its default there. Any mapping may be given."""
    weights: Name = PLAIN
    """How the weights of the slots that carry the variant are made of what is learned: a name of the table of
    reparametrisations (`bnbench.components.reparametrisations`)."""
    weights_options: Options = NO_OPTIONS
    """The reparametrisation's."""
    weights_in: Text | None = None
    """A placement expression: where `train_weights` is False, weights and biases are trained in those slots after
    all. None: in none."""

    def __post_init__(self) -> None:
        for name in ("options", "weights_options"):
            given = getattr(self, name)
            if isinstance(given, Mapping) and not isinstance(given, Options):
                object.__setattr__(self, name, Options(given))
        super().__post_init__()

    def check_together(self) -> None:
        """An absent γ or β must leave what it is applied to as it is; weights are trained everywhere or somewhere."""
        for field, rule, neutral in (("gamma", self.gamma, 1.0), ("beta", self.beta, 0.0)):
            if rule.status is not Affine.ABSENT:
                continue
            if rule.initial != neutral:
                raise self.wrong(f"{field}.initial", rule.initial, f"should be {neutral:g} where {field} is absent")
            for start in ("initial_until", "initial_in"):
                if getattr(rule, start) is not None:
                    raise self.wrong(f"{field}.{start}", getattr(rule, start), f"{field} is absent")
        if self.weights_in is not None and self.train_weights:
            raise self.wrong("weights_in", self.weights_in, "train_weights is True, so they are trained everywhere")

    @property
    def has_affine(self) -> bool:
        """Whether there is a γ or a β, learned or not."""
        return not (self.gamma.status is Affine.ABSENT and self.beta.status is Affine.ABSENT)

    @property
    def alters_slots(self) -> bool:
        """Whether the variant does anything to a slot that carries it; if not, no placement makes a difference."""
        return self.normaliser != NONE or self.weights != PLAIN or self.has_affine

    def placements(self) -> dict[str, str]:
        """By field: the placement expressions that the row itself holds."""
        held = {"weights_in": self.weights_in}
        for name, rule in (("gamma", self.gamma), ("beta", self.beta)):
            held[f"{name}.learned_in"] = rule.learned_in
            held[f"{name}.initial_in"] = None if rule.initial_in is None else rule.initial_in[0]
        return {field: expression for field, expression in held.items() if expression is not None}

    def replace(self, **changes: Any) -> Variant:  # noqa: ANN401 -- the fields of the row
        """Another row, as this one but for what is named: `replace(name="mine", gamma={"initial": 0.5})`.

        Args:
            **changes: fields of the row; of gamma and beta a rule, or only what changes of it. The symbol becomes the
                name if none is given.

        Raises:
            UserError: there is no such field, or the name stays although something else changes.
        """
        known = [field.name for field in fields(self)]
        rules = [field.name for field in fields(AffineRule)]
        for name, value in changes.items():
            if name not in known:
                raise unknown("field", name, known)
            if name in {"gamma", "beta"} and isinstance(value, Mapping):
                for part in value:
                    if part not in rules:
                        raise unknown("field", f"{name}.{part}", rules)
                status = {"status": _affine(str(value["status"]))} if "status" in value else {}
                changes[name] = replace(getattr(self, name), **{**value, **status})
        named = changes.get("name", self.name)
        symbol = {} if named == self.name else {"symbol": named}
        changed = replace(self, **{**symbol, **changes})
        if changed != self and changed.name == self.name:
            raise UserError(
                f"a changed row needs another name than '{self.name}': numbers of one name must come from one row",
                hint='For example replace(name="mine", …).',
            )
        return changed


def _affine(status: str) -> Affine:
    if status not in list(Affine):
        raise unknown("status of a parameter", status, list(Affine))
    return Affine(status)
