"""Every table that a run leaves, declared once: columns, types, what a column means and which values it may hold.

The Arrow schemas, the recorder's checks, what `Results.table` can be asked for and the tables of columns in
`docs/result-schema.md` derive from what stands here. Who measures something yields columns by these names
(`bnbench.training.events.Measured`); nobody else spells them out again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from bnbench.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

Split = Literal["train_eval", "valid", "test"]

Statistics = Literal["running", "population"]
"""What BatchNorm normalises with when a network is evaluated: the exponential average of the batch statistics, or
population statistics recomputed over `train_eval` for the purpose."""

ProbeStatistics = Literal["batch", "running"]
"""What BatchNorm normalises with while a probe measures."""

NormaliserParameter = Literal["gamma", "beta"]
Parameter = Literal[NormaliserParameter, "bias", "scale"]
"""A per-channel parameter whose trajectory is recorded."""

ColumnType = Literal["int64", "float32", "float64", "string", "list of float32"]

Values: TypeAlias = "npt.NDArray[Any] | Sequence[str]"
"""What a run hands over for a column: an array of the column's own type, [n], or [n, channels] for a list; of a column
of strings a sequence of str."""

COUNT = (0.0, math.inf)
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType
    meaning: str
    """As the documentation says it, in Markdown."""
    unit: str = ""
    known: tuple[str, ...] = ()
    """Of a column of strings: the only ones there are; empty where they depend on the run."""
    range: tuple[float, float] | None = None
    """Smallest and largest number that can be meant; NaN is in no range. None where any is, NaN included."""


@dataclass(frozen=True)
class Table:
    """One table: a Parquet file of every run, or of every run with a certain probe."""

    name: str
    meaning: str
    """In a few words, as the documentation lists the files."""
    columns: tuple[Column, ...]
    """Those that a run measures; each row has the identity columns before them."""
    row_group: tuple[str, ...] = ()
    """Columns of strings that each row group of the final file has one value of each of, and is sorted by. Empty where
    all rows are one group, in the order in which they were recorded."""
    key: tuple[str, ...] = ()
    """The measured columns that name a row: the same row of the same training has the same values, bit for bit. Empty
    for a table whose values differ whenever they are measured."""


@dataclass(frozen=True)
class RunIdentity:
    """Who a run is: the identity columns of every table, in this order."""

    run_id: str = field(
        metadata={
            "meaning": "the run: a readable stem and a hash of everything that decides its numbers; also the folder's "
            "name"
        }
    )
    setting_id: str = field(
        metadata={
            "meaning": "the same without variant, mask, learning rate and seed: only runs that share it may be "
            "averaged or compared"
        }
    )
    problem: str = field(metadata={"meaning": "e.g. `digits_3c3d`"})
    size: str = field(metadata={"meaning": "`full`, `short` or `tiny`: which of the problem file's sizes"})
    variant: str = field(
        metadata={"meaning": "`vanilla`, `bn`, `bn_beta`, `bn_gamma`, `bn_gamma_beta`, or one that a package added"}
    )
    placement: str = field(
        metadata={"meaning": "the placement in its canonical form; `none` where no slot carries a BatchNorm"}
    )
    mask: str = field(metadata={"meaning": "one digit per slot, the output last; `1`: carries a BatchNorm"})
    learning_rate: float = field(metadata={"meaning": "the run's learning rate"})
    seed: int = field(metadata={"meaning": "the run's seed"})


_TYPES: Mapping[str, ColumnType] = {"str": "string", "float": "float64", "int": "int64"}

IDENTITY: Mapping[str, Column] = {
    each.name: Column(each.name, _TYPES[str(each.type)], each.metadata["meaning"]) for each in fields(RunIdentity)
}
"""The columns that say which run a row belongs to, by name, in the order of RunIdentity."""

_EVALUATED = (
    Column(
        "epoch",
        "int64",
        "epochs done; 0 is before the first step, with running statistics of mean 0 and variance 1",
        "epochs",
        range=COUNT,
    ),
    Column("step", "int64", "updates done", "updates", range=COUNT),
)

CURVES = Table(
    "curves",
    "learning curves: one row per epoch and split",
    (
        *_EVALUATED,
        Column(
            "split",
            "string",
            "`train_eval`, `valid` or `test`; evaluated whole, without augmentation",
            known=get_args(Split),
        ),
        Column(
            "statistics",
            "string",
            "`running`: BatchNorm's exponential average; `population`: recomputed over `train_eval` before evaluating",
            known=get_args(Statistics),
        ),
        Column("loss", "float64", "cross-entropy, mean over the split's images, without the ℓ2 term", "nats"),
        Column("accuracy", "float64", "images classified correctly", "share, 0 to 1", range=SHARE),
    ),
    key=("epoch", "split", "statistics"),
)

STEPS = Table(
    "steps",
    "loss and accuracy of every training batch",
    (
        Column(
            "step",
            "int64",
            "updates done *before* this one: `batch_loss` at step s is the loss before update s + 1",
            "updates",
            range=COUNT,
        ),
        Column("epoch", "int64", "the epoch under way, counted from 1", "epochs", range=COUNT),
        Column("batch_loss", "float32", "cross-entropy, mean over the batch, as it was computed", "nats"),
        Column("batch_accuracy", "float32", "of the batch classified correctly", "share, 0 to 1", range=SHARE),
        Column(
            "learning_rate",
            "float64",
            "the rate that the update was made with, as the schedule has it: the run's own where that is constant; a "
            "parameter's own factor multiplies it",
        ),
    ),
    key=("step",),
)

AFFINE = Table(
    "affine",
    "γ, β and biases: one row per snapshot, slot and parameter",
    (
        Column(
            "step",
            "int64",
            "updates done; the problem's snapshot schedule says which, step 0 and the last always among them",
            "updates",
            range=COUNT,
        ),
        Column("slot", "string", "the conv or dense layer (or normaliser that stands alone), e.g. `conv1`"),
        Column(
            "parameter",
            "string",
            "`gamma` and `beta` of every normaliser, frozen ones too; `bias` of every slot that has one; "
            "`scale` of weights that have one (weight normalisation's g)",
            known=get_args(Parameter),
        ),
        Column("values", "list of float32", "one value per channel (or feature), in the network's order"),
    ),
    row_group=("parameter", "slot"),
    key=("step", "slot", "parameter"),
)

TIMING = Table(
    "timing",
    "seconds per epoch",
    (
        Column("epoch", "int64", "epochs done", "epochs", range=COUNT),
        Column("train_s", "float64", "training", "s", range=COUNT),
        Column("eval_s", "float64", "evaluation after it", "s", range=COUNT),
        Column("samples_per_s", "float64", "training images a second, evaluation apart", "1/s", range=COUNT),
    ),
)

SPARSITY = Table(
    "sparsity",
    "share of activations that each ReLU zeroes, per epoch",
    (
        *_EVALUATED,
        Column(
            "slot",
            "string",
            "the conv or dense layer in front of the ReLU, e.g. `conv1`; no rows for a slot without a ReLU (the output "
            "of 3C3D and MLP). A residual block has rows for the ReLU after its sum, under its own name, e.g. `s2b1`",
        ),
        Column(
            "zeroed",
            "float64",
            "of the slot's activations those that the ReLU after it makes 0, because they are at most 0",
            "share, 0 to 1",
            range=SHARE,
        ),
    ),
    key=("epoch", "slot"),
)

_STEP_PROBED = (
    Column("step", "int64", "updates done; the probe's schedule says which", "updates", range=COUNT),
    Column("epoch", "int64", "epochs done, in whole", "epochs", range=COUNT),
)

_STATISTICS_OF_PROBE = Column(
    "statistics",
    "string",
    "`batch`: in train mode, where BatchNorm normalises with a batch's own statistics; `running`: in eval mode",
    known=get_args(ProbeStatistics),
)

LANDSCAPE = Table(
    "landscape",
    "loss and gradient along the gradient",
    (
        *_STEP_PROBED,
        _STATISTICS_OF_PROBE,
        Column("step_size", "float64", "a, the length of the step θ − a·g₀ in units of the gradient", range=COUNT),
        Column("relative_step", "float64", "a / η, where η is the learning rate of the coming update", range=COUNT),
        Column(
            "loss",
            "float64",
            "L_a: cross-entropy of the batch of the coming update at θ − a·g₀, with its dropout, without the ℓ2 term; "
            "at a = 0 the `batch_loss` of that update",
            "nats",
        ),
        Column("gradient_norm", "float64", "‖g_a‖₂ over the learned parameters"),
        Column("gradient_distance", "float64", "‖g_a − g₀‖₂"),
        Column("gradient_cosine", "float64", "cosine of the angle between g_a and g₀; NaN where one of them is zero"),
    ),
    key=("step", "relative_step"),
)

COVARIATE_SHIFT = Table(
    "covariate_shift",
    "what the update of the slots before a slot does to its gradient",
    (
        *_STEP_PROBED,
        _STATISTICS_OF_PROBE,
        Column("slot", "string", "the conv or dense layer; none for the first, before which nothing changes"),
        Column("gradient_norm", "float64", "‖G‖₂ of the slot's learned parameters, before the update"),
        Column("shift", "float64", "‖G − G'‖₂, where G' is the gradient with all slots before this one updated"),
        Column("relative_shift", "float64", "‖G − G'‖₂ / ‖G‖₂; NaN where G is zero"),
        Column("cosine", "float64", "cosine of the angle between G and G'; NaN where one of them is zero"),
    ),
    key=("step", "slot"),
)

SPECTRUM = Table(
    "spectrum",
    "spectral density of the Hessian, as Lanczos quadrature",
    (
        *_STEP_PROBED,
        _STATISTICS_OF_PROBE,
        Column("draw", "int64", "the start vector, counted from 0", range=COUNT),
        Column("index", "int64", "1 for the smallest node of the draw", range=COUNT),
        Column("node", "float64", "an eigenvalue of the tridiagonal matrix"),
        Column("weight", "float64", "its share of the density; those of a draw add up to 1", "share, 0 to 1"),
    ),
    key=("step", "draw", "index"),
)

EIGENVALUES = Table(
    "eigenvalues",
    "largest eigenvalues of the Hessian",
    (
        *_STEP_PROBED,
        _STATISTICS_OF_PROBE,
        Column("index", "int64", "1 for the largest", range=COUNT),
        Column("value", "float64", "λ"),
        Column(
            "gradient_share",
            "float64",
            "(q·g)² / ‖g‖²: the part of the squared gradient that lies along the eigenvector",
            "share, 0 to 1",
        ),
        Column("residual", "float64", "‖H·q − λ·q‖₂"),
    ),
    key=("step", "index"),
)

ACTIVATIONS = Table(
    "activations",
    "moments of what each slot hands over, per epoch",
    (
        *_EVALUATED,
        _STATISTICS_OF_PROBE,
        Column("slot", "string", "the conv or dense layer, the output among them"),
        Column("mean", "float64", "of the slot's pre-activations, over images and positions, averaged over channels"),
        Column("standard_deviation", "float64", "the same of each channel's standard deviation"),
        Column(
            "kurtosis",
            "float64",
            "the same of each channel's fourth standardised moment (3 for a normal distribution), over the channels "
            "that vary; NaN where none does",
        ),
        Column(
            "never_positive",
            "float64",
            "of the channels those that no image and no position makes positive, so that a ReLU hands on nothing",
            "share, 0 to 1",
            range=SHARE,
        ),
    ),
    key=("epoch", "slot"),
)

PROBE_NOTES = Table(
    "probe_notes",
    "what a probe could not measure, and why",
    (
        Column("step", "int64", "updates done", "updates", range=COUNT),
        Column("probe", "string", "its name"),
        Column("reason", "string", "in a sentence"),
    ),
    key=("step", "probe"),
)

EVERY_RUN = (CURVES.name, STEPS.name, AFFINE.name, TIMING.name)
"""The tables that every run leaves; the others are those of probes (`bnbench.components.probes`)."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *(CURVES, STEPS, AFFINE, TIMING, SPARSITY),
        *(LANDSCAPE, COVARIATE_SHIFT, SPECTRUM, EIGENVALUES, ACTIVATIONS, PROBE_NOTES),
    )
}
"""Every table there can be, by name; those of another package's probe from when its row is loaded (`declare`)."""

_declared_by: dict[str, str] = {}


def declare(tables: Sequence[Table], owner: str) -> None:
    """Add the tables of a probe that is not this package's, in place of those that it declared before.

    Args:
        tables: its own.
        owner: its name.

    Raises:
        UserError: a table of that name is there already, of somebody else.
    """
    for table in tables:
        if table.name in TABLES and _declared_by.get(table.name) != owner:
            raise UserError(
                f"probe '{owner}' fills a table '{table.name}', and there is another of that name",
                hint="Give the table another name.",
            )
    for table in tables:
        TABLES[table.name] = table
        _declared_by[table.name] = owner
