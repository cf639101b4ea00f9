"""What is to be run: run specifications, their identities, and the expansion of grids. Pure and torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bnbench.components.architectures import ARCHITECTURES, Layer, Shape, layers_digest, slot_places, trace
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.placements import Slots, canonical_placement, parse_placement
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.components.variants import Variant
from bnbench.errors import UserError, unknown
from bnbench.identity import digest, hashed, run_id_of, setting_id_of
from bnbench.measurement import RunIdentity
from bnbench.problem import (
    LARGEST_RATE,
    Augmentation,
    Evaluation,
    Probes,
    Problem,
    Size,
    Snapshots,
    Training,
    check_training,
)
from bnbench.schedule import check_snapshots
from bnbench.slot_plan import SlotPlan, hashed_variant, plan_slots, shown_options

NUMERICS_VERSION = 1
"""Raised by hand whenever a change to the code changes a run's numbers; old results then keep their own ids."""

MOST_STEPS = 100_000_000
"""Of a run: a thousand times as many as the longest of the founding study has."""

Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")

Origin = Literal["embedded", "official archive", "official pixels", "other copy", "own file"]
"""What kind of copy a data set is (`bnbench.data.origin` says what each kind is worth)."""


LARGEST_TRAIN_EVAL = 10_000
"""Images of `train_eval`, at most, where `training.images` is given: as many as CIFAR's has without."""


@dataclass(frozen=True)
class SplitSizes:
    """Images of the splits that a batch must fit into."""

    train: int
    train_eval: int

    def first(self, images: int) -> SplitSizes:
        """Those where training is on fewer images (`bnbench.data.subset`)."""
        train = min(images, self.train)
        return SplitSizes(train, min(train, LARGEST_TRAIN_EVAL))


@dataclass(frozen=True)
class DataFacts:
    """What a plan must know of a data set. The fingerprint is None where the data are not on this machine."""

    name: str
    classes: int
    channels: int
    fingerprint: str | None
    """SHA-256 of pixels and labels, hexadecimal."""
    origin: Origin | None
    """None where the data are not on this machine."""
    split: str | None = None
    """Digest of the split, hexadecimal, where the data set brings one of its own; None: the suite's own seeded split,
    which follows from fingerprint and seed."""
    sizes: SplitSizes | None = None
    """None where that is not known before the images are loaded."""
    file: Path | None = None
    """Where on this machine the arrays of a data set of a user's own lie, absolute; no part of any id or table."""
    mean: tuple[float, ...] | None = None
    """Of each channel over such a data set's training images, on the scale from 0 to 1; as recorded in `run.json`."""
    std: tuple[float, ...] | None = None
    """The same of the standard deviation."""


@dataclass(frozen=True)
class RunSpec:
    """One run, fully resolved: everything that decides its numbers, and the names it goes by."""

    problem: str
    size: Size
    data: DataFacts
    split_seed: int
    architecture: str
    width: float
    variant: Variant
    placement: str
    """The canonical expression of the mask; "none" where nothing carries a BatchNorm."""
    mask: str
    training: Training
    augmentation: Augmentation
    evaluation: Evaluation
    snapshots: Snapshots
    probes: Probes
    seed: int
    precision: Precision

    def layers(self) -> tuple[Layer, ...]:
        """The network's layer table."""
        return ARCHITECTURES.get(self.architecture).layer_table(self.data.classes, self.width)

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of an image as the network gets it."""
        size = ARCHITECTURES.get(self.architecture).image_size
        return (self.data.channels, size, size)

    @property
    def keeps_batch_statistics(self) -> bool:
        """Whether any slot is evaluated with averages over training batches."""
        return "1" in self.mask and NORMALISERS.get(self.variant.normaliser).batch_dependent

    def slot_plans(self) -> list[SlotPlan]:
        """What the variant makes of every slot, in the network's order."""
        layers = self.layers()
        traced = trace(layers, self.input_shape)
        return plan_slots(self.variant, traced, slot_places(layers), self.mask, batch_size=self.training.batch_size)

    def resolved(self) -> dict[str, Any]:
        """Every field that decides the numbers, as plain JSON values; what the ids are hashes of.

        Not in it: the problem's name and size, prose, targets, the seed list, device and threads; nor a setting that
        was added later and has its default (`bnbench.identity`).
        """
        probes, evaluation = self.probes.hashed(), hashed(self.evaluation)
        return {
            "numerics": NUMERICS_VERSION,
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint, **self._split_of_others()},
            "split_seed": self.split_seed,
            "architecture": self.architecture,
            **self._network_of_others(),
            "width": self.width,
            "classes": self.data.classes,
            "channels": self.data.channels,
            "mask": self.mask,
            "variant": hashed_variant(self.variant),
            "training": hashed(self.training),
            **self._revisions(),
            "augmentation": hashed(self.augmentation),
            **({"evaluation": evaluation} if evaluation else {}),
            "snapshots": hashed(self.snapshots),
            **({"probes": probes} if probes else {}),
            "seed": self.seed,
            "precision": self.precision,
        }

    @property
    def run_id(self) -> str:
        """A readable stem and a hash of the resolved specification; one run, one folder.

        Raises:
            UserError: the data are not at hand, so the run has no identity yet.
        """
        self._require_data()
        return run_id_of(self.resolved(), self.placement)

    @property
    def setting_id(self) -> str:
        """The same without variant, mask, learning rate and seed, and without what is merely recorded.

        Only runs that share it may be compared.

        Raises:
            UserError: the data are not at hand.
        """
        self._require_data()
        return setting_id_of(self.resolved())

    @property
    def identity(self) -> RunIdentity:
        """The identity columns of the run's tables."""
        return RunIdentity(
            run_id=self.run_id,
            setting_id=self.setting_id,
            problem=self.problem,
            size=self.size,
            variant=self.variant.name,
            placement=self.placement,
            mask=self.mask,
            learning_rate=self.training.learning_rate,
            seed=self.seed,
        )

    def document(self) -> dict[str, Any]:
        """What `run.json` keeps of it: the hashed mapping verbatim, the names it went by, the network's slots.

        In a network with residual blocks the slots' roles too, which the placement is read with.
        """
        places = slot_places(self.layers())
        roles = [{"role": each.role, "stage": each.stage, "block": each.block} for each in places]
        options = {plan.site.slot: shown_options(plan) for plan in self.slot_plans()}
        told = {slot: values for slot, values in options.items() if values}
        return {
            "problem": self.problem,
            "size": self.size,
            "placement": self.placement,
            "slots": [each.name for each in places],
            **({"roles": roles} if places[-1].role is not None else {}),
            **({"slot_options": told} if told else {}),
            "data_origin": self.data.origin,
            "spec": self.resolved(),
        }

    def _split_of_others(self) -> dict[str, str]:
        """The digest of a split that the data set brings itself: it may change while the images stay."""
        return {} if self.data.split is None else {"split": self.data.split}

    def _network_of_others(self) -> dict[str, Any]:
        """What tells networks of one name apart: the row's revision, from its second on, and a digest of the layers.

        The digest only where another package brings the layers, who may change them under the same name: of this
        suite's own tables the golden tests and `NUMERICS_VERSION` take care.
        """
        revision = ARCHITECTURES.get(self.architecture).revision
        told: dict[str, Any] = {} if revision == 1 else {"architecture_revision": revision}
        if ARCHITECTURES.is_third_party(self.architecture):
            told["layers"] = layers_digest(self.layers(), self.input_shape)
        return told

    def _revisions(self) -> dict[str, int]:
        """The revisions of the optimiser and the rate schedule, from the second on."""
        rows = {
            "optimiser_revision": OPTIMISERS.get(self.training.optimiser).revision,
            "schedule_revision": RATE_SCHEDULES.get(self.training.schedule).revision,
        }
        return {key: revision for key, revision in rows.items() if revision != 1}

    def _require_data(self) -> None:
        if self.data.fingerprint is None:
            raise UserError(f"dataset '{self.data.name}' is not on this machine, so its runs have no ids yet")


def expand_grid(
    problem: Problem,
    data: DataFacts,
    variants: Iterable[Variant],
    *,
    placements: Iterable[str] = (),
    lr_factors: Iterable[float] = (1.0,),
    seeds: Iterable[int] | None = None,
    precision: Precision = "fp32",
) -> list[RunSpec]:
    """Every run of a grid once, seed by seed, so that a sweep that is cut short has complete comparisons.

    Args:
        problem: the problem at one size, overrides applied.
        data: its data set.
        variants: rows of the variant table.
        placements: expressions of the grammar; none means the problem's default.
        lr_factors: multiples of the problem's learning rate.
        seeds: the run seeds; none means the problem's first.
        precision: the arithmetic.

    Raises:
        UserError: a placement does not fit the network, or the network the data; a factor is not a positive number; a
            variant, the training's settings or the precision are none that can be trained; a rate is none that the
            schedule can start from; a batch is larger than the data, or there are more steps or snapshots than a run
            can have.
    """
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))
    _check_length(problem, data)
    layers = _network(problem, data)
    places = slot_places(layers)
    masks = [parse_placement(each, places) for each in (tuple(placements) or problem.placements[:1])]
    traced = trace(layers, _input_shape(problem, data))
    rows = list(variants)
    for row in rows:
        _check_variant(row, places)
        for mask in masks if row.alters_slots else ():
            plan_slots(row, traced, places, mask, batch_size=problem.training.batch_size)
    trainings = [_at_rate(problem.training, factor) for factor in lr_factors]
    specs: dict[str, RunSpec] = {}
    for seed in problem.seeds[:1] if seeds is None else seeds:
        for training in trainings:
            for mask in masks:
                for variant in rows:
                    own_mask = mask if variant.alters_slots else "0" * len(mask)
                    spec = RunSpec(
                        problem=problem.name,
                        size=problem.size,
                        data=data,
                        split_seed=problem.split_seed,
                        architecture=problem.architecture,
                        width=problem.width,
                        variant=variant,
                        placement=canonical_placement(own_mask, places),
                        mask=own_mask,
                        training=training,
                        augmentation=problem.augmentation,
                        evaluation=problem.evaluation,
                        snapshots=problem.snapshots,
                        probes=problem.probes,
                        seed=seed,
                        precision=precision,
                    )
                    specs.setdefault(digest(spec.resolved()), spec)
    return list(specs.values())


def _network(problem: Problem, data: DataFacts) -> tuple[Layer, ...]:
    """The layers of a problem's network, which must make logits for the classes out of the images."""
    architecture = ARCHITECTURES.get(problem.architecture)
    layers = architecture.layer_table(data.classes, problem.width)
    try:
        output = trace(layers, _input_shape(problem, data))[-1].output_shape
    except UserError as error:
        raise UserError(f"architecture '{architecture.name}': {error.problem}", hint=error.hint) from error
    if output != (data.classes,):
        raise UserError(
            f"architecture '{architecture.name}' makes an output of shape {output} of an image, not ({data.classes},)",
            hint=f"Data set '{data.name}' has {data.classes} classes, and a network gives a number for each.",
        )
    return layers


def _check_length(problem: Problem, data: DataFacts) -> None:
    """What numbers mean together with the data: a batch that there is, and an end that comes."""
    if data.sizes is None:
        return
    training = problem.training
    sizes = data.sizes if training.images is None else data.sizes.first(training.images)
    splits = {"training split": sizes.train}
    if training.population_statistics:
        splits["train_eval, which gives population statistics,"] = sizes.train_eval
    for split, images in splits.items():
        if training.batch_size > images:
            raise UserError(
                f"{problem.name}: a batch of {training.batch_size:,} images is larger than the data: the {split} of "
                f"'{data.name}' has {images:,}",
                hint="Use a smaller batch: --set training.batch_size=N.",
            )
    steps = sizes.train // training.batch_size * training.epochs
    if steps > MOST_STEPS:
        raise UserError(
            f"{problem.name}: {training.epochs:,} epochs are {steps:,} steps, and a run has at most {MOST_STEPS:,}",
            hint="Use fewer epochs (--epochs N) or a larger batch (--set training.batch_size=N).",
        )
    check_snapshots(problem.snapshots.schedule, steps)


def _input_shape(problem: Problem, data: DataFacts) -> Shape:
    size = ARCHITECTURES.get(problem.architecture).image_size
    return (data.channels, size, size)


def _check_variant(variant: Variant, slots: Slots) -> None:
    variant.check()
    for field, expression in variant.placements().items():
        try:
            parse_placement(expression, slots)
        except UserError as error:
            raise UserError(f"variant '{variant.name}': {field}: {error.problem}", hint=error.hint) from error


def _at_rate(training: Training, factor: float) -> Training:
    """The settings at a multiple of the learning rate; they must fit each other, by whichever door they came."""
    scaled = _scaled_rate(training.learning_rate, factor)
    return check_training(training.model_copy(update={"learning_rate": scaled}))


def _scaled_rate(rate: float, factor: float) -> float:
    scaled = rate * factor
    if not (factor > 0 and 0 < scaled <= LARGEST_RATE):
        raise UserError(
            f"learning-rate factor {factor} makes no usable learning rate of {rate}",
            hint=f"A factor is a positive number; 1 leaves the problem's learning rate as it is. The largest rate is "
            f"{LARGEST_RATE:,.0f}.",
        )
    return scaled
