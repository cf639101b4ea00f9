"""Test problems as data: the strict model of a problem file, and the catalogue of the files that ship."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bnbench.architecture import ARCHITECTURES, slot_names
from bnbench.disk import read_regular
from bnbench.errors import UserError, cut, few, nearest, unknown
from bnbench.identity import hashed
from bnbench.measurement import Split
from bnbench.paths import given_path
from bnbench.placement import parse_placement
from bnbench.probe import PROBES, REVISION, OptionValue
from bnbench.schedule import check_schedule
from bnbench.shipped import shipped_folder

Size = Literal["full", "tiny"]
Metric = Literal["loss", "accuracy"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What a column of the tables can hold: 0 to 2⁶³ - 1."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MISSING = object()
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


class Training(_Strict):
    """How a problem is trained: plain SGD on the cross-entropy, constant learning rate."""

    batch_size: Annotated[int, Field(ge=2)]
    """Images an update; an incomplete batch at the end of an epoch is dropped."""
    epochs: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    l2: Annotated[float, Field(ge=0)] = 0.0
    """λ of ½·λ·‖W‖² on convolution and dense weights only, applied as SGD weight decay."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    population_statistics: bool = False
    """Evaluate a second time, with population statistics recomputed over `train_eval`."""


class Augmentation(_Strict):
    """What is done to a training image, each time with parameters of its own."""

    crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    """Pixels of zeros added on each side before a random crop to the original size."""
    horizontal_flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability of a mirror image."""
    brightness: Annotated[float, Field(ge=0)] = 0.0
    """The factor is uniform in [max(0, 1 - b), 1 + b], as in torchvision's ColorJitter; 0 turns it off."""
    contrast: Annotated[float, Field(ge=0)] = 0.0
    saturation: Annotated[float, Field(ge=0)] = 0.0


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
    """A problem file that has been read and found valid, at both sizes."""

    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        """Check the whole file.

        Raises:
            UserError: a key is unknown, a value has the wrong type or is impossible.
        """
        self.path = path
        self.name = _checked_name(path)
        _refuse_given_names(path, raw)
        self._base = {key: value for key, value in raw.items() if key != "tiny"}
        self._tiny = raw.get("tiny")
        self.problem("full")
        if self._tiny is not None:
            self.problem("tiny")

    @property
    def has_tiny(self) -> bool:
        """Whether the problem has a tiny size."""
        return self._tiny is not None

    def problem(self, size: Size = "full", overrides: Mapping[str, Any] | None = None) -> Problem:
        """The problem at a size, with `--set` overrides applied.

        Args:
            size: "tiny" lays the file's [tiny] table over the rest.
            overrides: dotted keys to values, e.g. {"training.l2": 0.0}.

        Raises:
            UserError: no [tiny] table, an unknown key, a wrong type or an impossible value.
        """
        where = str(self.path)
        raw = self._base
        if size == "tiny":
            if self._tiny is None:
                raise UserError(
                    f"{where}: there is no [tiny] table, so the problem has no tiny size",
                    hint="Add one with what differs: data set, width, training.batch_size, training.epochs.",
                )
            # Targets of the full size say nothing about the tiny one.
            raw = _merge({**raw, "targets": []}, self._tiny)
            where = f"{where} with [tiny]"
        if overrides:
            raw = _merge(raw, _nest(overrides))
            where = f"{where} with --set"
        return _validated(where, {**raw, "name": self.name, "size": size})


SETTABLE = ("training", "augmentation", "snapshots", "probes", "width")
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
    if key not in known and not _is_of_other_probe(key):
        guess = nearest(key, known) or next((name for name in known if name.endswith(f".{key}")), None)
        meant = f" Did you mean '{guess}'?" if guess else ""
        raise UserError(f"--set {text}: unknown key '{key}'.{meant}", hint=f"Known keys: {', '.join(known)}.")
    try:
        return key, tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
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
        return tomllib.loads(read_regular(path, _TOML_LIMIT).decode())
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
            hint="The file's name is the problem's: lower-case letters, digits and underscores, a letter first.",
        )
    return path.stem


def _refuse_given_names(path: Path, raw: Mapping[str, Any]) -> None:
    """A file that names its own name or size would contradict its path or the command line."""
    tiny = raw.get("tiny", {})
    if not isinstance(tiny, dict):
        raise UserError(f"{path}: tiny = {cut(repr(tiny))}: should be a table, [tiny].")
    for prefix, table in (("", raw), ("tiny.", tiny)):
        for key in ("name", "size"):
            if key in table:
                raise UserError(
                    f"{path}: unknown key '{prefix}{key}'.",
                    hint="A problem's name is its file's; its size is full, or tiny with the [tiny] table.",
                )


def _validated(where: str, raw: Mapping[str, Any]) -> Problem:
    try:
        problem = Problem.model_validate(raw)
    except ValidationError as error:
        raise UserError(few(error.errors(), lambda detail: _explain(where, detail))) from error
    _check_references(where, problem)
    return problem


def _check_references(where: str, problem: Problem) -> None:
    """What the types cannot say: names that must exist, placements that must fit, seeds that must differ."""
    try:
        architecture = ARCHITECTURES.get(problem.architecture)
        names = slot_names(architecture.layer_table(2, problem.width))
        masks = [parse_placement(expression, names) for expression in problem.placements]
    except UserError as error:
        raise UserError(f"{where}: {error.problem}", hint=error.hint) from error
    if len(set(masks)) != len(masks):
        raise UserError(f"{where}: placements: two of {', '.join(problem.placements)} are the same placement")
    if len(set(problem.seeds)) != len(problem.seeds):
        raise UserError(f"{where}: seeds: a seed is listed twice")


def _explain(where: str, detail: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict of its own
    location = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    key = cut(".".join(location))
    if detail["type"] == "extra_forbidden":
        known = [name for name in _fields_at(detail["loc"][:-1]) if name not in {"name", "size"}]
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
        "snapshots": Snapshots,
        "probes": Probes,
        "targets": Target,
        "RunsSource": RunsSource,
        "DeepOBSSource": DeepOBSSource,
    }
    if not location:
        return [*Problem.model_fields, "tiny"]
    return next(list(tables[part].model_fields) for part in reversed(location) if part in tables)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key, _MISSING)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, leaf = key.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
        table[leaf] = value
    return nested
