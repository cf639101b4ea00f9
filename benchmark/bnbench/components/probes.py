"""The table of probes (torch-free): what else a run can measure, when, and into which tables.

A probe looks at a copy of the network, so it changes nothing of what a run learns. Its row says what it is called, what
it fills and what can be chosen; what it computes stands in the function that the row names, which is imported when a
run begins that has the probe on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from bnbench.components.architectures import Conv, Dense, Norm, TracedLayer
from bnbench.errors import UserError
from bnbench.measurement import (
    ACTIVATIONS,
    COVARIATE_SHIFT,
    EIGENVALUES,
    EVERY_RUN,
    IDENTITY,
    LANDSCAPE,
    PROBE_NOTES,
    SPARSITY,
    SPECTRUM,
    ColumnType,
    ProbeStatistics,
    Table,
    declare,
)
from bnbench.options import Described, Option, OptionValue, complete
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text
from bnbench.schedule import GRAMMAR, check_schedule

When = Literal["step", "update", "evaluation"]
"""At which moment a probe measures:

step: at the steps of its schedule, before the coming update; at the end of the run before one that is not made;
update: at the same steps, after the update that follows, knowing the network before and after; not at the end of the
run, where no update follows; evaluation: whenever the network is evaluated, that is before the first step and after
each epoch.
"""

SCHEDULE = "schedule"
REVISION = "revision"
_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class ProbeRow(Row):
    """One probe.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "probe"

    name: Name
    title: Text
    summary: Text
    """What it measures, in a sentence."""
    tables: Annotated[tuple[Table, ...], Field(min_length=1)]
    """What it fills: nobody else does."""
    moment: When
    build: Annotated[str, Field(pattern=_FUNCTION)]
    """"module:function": options (every one, by name) to what is called at each moment that is due
    (`bnbench.training.probing.moment.Probe`)."""
    schedule: Text | None = None
    """When it measures unless something else is chosen (`bnbench.schedule`); None of a probe at evaluations."""
    options: Described = ()
    """What can be chosen about it, beside the schedule."""
    memory: Annotated[str, Field(pattern=_FUNCTION)] | None = None
    """"module:function": options and a `NetworkSize` to the bytes that it needs beside training, where that is much;
    torch-free, since it is asked before a run begins."""
    may_miss: bool = True
    """Whether there is a case that it cannot measure; the reason goes to `probe_notes` then."""
    revision: Count = 1
    """Raised by its author whenever the same name comes to mean other numbers."""

    def check_together(self) -> None:
        """A schedule where there is a choice of steps, and there only; tables that can be recorded."""
        at_evaluation = self.moment == "evaluation"
        if at_evaluation != (self.schedule is None):
            reason = "there is none at evaluations" if at_evaluation else "a default is needed: even:30, for example"
            raise self.wrong(SCHEDULE, self.schedule, reason)
        if self.schedule is not None:
            check_schedule(self.schedule)
        for name in {option.name for option in self.options} & {SCHEDULE, REVISION}:
            raise self.wrong("options", name, "is taken: every probe has that")
        for table in self.tables:
            if told := _refusal(table):
                raise self.wrong("tables", table.name, told)

    @property
    def defaults(self) -> dict[str, OptionValue]:
        """Every option, the schedule among them, as it is unless chosen otherwise."""
        return {option.name: option.default for option in self._choosable}

    def chosen(self, given: Mapping[str, object]) -> dict[str, OptionValue]:
        """What differs from the defaults, each value looked at.

        Raises:
            UserError: there is no such option, or it cannot have the value.
        """
        every, defaults = complete(f"probe '{self.name}'", self._choosable, given), self.defaults
        if self.schedule is not None:
            try:
                check_schedule(str(every[SCHEDULE]))
            except UserError as error:
                raise UserError(f"probe '{self.name}': {error.problem}", hint=error.hint) from error
        return {name: value for name, value in every.items() if value != defaults[name]}

    @property
    def _choosable(self) -> tuple[Option, ...]:
        if self.schedule is None:
            return self.options
        return (Option(SCHEDULE, self.schedule, f"when it measures, as {GRAMMAR}"), *self.options)


def _refusal(table: Table) -> str:
    """Why a table cannot be recorded; empty where it can."""
    names = [column.name for column in table.columns]
    if not _PLAIN.fullmatch(table.name) or table.name in {*EVERY_RUN, PROBE_NOTES.name}:
        return "should be a plain name of its own: lower-case letters, digits and underscores"
    if len(set(names)) < len(names) or set(names) & set(IDENTITY) or not all(map(_PLAIN.fullmatch, names)):
        return f"columns need plain names, each once, none of {', '.join(IDENTITY)}"
    if any(column.type not in get_args(ColumnType) for column in table.columns):
        return f"columns are of {', '.join(get_args(ColumnType))}"
    if not any(column.name in {"step", "epoch"} and column.type == "int64" for column in table.columns):
        return "needs a column step or epoch of int64: rows are recorded in that order"
    if not table.key or not set(table.key) <= set(names):
        return f"needs a key: which of its columns ({', '.join(names)}) name a row"
    return ""


class _Probes(Registry[ProbeRow]):
    """The registry, which sees to it that the tables of another's row are declared once the row is known."""

    def get(self, name: str) -> ProbeRow:
        """The row of that name.

        Raises:
            UserError: as for any registry; or the row fills a table of a name that is taken.
        """
        row = super().get(name)
        if self.is_third_party(name):
            declare(row.tables, name)
        return row

    def register_for_session(self, row: ProbeRow) -> ProbeRow:
        """Add a row that this process alone knows.

        Raises:
            UserError: as for any registry; or the row fills a table of a name that is taken.
        """
        registered = super().register_for_session(row)
        try:
            declare(registered.tables, registered.name)
        except UserError:
            del self._session[registered.name]
            raise
        return registered


PROBES = _Probes("probe", ProbeRow, "bnbench.probes")


def promised_by(names: tuple[str, ...]) -> set[str]:
    """The tables that a run with these probes leaves beside `EVERY_RUN`; of a probe that is not known here, none."""
    rows = [row for name in names if (row := _found(name)) is not None]
    promised = {table.name for row in rows for table in row.tables}
    return promised | ({PROBE_NOTES.name} if any(row.may_miss for row in rows) else set())


def unknown_probes(names: tuple[str, ...]) -> list[str]:
    """Those that no row is known of here, or none that can be loaded."""
    return [name for name in names if _found(name) is None]


def _found(name: str) -> ProbeRow | None:
    try:
        return PROBES.get(name)
    except UserError:
        return None


def function_named(text: str) -> Any:  # noqa: ANN401 -- whatever it is, its caller knows
    """What "module:function" names.

    Raises:
        UserError: the module cannot be imported, or has nothing of that name.
    """
    module, _, name = text.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{text} cannot be found: {error}") from error


@dataclass(frozen=True)
class NetworkSize:
    """How large the network of a run is, as far as a probe's memory depends on it."""

    parameters: int
    """At most so many numbers are learned."""
    activations: int
    """What the slots hand over of one image, in numbers."""
    classes: int
    batch_size: int


def network_size(traced: Iterable[TracedLayer], classes: int, batch_size: int) -> NetworkSize:
    """The size of a network.

    Args:
        traced: its layers, as `bnbench.components.architectures.trace` gives them.
        classes: logits.
        batch_size: images of a training batch.
    """
    slots = [each for each in traced if isinstance(each.layer, Conv | Dense | Norm)]
    return NetworkSize(
        parameters=sum(each.weights + 2 * each.output_shape[0] for each in slots),
        activations=sum(math.prod(each.output_shape) for each in slots),
        classes=classes,
        batch_size=batch_size,
    )


KEPT_GRAPHS = 1 << 30
"""Bytes up to which `spectrum` keeps the graphs of its gradients; else they are made anew for every product."""
_GRAPH_BYTES = 32
"""Of the graph of a gradient for each activation, and of a product with it: a handful of float32 tensors of that size
(measured on 3C3D and ALL-CNN-C with BatchNorm: 25 to 27, and at most 28 for the product)."""


def eigenpairs(size: NetworkSize) -> int:
    """How many of the largest eigenvalues `spectrum` looks for: two more than there are classes."""
    return min(size.classes + 2, size.parameters - 1)


def graphs_kept(options: Mapping[str, OptionValue], size: NetworkSize) -> bool:
    """Whether `spectrum` keeps the graphs of its gradients; its numbers are the same either way."""
    return int(options["batches"]) * _graph_bytes(size) <= KEPT_GRAPHS


def spectrum_bytes(options: Mapping[str, OptionValue], size: NetworkSize) -> int:
    """The memory that `spectrum` needs beside training: the vectors of the iterations, the graphs, and a product."""
    pairs = eigenpairs(size)
    restarted = min(size.parameters, max(2 * pairs + 1, 20)) + pairs
    vectors = max(min(int(options["order"]), size.parameters), restarted) + 8
    graphs = int(options["batches"]) if graphs_kept(options, size) else 1
    return 8 * size.parameters * vectors + (graphs + 1) * _graph_bytes(size)


def _graph_bytes(size: NetworkSize) -> int:
    return _GRAPH_BYTES * size.activations * size.batch_size


def probe_bytes(row: ProbeRow, options: Mapping[str, OptionValue], size: NetworkSize) -> int:
    """The memory that a probe says it needs beside training; 0 where it says nothing.

    Raises:
        UserError: its function cannot be found.
    """
    return 0 if row.memory is None else int(function_named(row.memory)(options, size))


_STATISTICS = Option(
    "statistics",
    "batch",
    "normalise with a batch's own statistics, as in training (batch), or as in evaluation (running)",
    choices=get_args(ProbeStatistics),
)

for _row in (
    ProbeRow(
        "sparsity",
        "Sparsity of the activations",
        "the share of activations that the ReLU after each slot zeroes",
        (SPARSITY,),
        "evaluation",
        "bnbench.training.probing.sparsity:build",
        may_miss=False,
    ),
    ProbeRow(
        "landscape",
        "Loss landscape along the gradient",
        "loss and gradient of the coming batch at ½ to 4 learning rates along its gradient (Santurkar et al. 2018)",
        (LANDSCAPE,),
        "step",
        "bnbench.training.probing.landscape:build",
        schedule="even:30",
    ),
    ProbeRow(
        "covariate_shift",
        "Internal covariate shift",
        "how the update of the slots before a slot changes its gradient (Santurkar et al. 2018, definition 2.1)",
        (COVARIATE_SHIFT,),
        "update",
        "bnbench.training.probing.covariate_shift:build",
        schedule="even:30",
        options=(
            Option(
                "batches",
                0,
                "batches of train_eval, of training size, that gradients are the mean over; 0: the update's own batch",
                minimum=0,
                maximum=10_000,
            ),
        ),
    ),
    ProbeRow(
        "spectrum",
        "Spectrum of the Hessian",
        "density (Lanczos quadrature) and largest eigenvalues of the Hessian of the loss (Ghorbani et al. 2019)",
        (SPECTRUM, EIGENVALUES),
        "step",
        "bnbench.training.probing.spectrum:build",
        schedule="even:4",
        options=(
            Option("order", 90, "steps of the Lanczos iteration: nodes of the density", minimum=2, maximum=1000),
            Option("draws", 1, "start vectors of the Lanczos iteration", minimum=1, maximum=100),
            Option(
                "batches",
                4,
                "batches of train_eval, of training size, that the loss is the mean over",
                minimum=1,
                maximum=10_000,
            ),
            _STATISTICS,
        ),
        memory="bnbench.components.probes:spectrum_bytes",
    ),
    ProbeRow(
        "activations",
        "Moments of the pre-activations",
        "mean, deviation and kurtosis of what each slot hands over, and the channels that are never positive",
        (ACTIVATIONS,),
        "evaluation",
        "bnbench.training.probing.activations:build",
        options=(_STATISTICS,),
    ),
):
    PROBES.register(_row.name, _row)
