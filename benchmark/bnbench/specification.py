"""The specification of a run as `run.json` keeps it: the one typed reading of the hashed mapping.

Strict, so that nothing of a folder that came from elsewhere is believed unseen; and whole, so that reading a run never
needs the package that offered its network, its data or its variant. A field that the mapping leaves out has its
default (`bnbench.identity`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from bnbench.options import OptionValue
from bnbench.plan import Precision
from bnbench.problem import Augmentation, Evaluation, Seed, Snapshots, Training
from bnbench.strict import Strict, to_tuple

_COMPONENT_NAME = r"^[a-z0-9][a-z0-9_]{0,63}$"
ComponentName = Annotated[str, Field(pattern=_COMPONENT_NAME)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DataSpecification(Strict):
    """Which data a run was trained on."""

    name: ComponentName
    fingerprint: Sha256
    split: Annotated[str, Field(min_length=1)] | None = None
    """The digest of a split of the data set's own; None for the suite's, which fingerprint and seed decide."""


class AffineSpecification(Strict):
    """What became of γ or β (`bnbench.components.variants.AffineRule`)."""

    status: Literal["absent", "fixed", "learned"]
    initial: float
    learning_rate_factor: float
    learned_in: str | None
    initial_until: float | None = None
    initial_in: Annotated[tuple[str, float], BeforeValidator(to_tuple)] | None = None


class VariantSpecification(Strict):
    """A row of the table of variants as it was when the run was made."""

    name: ComponentName
    normaliser: ComponentName
    gamma: AffineSpecification
    beta: AffineSpecification
    train_weights: bool
    revision: Annotated[int, Field(ge=1)] = 1
    options: dict[ComponentName, OptionValue] = Field(default_factory=dict)
    normaliser_revision: Annotated[int, Field(ge=1)] = 1
    weights: ComponentName = "plain"
    weights_options: dict[ComponentName, OptionValue] = Field(default_factory=dict)
    weights_revision: Annotated[int, Field(ge=1)] = 1
    weights_in: str | None = None
    bias: bool | None = None
    """False where a row without a normaliser has no bias in the slots that carry it; None where the row does not say,
    because it follows from the normaliser."""

    def placements(self) -> tuple[str, ...]:
        """The placement expressions that the row itself holds."""
        rules = (self.gamma, self.beta)
        held = [self.weights_in, *(rule.learned_in for rule in rules)]
        held += [None if rule.initial_in is None else rule.initial_in[0] for rule in rules]
        return tuple(each for each in held if each is not None)

    def rule(self, parameter: Literal["gamma", "beta"]) -> AffineSpecification:
        """What became of γ or β."""
        return self.gamma if parameter == "gamma" else self.beta


class ProbesSpecification(Strict):
    """What else was measured: the probes that were on, what was chosen of each (`bnbench.problem.Probes`)."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[ComponentName, OptionValue]] = Field(init=False)

    sparsity: bool = False

    @model_validator(mode="after")
    def _plainly_named(self) -> Self:
        for name in self.__pydantic_extra__:
            if not re.fullmatch(_COMPONENT_NAME, name):
                raise ValueError(f"{name!r} is no name of a probe")
        return self

    @property
    def on(self) -> tuple[str, ...]:
        """The names of those that were on."""
        return (*(("sparsity",) if self.sparsity else ()), *sorted(self.__pydantic_extra__))


class Specification(Strict):
    """Everything that decided a run's numbers."""

    numerics: Annotated[int, Field(ge=1)]
    data: DataSpecification
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    architecture: ComponentName
    architecture_revision: Annotated[int, Field(ge=1)] = 1
    layers: str | None = None
    """A digest of the layer table, where another package than this brought it."""
    width: Annotated[float, Field(gt=0, le=16)]
    classes: Annotated[int, Field(ge=1)]
    channels: Annotated[int, Field(ge=1)]
    mask: Annotated[str, Field(pattern=r"^[01]+$")]
    variant: VariantSpecification
    training: Training
    optimiser_revision: Annotated[int, Field(ge=1)] = 1
    schedule_revision: Annotated[int, Field(ge=1)] = 1
    augmentation: Augmentation
    evaluation: Evaluation = Evaluation()
    snapshots: Snapshots
    probes: ProbesSpecification = ProbesSpecification()
    seed: Seed
    precision: Precision
