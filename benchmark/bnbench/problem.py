"""Test problems as data: the strict model of a problem file, and the catalogue of the files that ship."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, assert_never

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bnbench.architecture import ARCHITECTURES, slot_places
from bnbench.disk import read_regular
from bnbench.errors import UserError, cut, few, nearest, unknown
from bnbench.identity import hashed
from bnbench.measurement import Split
from bnbench.optimiser import OPTIMISER_SETTINGS, OPTIMISERS, Optimiser
from bnbench.options import NO_OPTIONS, Options, OptionValue, complete
from bnbench.paths import expand_home, given_path
from bnbench.placement import parse_placement
from bnbench.probe import PROBES, REVISION
from bnbench.rate_schedule import RATE_SCHEDULES, SCHEDULE_SETTINGS, RateSchedule
from bnbench.registry import Registry
from bnbench.schedule import check_schedule
from bnbench.shipped import shipped_folder

Size = Literal["full", "short", "tiny"]
OVERLAYS: tuple[Size, ...] = ("short", "tiny")
"""The sizes that are tables of a problem file, laid over the rest of it."""
Metric = Literal["loss", "accuracy"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What a column of the tables can hold: 0 to 2⁶³ - 1."""

LARGEST_RATE = 1e12
"""Of learning rates: beyond it nothing is finite after a step."""

_GIVEN = "A problem's name is its file's; its size is full, or that of a table such as [tiny]."
_NOT_GIVEN = {
    "name": _GIVEN,
    "size": _GIVEN,
    "dataset_file": 'Arrays of your own are named by the key dataset: dataset = "mine.npz".',
}
"""Fields of a problem that its file does not give, and where they come from."""

_DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MISSING = object()
_WITHOUT: Mapping[Size, str] = {
    "short": "Small data, such as the digits, need none: use the full size. For others, add the table with what "
    "differs from a full run so that one takes minutes: width, training.epochs.",
    "tiny": "Add one with what differs: data set, width, training.batch_size, training.epochs.",
}
"""How to do without the table of a size."""
_TOML_LIMIT = 1 << 20
"""Bytes of a TOML file that somebody wrote: thirty times as many as the longest that ships."""


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _schedule(value: str) -> str:
    try:
        return check_schedule(value)
    except UserError as error:
        raise ValueError(str(error).replace("\n", ". ")) from error


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


_RowName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
_Decay = Annotated[float, Field(ge=0, lt=1)]
_Options = Annotated[Mapping[str, OptionValue], AfterValidator(Options), PlainSerializer(dict)]


class Training(_Strict):
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
    betas: Annotated[tuple[_Decay, _Decay], BeforeValidator(_to_tuple)] = (0.9, 0.999)
    """How much the running means of the gradient and of its square keep at each update."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """What is added to the root of the mean square before dividing by it."""
    optimiser_options: _Options = NO_OPTIONS
    """Options that an optimiser of another package has beside these."""
    schedule: _RowName = "constant"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_to_tuple)] = ()
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


class Augmentation(_Strict):
    """What is done to a training image, each time with parameters of its own."""

    crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    """Pixels of zeros added on each side before a random crop to the original size."""
    horizontal_flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability of a mirror image."""
    brightness: Annotated[float, Field(ge=0, le=100)] = 0.0
    """The factor is uniform in [max(0, 1 - b), 1 + b], as in torchvision's ColorJitter; 0 turns it off."""
    contrast: Annotated[float, Field(ge=0, le=100)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=100)] = 0.0


class Evaluation(_Strict):
    """What is evaluated, beside `train_eval`, which follows from what is trained on."""

    images: Annotated[int, Field(ge=1)] | None = None
    """Validate and test on so many images each, the first of a fixed order; None: on all of them."""


class Snapshots(_Strict):
    """When γ and β are recorded."""

    schedule: Annotated[str, AfterValidator(_schedule)] = "every:5"


class Probes(_Strict):
    """What else is measured (`bnbench.probe`). No probe changes what a run learns; each has tables of its own.

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


class RunsSource(_Strict):
    """A target that was measured here."""

    run_ids: Annotated[tuple[str, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")]
    statistic: str
    """How the level follows from the runs, e.g. "median over seeds of the final value, vanilla"."""


class DeepOBSSource(_Strict):
    """A target that is a row of DeepOBS's published baselines."""

    deepobs: str
    """The release or commit of the table."""
    problem: str
    optimizer: str
    learning_rate: float
    epoch: int
    seeds: Annotated[tuple[int, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
    statistic: str


def _kind_of_source(value: object) -> str:
    if isinstance(value, BaseModel):
        return type(value).__name__
    return "DeepOBSSource" if isinstance(value, dict) and "deepobs" in value else "RunsSource"


Source = Annotated[
    Annotated[RunsSource, Tag("RunsSource")] | Annotated[DeepOBSSource, Tag("DeepOBSSource")],
    Discriminator(_kind_of_source),
]
"""Where a level comes from. The key `deepobs` tells the kinds apart, so a mistake gets the message of one of them."""


class Target(_Strict):
    """A level that training should reach, and where the number comes from. Without a source there is no target."""

    metric: Metric
    split: Split
    level: float
    source: Source

    @property
    def sign(self) -> Literal["≥", "≤"]:
        """On which side of the level a value is at the target: above for accuracy, below for loss."""
        match self.metric:
            case "accuracy":
                return "≥"
            case "loss":
                return "≤"
            case other:
                assert_never(other)

    def reached(self, value: float) -> bool:
        """Whether a value is at the target: at least the level for accuracy, at most for loss; never for NaN."""
        return value >= self.level if self.sign == "≥" else value <= self.level


class Problem(_Strict):
    """A test problem at one size: dataset × architecture × placements, with its settings, seeds and targets."""

    name: str
    size: Size
    summary: str
    source: str
    """What the problem reproduces: paper and section, or "this suite"."""
    dataset: str
    """A data set of the table; or what a user's own arrays are called, which a problem file names by their file."""
    dataset_file: Annotated[Path | None, Field(exclude=True)] = None
    """Where on this machine such arrays lie, absolute: no part of what a problem is, so never shown."""
    architecture: str
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Multiplies every hidden channel and feature count."""
    placements: Annotated[tuple[str, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
    """The placements it is registered with, the default first."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
    """The seeds of its runs, in the order they are taken."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    training: Training
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()
    snapshots: Snapshots = Snapshots()
    probes: Probes = Probes()
    targets: Annotated[tuple[Target, ...], BeforeValidator(_to_tuple)] = ()

    def first_seeds(self, count: int) -> tuple[int, ...]:
        """The first `count` seeds of the problem's list.

        Raises:
            UserError: the list is shorter.
        """
        if not 1 <= count <= len(self.seeds):
            raise UserError(
                f"{self.name} has {len(self.seeds)} seeds, {count} cannot be used",
                hint=f"Ask for 1 to {len(self.seeds)} seeds, or add seeds to the problem file.",
            )
        return self.seeds[:count]


class ProblemFile:
    """A problem file that has been read and found valid, at every size it has."""

    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        """Check the whole file.

        Raises:
            UserError: a key is unknown, a value has the wrong type or is impossible.
        """
        self.path = path
        self.name = _checked_name(path)
        _refuse_given_names(path, raw)
        self._base = {key: value for key, value in raw.items() if key not in OVERLAYS}
        self._overlays: dict[Size, Mapping[str, Any]] = {size: raw[size] for size in OVERLAYS if size in raw}
        self._folder = path.parent.absolute()
        for size in self.sizes:
            self.problem(size)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that the problem has, the full one first."""
        return ("full", *self._overlays)

    def problem(self, size: Size = "full", overrides: Mapping[str, Any] | None = None) -> Problem:
        """The problem at a size, with `--set` overrides applied.

        Args:
            size: "short" and "tiny" lay the file's table of that name over the rest.
            overrides: dotted keys to values, e.g. {"training.l2": 0.0}.

        Raises:
            UserError: no table of that size, an unknown key, a wrong type or an impossible value.
        """
        where = str(self.path)
        raw = self._base
        if size != "full":
            if size not in self._overlays:
                raise UserError(
                    f"{where}: there is no [{size}] table, so the problem has no {size} size", hint=_WITHOUT[size]
                )
            # Targets of the full size say nothing about another one.
            overlay = self._overlays[size]
            raw = _merge({**raw, "targets": []}, overlay)
            if "dataset" in overlay and "dataset_name" not in overlay:
                raw.pop("dataset_name", None)  # which is that of the full size's file
            where = f"{where} with [{size}]"
        if overrides:
            raw = _merge(raw, _nest(overrides))
            where = f"{where} with --set"
        raw = _with_own_data(where, raw, self._folder)
        return _validated(where, {**raw, "name": self.name, "size": size})


_TABLES_OF_OPTIONS = ("training.optimiser_options", "training.schedule_options")
"""Tables whose keys are those of whatever row was chosen: `--set training.optimiser_options.rho=0.9`."""
SETTABLE = ("training", "augmentation", "evaluation", "snapshots", "probes", "width")
"""The parts of a problem that `--set` may change: those that decide what a run records."""


def parse_override(text: str) -> tuple[str, Any]:
    """`training.l2=0` as ("training.l2", 0). The value is read as TOML; a bare word is a string.

    Raises:
        UserError: there is no "=", or the key is not one that what a run records depends on.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not value.strip():
        raise UserError(f"--set {text}: expected KEY=VALUE", hint="For example --set training.l2=0.")
    known = list(settable_keys())
    if key not in known and key.rpartition(".")[0] not in _TABLES_OF_OPTIONS and not _is_of_other_probe(key):
        guess = nearest(key, known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        raise UserError(f"--set {text}: unknown key '{key}'.{meant}", hint=f"Known keys: {', '.join(known)}.")
    try:
        return key, tomllib.loads(f"value = {value.strip()}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits, or a deep nest
        return key, value.strip()


def settable_keys() -> Iterator[str]:
    """Every key that `--set` takes, dotted."""
    for part in SETTABLE:
        model = Problem.model_fields[part].annotation
        if model is Probes:
            for name in PROBES:
                yield f"{part}.{name}"
                # A row of another package is imported only when its options are asked for.
                if not PROBES.is_third_party(name):
                    yield from (f"{part}.{name}.{option}" for option in PROBES.get(name).defaults)
        elif isinstance(model, type) and issubclass(model, BaseModel):
            yield from (f"{part}.{field}" for field in model.model_fields)
        else:
            yield part


def _is_of_other_probe(key: str) -> bool:
    """Whether a key is an option of a probe that another package brings."""
    part, _, rest = key.partition(".")
    name, _, option = rest.partition(".")
    return part == "probes" and name in PROBES and PROBES.is_third_party(name) and option in PROBES.get(name).defaults


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: it cannot be read, is no UTF-8 text, or is no TOML.
    """
    try:
        # Editors of Windows put a byte-order mark in front.
        return tomllib.loads(read_regular(path, _TOML_LIMIT).decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says of a number of thousands of digits
        raise UserError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is not valid TOML: it is nested too deeply") from error


def read_problem(path: Path) -> ProblemFile:
    """Read and check a problem file.

    Raises:
        UserError: it cannot be read, is no TOML, or does not describe a problem.
    """
    return ProblemFile(path, read_toml(path))


def problem_files() -> dict[str, Path]:
    """The problems that ship with the package: name to file, sorted by name."""
    return {path.stem: path for path in sorted(shipped_folder("problems").glob("*.toml"))}


def find_problem(reference: str) -> ProblemFile:
    """A problem by name, or by the path of its file (anything that ends in .toml).

    Raises:
        UserError: no such problem, or its file is not valid.
    """
    if reference.endswith(".toml"):
        return read_problem(given_path(reference, "the problem file"))
    files = problem_files()
    if reference not in files:
        raise unknown("problem", reference, files, hint="A problem of your own is named by the path of its .toml file.")
    return read_problem(files[reference])


def find_problems(patterns: tuple[str, ...]) -> list[ProblemFile]:
    """The problems that any pattern names, in catalogue order; no pattern means all that ship.

    A pattern is a name, a path, or a shell pattern over names such as `digits_*`.

    Raises:
        UserError: a pattern names nothing.
    """
    if not patterns:
        return [read_problem(path) for path in problem_files().values()]
    found: dict[Path, ProblemFile] = {}
    for pattern in patterns:
        names = fnmatch.filter(problem_files(), pattern) if set(pattern) & set("*?[") else [pattern]
        if not names:
            raise unknown("problem", pattern, problem_files())
        for name in names:
            file = find_problem(name)
            found[file.path.resolve()] = file
    return list(found.values())


def _checked_name(path: Path) -> str:
    if not _NAME.fullmatch(path.stem):
        raise UserError(
            f"{path}: '{path.stem}' cannot be a problem's name",
            hint="The file's name is the problem's: lower-case letters, digits and underscores, a letter first, "
            "64 characters at most.",
        )
    return path.stem


def _refuse_given_names(path: Path, raw: Mapping[str, Any]) -> None:
    """A file that names its own name or size would contradict its path or the command line."""
    tables = [("", raw)]
    for size in OVERLAYS:
        table = raw.get(size, {})
        if not isinstance(table, dict):
            raise UserError(f"{path}: {size} = {cut(repr(table))}: should be a table, [{size}].")
        tables.append((f"{size}.", table))
    for prefix, table in tables:
        for key, hint in _NOT_GIVEN.items():
            if key in table:
                raise UserError(f"{path}: unknown key '{prefix}{key}'.", hint=hint)


def _with_own_data(where: str, raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a file with `dataset = "mine.npz"` taken apart: what the arrays are called, and where they lie."""
    keys = dict(raw)
    given, name = keys.get("dataset"), keys.pop("dataset_name", _MISSING)
    if not isinstance(given, str) or not given.endswith(".npz"):
        if name is not _MISSING:
            raise UserError(
                f"{where}: dataset_name = {cut(repr(name))}: is for arrays of your own",
                hint='They are named by their file, relative to the problem file: dataset = "mine.npz".',
            )
        return keys
    if "\0" in given:
        raise UserError(f"{where}: dataset = {cut(repr(given))}: is no path.")
    file = (folder / expand_home(given)).absolute()
    called = file.stem if name is _MISSING else name
    if not isinstance(called, str) or not _DATASET_NAME.fullmatch(called):
        key = "dataset" if name is _MISSING else "dataset_name"
        raise UserError(
            f"{where}: {key}: {cut(repr(called))} cannot be a data set's name",
            hint="Lower-case letters, digits and underscores, 64 at most. The file's name is the data set's, unless "
            'the key dataset_name gives another: dataset_name = "mine".',
        )
    return {**keys, "dataset": called, "dataset_file": file}


def _validated(where: str, raw: Mapping[str, Any]) -> Problem:
    try:
        problem = Problem.model_validate(raw)
    except ValidationError as error:
        raise UserError(few(error.errors(), lambda detail: _explain(where, detail))) from error
    return _check_references(where, problem)


def check_training(training: Training) -> Training:
    """What the types cannot say: the optimiser and the rate schedule must exist and have the options that are set.

    Returns:
        The settings with every option of another package's row written out, so that a run is named by what it had.

    Raises:
        UserError: one does not, or settings contradict each other.
    """
    optimiser = _row("optimiser", OPTIMISERS, training.optimiser)
    _check_owned(training, optimiser, OPTIMISERS, OPTIMISER_SETTINGS)
    options = complete(f"optimiser '{optimiser.name}'", optimiser.options, training.optimiser_options)
    schedule = _row("schedule", RATE_SCHEDULES, training.schedule)
    _check_owned(training, schedule, RATE_SCHEDULES, SCHEDULE_SETTINGS)
    more = complete(f"rate schedule '{schedule.name}'", schedule.options, training.schedule_options)
    if training.nesterov and training.momentum == 0:
        raise UserError("training.nesterov = true: needs a momentum", hint="For example training.momentum = 0.9.")
    milestones = training.milestones
    if "milestones" in schedule.settings and not milestones:
        raise UserError(
            f"rate schedule '{schedule.name}' needs training.milestones: the epochs at which the rate changes",
            hint="For example training.milestones = [80, 120].",
        )
    if list(milestones) != sorted(set(milestones)):
        raise UserError(f"training.milestones = {list(milestones)}: should ascend, each epoch once")
    if "floor" in schedule.settings and training.floor > training.learning_rate:
        raise UserError(
            f"training.floor = {training.floor:g}: lies above the learning rate, {training.learning_rate:g}",
            hint="The schedule comes down from the learning rate to the floor.",
        )
    if training.warmup_epochs > training.epochs:
        raise UserError(
            f"training.warmup_epochs = {training.warmup_epochs:g}: longer than the run, {training.epochs} epochs",
            hint="Train longer, or set a shorter training.warmup_epochs; 0 leaves the warm-up out.",
        )
    return training.model_copy(update={"optimiser_options": options, "schedule_options": more})


_Component = TypeVar("_Component", Optimiser, RateSchedule)


def _row(key: str, registry: Registry[_Component], name: str) -> _Component:
    try:
        return registry.get(name)
    except UserError as error:
        raise UserError(f"training.{key} = {name!r}: {error.problem}", hint=error.hint) from error


def _check_owned(training: Training, row: _Component, registry: Registry[_Component], settings: Iterable[str]) -> None:
    """Refuse a setting that the chosen row does not have and that is not left at its default."""
    for name in settings:
        value, default = getattr(training, name), Training.model_fields[name].default
        if name in row.settings or value == default:
            continue
        own = [registry.get(other) for other in registry if not registry.is_third_party(other)]
        owners = [repr(other.name) for other in own if name in other.settings]
        raise UserError(
            f"training.{name} = {_toml(value)}: {row.kind} '{row.name}' has no {name}; {' and '.join(owners)} has it",
            hint=f"Choose another {row.kind}, or leave training.{name} at {_toml(default)}.",
        )


def _toml(value: object) -> str:
    return (
        str(list(value) if isinstance(value, tuple) else value).lower() if not isinstance(value, str) else repr(value)
    )


def _check_references(where: str, problem: Problem) -> Problem:
    """What the types cannot say: names that must exist, placements that must fit, seeds that must differ.

    Returns the problem with its training's options written out.
    """
    try:
        architecture = ARCHITECTURES.get(problem.architecture)
        places = slot_places(architecture.layer_table(2, problem.width))
        masks = [parse_placement(expression, places) for expression in problem.placements]
        training = check_training(problem.training)
    except UserError as error:
        raise UserError(f"{where}: {error.problem}", hint=error.hint) from error
    if len(set(masks)) != len(masks):
        raise UserError(f"{where}: placements: two of {', '.join(problem.placements)} are the same placement")
    if len(set(problem.seeds)) != len(problem.seeds):
        raise UserError(f"{where}: seeds: a seed is listed twice")
    images, batch = training.images, training.batch_size
    if images is not None and images < batch:
        raise UserError(
            f"{where}: training.images = {images}: fewer than one batch of {batch}",
            hint="Train on more images, or with a smaller training.batch_size.",
        )
    return problem.model_copy(update={"training": training})


def _explain(where: str, detail: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict of its own
    location = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    key = cut(".".join(location))
    if detail["type"] == "extra_forbidden":
        known = [name for name in _fields_at(detail["loc"][:-1]) if name not in _NOT_GIVEN]
        guess = nearest(location[-1], known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        return f"{where}: unknown key '{key}'.{meant} Known keys here: {', '.join(known)}."
    if detail["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    if detail["type"] == "probe":
        return f"{where}: {key}: {detail['msg']}."
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {key} = {cut(repr(detail['input']))}: {message[:1].lower()}{message[1:]}."


def _is_union_branch(part: object) -> bool:
    return isinstance(part, str) and part in {"RunsSource", "DeepOBSSource"}


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The field names of the model that an error's location leads to."""
    tables: dict[int | str, type[BaseModel]] = {
        "training": Training,
        "augmentation": Augmentation,
        "evaluation": Evaluation,
        "snapshots": Snapshots,
        "probes": Probes,
        "targets": Target,
        "RunsSource": RunsSource,
        "DeepOBSSource": DeepOBSSource,
    }
    if not location:
        return [*Problem.model_fields, "dataset_name", *OVERLAYS]
    return next(list(tables[part].model_fields) for part in reversed(location) if part in tables)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key, _MISSING)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables. Of a probe that is switched on (true) and has options, only the options need be said.

    Raises:
        UserError: one key is a value, and another one lies below it.
    """
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, leaf = key.split(".")
        table = nested
        for parent in parents:
            if table.get(parent) is True:
                table[parent] = {}
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {key}: '{parent}' is set to a value too, and has no keys below it")
        if not (value is True and isinstance(table.get(leaf), dict)):
            table[leaf] = value
    return nested
