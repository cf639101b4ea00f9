"""How a problem is trained, evaluated, recorded and probed: the tables of a problem file that decide a run."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bnbench.components.probes import PROBES, REVISION
from bnbench.errors import UserError, cut
from bnbench.identity import hashed
from bnbench.options import NO_OPTIONS, Options, OptionValue
from bnbench.schedule import check_schedule
from bnbench.strict import Strict, to_tuple

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What a column of the tables can hold: 0 to 2⁶³ - 1."""

LARGEST_RATE = 1e12
"""Of learning rates: beyond it nothing is finite after a step."""


def _schedule(value: str) -> str:
    try:
        return check_schedule(value)
    except UserError as error:
        raise ValueError(str(error).replace("\n", ". ")) from error


_RowName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]

_Decay = Annotated[float, Field(ge=0, lt=1)]

_Options = Annotated[Mapping[str, OptionValue], AfterValidator(Options), PlainSerializer(dict)]


class Training(Strict):
    """How a problem is trained on the cross-entropy; without more than is required by plain SGD at a constant rate.

    Which optimiser and which rate schedule has which of the settings is theirs to say (`check_training`).
    """

    batch_size: Annotated[int, Field(ge=2, le=1_000_000)]
    """Images an update; an incomplete batch at the end of an epoch is dropped."""
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    learning_rate: Annotated[float, Field(gt=0, le=LARGEST_RATE)]
    l2: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    """λ of ½·λ·‖W‖², applied as the optimiser's weight decay (`Optimiser.decay`), to what `l2_scope` says."""
    momentum: _Decay = 0.0
    population_statistics: bool = False
    """Evaluate a second time, with population statistics recomputed over `train_eval`."""
    l2_scope: Literal["weights", "all"] = "weights"
    """What decays: convolution and dense weights only, or every learned parameter, γ, β and biases included."""
    optimiser: _RowName = "sgd"
    nesterov: bool = False
    betas: Annotated[tuple[_Decay, _Decay], BeforeValidator(to_tuple)] = (0.9, 0.999)
    """How much the running means of the gradient and of its square keep at each update."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """What is added to the root of the mean square before dividing by it."""
    optimiser_options: _Options = NO_OPTIONS
    """Options that an optimiser of another package has beside these."""
    schedule: _RowName = "constant"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(to_tuple)] = ()
    """Epochs done at which the learning rate is multiplied by `factor`, ascending."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    floor: Annotated[float, Field(ge=0)] = 0.0
    """The learning rate that the schedule comes down to."""
    anneal: Literal["step", "epoch"] = "step"
    """Whether the rate follows the cosine at every step, or once an epoch."""
    schedule_options: _Options = NO_OPTIONS
    """Options that a rate schedule of another package has beside these."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """So many epochs in which the rate rises linearly to the schedule's."""
    images: Annotated[int, Field(ge=1)] | None = None
    """Train on so many images, the first of the seeded order of the training split (`bnbench.data.subset`); None: on
    all of them."""


class Augmentation(Strict):
    """What is done to a training image, each time with parameters of its own."""

    crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    """Pixels of zeros added on each side before a random crop to the original size."""
    horizontal_flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability of a mirror image."""
    brightness: Annotated[float, Field(ge=0, le=100)] = 0.0
    """The factor is uniform in [max(0, 1 - b), 1 + b], as in torchvision's ColorJitter; 0 turns it off."""
    contrast: Annotated[float, Field(ge=0, le=100)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=100)] = 0.0


class Evaluation(Strict):
    """What is evaluated, beside `train_eval`, which follows from what is trained on."""

    images: Annotated[int, Field(ge=1)] | None = None
    """Validate and test on so many images each, the first of a fixed order; None: on all of them."""


class Snapshots(Strict):
    """When γ and β are recorded."""

    schedule: Annotated[str, AfterValidator(_schedule)] = "every:5"


class Probes(Strict):
    """What else is measured, each in tables of its own (`bnbench.components.probes`). No probe changes what is learned.

    A probe is on where it is named: `landscape = true`, or a table with what is to differ from its defaults. Kept is
    only what differs, so that two ways of saying the same are one run.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, OptionValue]] = Field(init=False)

    sparsity: bool = False
    """The share of activations that the ReLU after each slot zeroes (`training/probing/sparsity.py`)."""

    @model_validator(mode="before")
    @classmethod
    def _as_their_rows_have_it(cls, given: Any) -> Any:  # noqa: ANN401 -- whatever was given
        if not isinstance(given, Mapping):
            return given
        try:
            return dict(_chosen_probes(given, cls.model_fields))
        except UserError as error:
            lines = [line if line.endswith(("?", ".")) else f"{line}." for line in str(error).splitlines()]
            raise PydanticCustomError("probe", "{told}", {"told": " ".join(lines).removesuffix(".")}) from error

    @property
    def on(self) -> tuple[str, ...]:
        """The names of those that are on."""
        return (*(("sparsity",) if self.sparsity else ()), *sorted(self.__pydantic_extra__))

    def options(self, name: str) -> dict[str, OptionValue]:
        """Every option of a probe that is on, the schedule among them.

        Raises:
            UserError: no such probe is known here.
        """
        return {**PROBES.get(name).defaults, **self.__pydantic_extra__.get(name, {})}

    def hashed(self) -> dict[str, Any]:
        """What ids depend on: the probes that are on, what was chosen of each, its revision from the second on."""
        found = hashed(self)
        for name in sorted(self.__pydantic_extra__):
            revision = PROBES.get(name).revision
            found[name] = {**self.__pydantic_extra__[name], **({} if revision == 1 else {REVISION: revision})}
        return found


def _chosen_probes(given: Mapping[str, Any], fields: Container[str]) -> Iterator[tuple[str, Any]]:
    """The probes that are on, each with what differs from its defaults; what is a field of its own as it was."""
    for name, value in given.items():
        if name in fields:
            yield name, value
        elif isinstance(value, Mapping):
            yield name, PROBES.get(name).chosen(value)
        elif not isinstance(value, bool):
            PROBES.get(name)
            raise UserError(f"{name} = {cut(repr(value))}: should be true, false or a table of its options")
        elif value:
            yield name, PROBES.get(name).chosen({})
        else:
            PROBES.get(name)  # one that is turned off must be one, too
