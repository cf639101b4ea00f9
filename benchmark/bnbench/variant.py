"""The table of BatchNorm variants (torch-free).

A variant is a row of one table, applied when a network is built and never toggled while it trains. The five
rows of the founding study (Tsingunidis 2023, section 3.1) ablate the learned scale γ and shift β of

    y = γ · (x - μ_B) / √(σ²_B + ε) + β        (Ioffe & Szegedy 2015, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, assert_never

from pydantic import Field

from bnbench.errors import UserError, unknown
from bnbench.registry import Registry
from bnbench.row import Name, Row, Text


class Normaliser(StrEnum):
    """What is subtracted and divided by, before the affine part."""

    NONE = "none"
    BATCH = "batch"


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
    normaliser: Normaliser
    gamma: AffineRule
    beta: AffineRule
    train_weights: bool = True
    """Whether the convolution and dense weights and biases are trained (False: Frankle et al. 2020)."""
    baseline: Text | None = None
    """"lower" or "upper" where the study uses the variant as that baseline."""
    revision: int = 1
    """Raised by its author whenever the same name comes to mean other numbers."""

    def check_together(self) -> None:
        """An absent γ or β must leave what it is applied to as it is."""
        for field, rule, neutral in (("gamma", self.gamma, 1.0), ("beta", self.beta, 0.0)):
            if rule.status is Affine.ABSENT and rule.initial != neutral:
                raise self.wrong(f"{field}.initial", rule.initial, f"should be {neutral:g} where {field} is absent")

    @property
    def normalises(self) -> bool:
        """Whether the mean is subtracted behind a slot, so that a bias in front of it would have no effect."""
        match self.normaliser:
            case Normaliser.NONE:
                return False
            case Normaliser.BATCH:
                return True
            case other:
                assert_never(other)

    @property
    def alters_slots(self) -> bool:
        """Whether the variant puts anything behind a slot; if not, no placement makes a difference."""
        absent = self.gamma.status is Affine.ABSENT and self.beta.status is Affine.ABSENT
        return self.normalises or not absent

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


VARIANTS: Registry[Variant] = Registry("variant", Variant, "bnbench.variants")

ALL = "all"
STUDIED = ("vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta")
"""What `--variant all` means: the five of the founding study, in this order everywhere."""


def _learned(initial: float) -> AffineRule:
    return AffineRule(Affine.LEARNED, initial)


def _fixed(initial: float) -> AffineRule:
    return AffineRule(Affine.FIXED, initial)


def _absent(initial: float) -> AffineRule:
    return AffineRule(Affine.ABSENT, initial)


for _row in (
    Variant(
        "vanilla",
        "vanilla",
        "no normalisation; every layer keeps its bias",
        Normaliser.NONE,
        gamma=_absent(1.0),
        beta=_absent(0.0),
        baseline="lower",
    ),
    Variant(
        "bn",
        "BN",
        "normalisation alone: γ fixed at 1, β fixed at 0",
        Normaliser.BATCH,
        gamma=_fixed(1.0),
        beta=_fixed(0.0),
    ),
    Variant(
        "bn_beta",
        "BN_β",
        "normalisation and a learned shift: γ fixed at 1",
        Normaliser.BATCH,
        gamma=_fixed(1.0),
        beta=_learned(0.0),
    ),
    Variant(
        "bn_gamma",
        "BN_γ",
        "normalisation and a learned scale: β fixed at 0",
        Normaliser.BATCH,
        gamma=_learned(1.0),
        beta=_fixed(0.0),
    ),
    Variant(
        "bn_gamma_beta",
        "BN_γ,β",
        "full BatchNorm: γ and β learned",
        Normaliser.BATCH,
        gamma=_learned(1.0),
        beta=_learned(0.0),
        baseline="upper",
    ),
):
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
