"""The Python door: everything that `import bnbench` offers, and what a notebook needs. Loaded when it is asked for.

Whatever can be wrong is a `UserError` with the words of the command line; nothing here prints, but for the progress
that is asked for, and nothing ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Unpack

import pandas as pd

from bnbench.analysis.frames import IdentityFilters
from bnbench.analysis.frames import Results as RecordedResults
from bnbench.analysis.ranking import Ranking as RankedVariants
from bnbench.architecture import ARCHITECTURES, Architecture
from bnbench.data.dataset import DATASETS, Dataset
from bnbench.errors import UserError, unknown
from bnbench.execution.executors import local_executor
from bnbench.execution.listening import Listener, Silent
from bnbench.execution.options import CHECKPOINT_SECONDS, PROBE_MEMORY, PluginChange, RunOptions
from bnbench.execution.selection import Grid, Settings, as_overrides, check_seeds, identify, require_data, select
from bnbench.execution.sweep import Sweep
from bnbench.optimiser import OPTIMISERS, Optimiser
from bnbench.paths import given_path
from bnbench.plan import Precision, RunSpec, expand_grid
from bnbench.plugins import load_plugin
from bnbench.problem import Problem, Size, find_problem, problem_files
from bnbench.rate_schedule import RATE_SCHEDULES, RateSchedule
from bnbench.registry import check_name
from bnbench.storage.store import ResultStore, StoreContents
from bnbench.variant import ALL, VARIANTS, Variant

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

    from bnbench.analysis.activity import ActivityFilters
    from bnbench.analysis.claims.decide import ClaimsReport

Split = Literal["train", "train_eval", "valid", "test"]
OneOrMore = str | Sequence[str]
Plugins = Sequence[str | PathLike[str]]


# --- what there is ------------------------------------------------------------------------------------------------


def list_problems(pattern: str = "*") -> list[str]:
    """The names of the problems that ship, sorted.

    Args:
        pattern: a shell pattern over names, such as "digits_*".
    """
    return [name for name in problem_files() if fnmatchcase(name, pattern)]


def load_problem(
    name: str | PathLike[str],
    size: Size = "full",
    set: Mapping[str, object] | None = None,  # noqa: A002 -- as --set
    plugins: Plugins = (),
) -> Problem:
    """A problem at a size.

    Args:
        name: of a problem that ships, or the path of a problem file of your own (it ends in .toml).
        size: "full"; "short": on real data, minutes a run; "tiny": on embedded data, seconds.
        set: settings to change, dotted keys to values, such as {"training.epochs": 2}.
        plugins: files of your own, whose rows the tables have from then on (`use_plugins`).

    Raises:
        UserError: there is no such problem, size or setting, or a value cannot be.
    """
    use_plugins(plugins)
    return find_problem(str(name)).problem(size, Settings(overrides=as_overrides(set or {})).changes)


def list_variants() -> list[str]:
    """The names of all variants: the five of the founding study first, then others', then this session's."""
    return VARIANTS.names()


def variant(name: str) -> Variant:
    """A row of the table of variants. `variant("bn").replace(name="mine", …)` makes another of it.

    Raises:
        UserError: there is no such variant.
    """
    return VARIANTS.get(name)


# --- rows of one's own --------------------------------------------------------------------------------------------


def use_plugins(plugins: Plugins) -> None:
    """Let names mean the rows of files of your own, for this session, as `--plugin` does for a command.

    Every variant, normaliser, architecture, data set or other row at the level of a file's module is in its table from
    then on, also in the processes of runs (docs/plugins.md). A file that has changed is loaded anew.

    Args:
        plugins: paths, such as ["mine.py"].

    Raises:
        UserError: a file cannot be read or loaded, or has no row.
    """
    for path in plugins:
        load_plugin(path)


def register_variant(row: Variant) -> Variant:
    """Let names mean a row of your own for this session; it holds no code, so it trains anywhere.

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return VARIANTS.register_for_session(row)


def register_architecture(row: Architecture) -> Architecture:
    """Let problems name a network of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return ARCHITECTURES.register_for_session(row)


def register_dataset(row: Dataset) -> Dataset:
    """Let problems name a data set of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return DATASETS.register_for_session(row)


def register_optimiser(row: Optimiser) -> Optimiser:
    """Let problems name an optimiser of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return OPTIMISERS.register_for_session(row)


def register_rate_schedule(row: RateSchedule) -> RateSchedule:
    """Let problems name a rate schedule of your own for this session. Its runs train in this process (`workers=0`).

    Raises:
        UserError: the name is not a plain one, or is a shipped or an installed row's.
    """
    return RATE_SCHEDULES.register_for_session(row)


# --- networks and batches -----------------------------------------------------------------------------------------


def build_network(
    problem: str | Problem, variant: str | Variant, placement: str | None = None, seed: int | None = None
) -> torch.nn.Module:
    """The network that a run begins with: an ordinary module, its weights drawn as a run draws them.

    Args:
        problem: a name (at full size), or what `load_problem` gave.
        variant: a name, or a row.
        placement: where the normaliser goes, such as "hidden" or "first:2"; None is the problem's own.
        seed: of the weights; None is the problem's first.

    Returns:
        A module that maps float32 images (batch, channels, height, width) to logits (batch, classes), in training mode
        and on the CPU. Without a second argument dropout is left out.

    Raises:
        UserError: something of it does not exist or does not fit.
    """
    from bnbench.execution.in_process import as_in_a_process_of_its_own  # noqa: PLC0415 -- torch
    from bnbench.training.loop import initial_network  # noqa: PLC0415

    spec = _spec(problem, variant, placement, seed)
    with as_in_a_process_of_its_own():
        return initial_network(spec).train()


def batches(
    problem: str | Problem, split: Split = "train", seed: int | None = None, epoch: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that a run gets, in its order.

    Args:
        problem: a name (at full size), or what `load_problem` gave.
        split: "train", shuffled and augmented anew each epoch; or "train_eval", "valid", "test": whole, in their own
            order, not augmented.
        seed: of the run; None is the problem's first. Only "train" depends on it.
        epoch: from 1. Only "train" depends on it.

    Yields:
        Images, float32 (batch, channels, height, width), standardised, on the CPU; labels, int64 (batch,).

    Raises:
        UserError: there is no such problem or split, or the data are not on this machine.
    """
    splits = ("train", "train_eval", "valid", "test")
    if split not in splits:
        raise unknown("split", split, splits)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise UserError(f"epoch = {epoch!r}: a whole number from 1 on is needed")
    spec = _spec(problem, "vanilla", None, seed)
    require_data([spec])
    return _batches(spec, split, epoch)


def _batches(spec: RunSpec, split: Split, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    import torch  # noqa: PLC0415

    from bnbench.execution.in_process import as_in_a_process_of_its_own  # noqa: PLC0415
    from bnbench.execution.run import load_pipeline  # noqa: PLC0415
    from bnbench.training.evaluation import EVALUATION_BATCH  # noqa: PLC0415
    from bnbench.training.loop import draw_epoch  # noqa: PLC0415

    device = torch.device("cpu")
    with as_in_a_process_of_its_own():
        pipeline = load_pipeline(spec, device)
        order, parameters = draw_epoch(spec, pipeline.train_size, epoch, device)
    if split != "train":
        yield from pipeline.evaluation_batches(split, EVALUATION_BATCH)
        return
    size = spec.training.batch_size
    for start in range(0, pipeline.train_size // size * size, size):
        yield pipeline.training_batch(order[start : start + size], parameters)


def _spec(problem: str | Problem, variant: str | Variant, placement: str | None, seed: int | None) -> RunSpec:
    found = load_problem(problem) if isinstance(problem, str) else problem
    row = VARIANTS.get(variant) if isinstance(variant, str) else _fair(variant)
    placements = () if placement is None else (placement,)
    seeds = found.seeds[:1] if seed is None else (seed,)
    check_seeds(seeds)
    (spec,) = expand_grid(found, identify(found), [row], placements=placements, seeds=seeds)
    return spec


def _fair(row: Variant) -> Variant:
    """A row whose name can be recorded, and means no other row."""
    check_name("variant", row.name)
    if row.name in VARIANTS and VARIANTS.get(row.name) != row:
        raise UserError(
            f"the variant '{row.name}' is not as the table has it: numbers of one name must come from one row",
            hint="Give it another name: variant(…).replace(name=…, …).",
        )
    return row


# --- running ------------------------------------------------------------------------------------------------------


def run(
    problems: str | Problem | Sequence[str | Problem],
    variants: str | Variant | Sequence[str | Variant] = ALL,
    *,
    placements: OneOrMore = (),
    lr_factors: float | Sequence[float] = (1.0,),
    seeds: int | Sequence[int] = 1,
    size: Size | None = None,
    set: Mapping[str, object] | None = None,  # noqa: A002 -- as --set
    precision: Precision = "fp32",
    results: str | PathLike[str] = "results/runs",
    workers: int | None = None,
    device: str = "auto",
    threads: int = 1,
    gpus: Sequence[str | int] = (),
    runs_per_gpu: int = 1,
    run_timeout: float | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    probe_memory: float = PROBE_MEMORY,
    retry_failed: bool = False,
    fresh: bool = False,
    plugins: Plugins = (),
    plugin_changed: PluginChange = "stop",
    progress: bool | Listener = True,
) -> Results:
    """Train problems under variants; what is finished already is not trained again.

    Args:
        problems: names, patterns such as "digits_*", paths of problem files, or what `load_problem` gave.
        variants: names, rows, or "all": the five of the founding study.
        placements: where normalisers go; none means each problem's own.
        lr_factors: multiples of the problem's learning rate.
        seeds: the first so many of each problem's list; or a list of seeds.
        size: "full" (if None), "short" or "tiny"; a loaded problem has its size.
        set: settings to change, dotted keys to values; a loaded problem has its settings.
        precision: "fp32", "tf32" (GPU only) or "bf16".
        results: the results folder.
        workers: runs side by side, each in a process of its own; None: as many as there is room for; 0: one after
            another in this process.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads of a run; it decides the last bits.
        gpus: spread the runs over these.
        runs_per_gpu: how many share one.
        run_timeout: seconds after which a run is ended and recorded as failed.
        checkpoint_seconds: what a kill costs a run at most.
        probe_memory: gigabytes that a probe may need beside the training of its run.
        retry_failed: try runs that failed before once more.
        fresh: begin unfinished runs with their first step; results stay.
        plugins: files of your own, whose rows may be named (`use_plugins`).
        plugin_changed: where a run was made with another state of a plug-in: "stop", or "keep" it and go on.
        progress: True: say on standard error how far it is; False: nothing; or a listener of your own.

    Returns:
        The results of these runs. One that failed is among `Results.records`, with its error.

    Raises:
        UserError: something does not exist or does not fit; nothing was written.
        KeyboardInterrupt: it was asked to stop; the runs left checkpoints, and the same call does the rest.
    """
    use_plugins(plugins)
    specs = _select(problems, variants, placements, lr_factors, seeds, size, set, precision)
    options = RunOptions(
        device=device,
        threads=threads,
        workers=workers,
        gpus=tuple(map(str, gpus)),
        runs_per_gpu=runs_per_gpu,
        run_timeout=run_timeout,
        checkpoint_seconds=checkpoint_seconds,
        probe_memory=probe_memory,
        retry_failed=retry_failed,
        fresh=fresh,
        plugin_changed=plugin_changed,
    )
    folder = given_path(results, "results")
    names = dict.fromkeys(spec.problem for spec in specs)
    sweep = Sweep(
        specs,
        folder,
        options,
        local_executor(options),
        _listener(progress),
        command=f"bnbench.run({', '.join(map(repr, names))}, …)  # in Python",
    )
    try:
        sweep.run()
    except BaseException:
        sweep.withdraw()
        raise
    return Results(sweep.store, sweep.contents, only=frozenset(spec.run_id for spec in specs))


def plan(
    problems: str | Problem | Sequence[str | Problem],
    variants: str | Variant | Sequence[str | Variant] = ALL,
    *,
    placements: OneOrMore = (),
    lr_factors: float | Sequence[float] = (1.0,),
    seeds: int | Sequence[int] = 1,
    size: Size | None = None,
    set: Mapping[str, object] | None = None,  # noqa: A002 -- as --set
    precision: Precision = "fp32",
    results: str | PathLike[str] = "results/runs",
    workers: int | None = None,
    device: str = "auto",
    plugins: Plugins = (),
) -> pd.DataFrame:
    """What `run` with the same arguments would do. Writes nothing.

    Returns:
        A row a run: run_id (None where the data are not on this machine), problem, size, variant, placement,
        learning_rate, seed, to_train, seconds (what is left, where that is known), state ("new", "resumable",
        "finished" …), and how far it is.

    Raises:
        UserError: something does not exist or does not fit.
    """
    use_plugins(plugins)
    specs = _select(problems, variants, placements, lr_factors, seeds, size, set, precision)
    options = RunOptions(device=device, workers=workers)
    sweep = Sweep(specs, given_path(results, "results"), options, local_executor(options), Silent())
    return pd.DataFrame([planned.record() for planned in sweep.plan().runs])


def _select(
    problems: str | Problem | Sequence[str | Problem],
    variants: str | Variant | Sequence[str | Variant],
    placements: OneOrMore,
    lr_factors: float | Sequence[float],
    seeds: int | Sequence[int],
    size: Size | None,
    changes: Mapping[str, object] | None,
    precision: Precision,
) -> tuple[RunSpec, ...]:
    wanted = (problems,) if isinstance(problems, str | Problem) else tuple(problems)
    rows = (variants,) if isinstance(variants, str | Variant) else tuple(variants)
    for each in wanted:
        if isinstance(each, Problem) and (size not in {None, each.size} or changes):
            raise UserError(
                f"problem '{each.name}' is loaded already, with its size and its settings",
                hint="Give size= and set= to load_problem, or the problem's name to run.",
            )
    settings = Settings(
        size=size or "full",
        seeds=seeds if isinstance(seeds, int) else 1,
        precision=precision,
        overrides=as_overrides(changes or {}),
    )
    grid = Grid(
        problems=wanted,
        variants=tuple(each if isinstance(each, str) else _fair(each) for each in rows),
        placements=(placements,) if isinstance(placements, str) else tuple(placements),
        lr_factors=(lr_factors,) if isinstance(lr_factors, int | float) else tuple(lr_factors),
        settings=settings,
        own_seeds=None if isinstance(seeds, int) else tuple(seeds),
    )
    return select(grid).specs


def _listener(progress: bool | Listener) -> Listener:
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return Silent()
    from bnbench.progress import sweep_progress  # noqa: PLC0415 -- rich

    return sweep_progress()


# --- results ------------------------------------------------------------------------------------------------------


class Ranking(RankedVariants):
    """A ranking, as `Results.rank` gives it."""

    def to_frame(self) -> pd.DataFrame:
        """One row a variant and comparison: what they have in common, then the columns of the printed table, unrounded.

        Where there is no value there is NaN or None.
        """
        from bnbench.analysis.ranking_tables import group_table  # noqa: PLC0415 -- scipy

        tables = [group_table(group) for group in self.groups]
        rows = [{**dict(table.about), **record} for table in tables for record in table.records()]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        """The printed tables, for a notebook."""
        from bnbench.analysis.ranking_tables import ranking_tables  # noqa: PLC0415
        from bnbench.report.render import html  # noqa: PLC0415

        return "\n".join(html.render(table) for table in ranking_tables(self))


class Results(RecordedResults):
    """The runs of a results folder: their tables as frames, and what the suite makes of them."""

    def __init__(
        self, store: ResultStore, contents: StoreContents | None = None, *, only: frozenset[str] | None = None
    ) -> None:
        """As `bnbench.analysis.frames.Results`.

        Args:
            store: the results folder.
            contents: what a look at it has found, where somebody has looked already.
            only: ids of runs; the others are left out.
        """
        super().__init__(store, contents)
        if only is not None:
            self.records = tuple(record for record in self.records if record.identity.run_id in only)

    def rank(self, **filters: Unpack[IdentityFilters]) -> Ranking:
        """Rank the variants, separately for each setting, placement and learning rate.

        Args:
            **filters: a value, or several, for any identity column.

        Raises:
            UserError: a filter is not an identity column, or a table is damaged.
        """
        from bnbench.analysis.ranking import rank  # noqa: PLC0415 -- scipy

        found = rank(self, **filters)
        return Ranking(found.groups, found.overall, found.failed)

    def activity(self, *, each_run: bool = False, **filters: Unpack[ActivityFilters]) -> pd.DataFrame:
        """How far γ went from 1 and β from 0.

        Args:
            each_run: a row for each run instead of means over the seeds.
            **filters: a value, or several, for any identity column, `slot` or `parameter` ("gamma", "beta", "bias";
                γ and β if it is left out).

        Returns:
            One row per variant (or run), slot and parameter; `bnbench activity --json` explains the columns.

        Raises:
            UserError: a filter does not exist, or a table is damaged.
        """
        from bnbench.analysis.activity import activity_summary, average_over_seeds  # noqa: PLC0415

        filters.setdefault("parameter", ["gamma", "beta"])
        summary = activity_summary(self, **filters)
        return summary if each_run else average_over_seeds(summary)

    def claims(self, study: str = "thesis", *, only: Sequence[str] = ()) -> ClaimsReport:
        """Decide a study's claims on these runs.

        Args:
            study: a study's name, or the path of its file.
            only: ids of claims; none means all.

        Raises:
            UserError: there is no such study or claim, or a table is damaged.
        """
        from bnbench.analysis.claims.decide import decide_claims  # noqa: PLC0415
        from bnbench.study import find_study  # noqa: PLC0415

        return decide_claims(self, find_study(study), only=only)

    def plots(
        self,
        kind: str,
        *,
        size: Size | None = None,
        problem: OneOrMore = (),
        placement: OneOrMore = (),
        lr_factor: float | Sequence[float] = (),
        seed: int | None = None,
        width: str = "text",
    ) -> list[Figure]:
        """Every figure of a kind that there are runs for, at least one. They show themselves in a notebook.

        Args:
            kind: "curves", "difference", "gamma", "beta", … as `bnbench plot --list` names them.
            size: of the runs; None where they are all of one.
            problem: only these.
            placement: only these, as recorded.
            lr_factor: only these multiples of the problem's learning rate.
            seed: whose γ and β to draw; None is the problem's first.
            width: "column", "text" or "slide".

        Raises:
            UserError: there is no such kind, or nothing to draw.
        """
        from bnbench.analysis.comparison import comparisons, narrowed  # noqa: PLC0415
        from bnbench.report.figures.drawing import draw_kind  # noqa: PLC0415 -- matplotlib
        from bnbench.report.figures.registry import FIGURES  # noqa: PLC0415
        from bnbench.report.page import PAGES  # noqa: PLC0415

        drawn_by = FIGURES.get(kind)
        if width not in PAGES:
            raise unknown("width", width, PAGES)
        found = narrowed(
            comparisons(self.records),
            size or self._only_size(),
            problems=(problem,) if isinstance(problem, str) else tuple(problem),
            placements=(placement,) if isinstance(placement, str) else tuple(placement),
            factors=(lr_factor,) if isinstance(lr_factor, int | float) else tuple(lr_factor),
        )
        return [drawing.figure for drawing in draw_kind(self, drawn_by, found, PAGES[width], seed)]

    def plot(
        self,
        kind: str,
        *,
        size: Size | None = None,
        problem: OneOrMore = (),
        placement: OneOrMore = (),
        lr_factor: float | Sequence[float] = (),
        seed: int | None = None,
        width: str = "text",
    ) -> Figure:
        """The figure of a kind, a matplotlib figure that shows itself in a notebook.

        Args and errors are those of `plots`.

        Raises:
            UserError: there are several.
        """
        figures = self.plots(
            kind, size=size, problem=problem, placement=placement, lr_factor=lr_factor, seed=seed, width=width
        )
        if len(figures) > 1:
            raise UserError(
                f"these runs make {len(figures)} figures of kind {kind}",
                hint="Choose with size=, problem=, placement= or lr_factor=, or take them all: plots(…).",
            )
        return figures[0]

    def _only_size(self) -> Size:
        sizes: set[Any] = {record.identity.size for record in self.records}
        if len(sizes) > 1:
            raise UserError(f"there are runs of the sizes {' and '.join(sorted(sizes))}", hint="Choose one: size=.")
        return next(iter(sizes), "full")


def open_results(path: str | PathLike[str] = "results/runs", plugins: Plugins = ()) -> Results:
    """The results folder at a path, to be read; a leading `~` is a home folder.

    Args:
        path: of the folder.
        plugins: files of your own, with the rows that the runs were made of (`use_plugins`).

    Raises:
        UserError: the path is none, there are no results, or they are of another schema version.
    """
    use_plugins(plugins)
    return Results.open(path)
