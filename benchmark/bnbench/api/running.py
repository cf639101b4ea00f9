"""Running, and saying beforehand what would be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import pandas as pd

from bnbench.api.results import Results
from bnbench.api.rows import fair, use_plugins
from bnbench.api.words import OneOrMore, Plugins
from bnbench.components.variants import ALL, Variant
from bnbench.errors import UserError
from bnbench.execution.executors import local_executor
from bnbench.execution.listening import Listener, Silent
from bnbench.execution.options import CHECKPOINT_SECONDS, PROBE_MEMORY, PluginChange, RunOptions
from bnbench.execution.selection import Grid, Settings, as_overrides, select
from bnbench.execution.sweep import Sweep
from bnbench.paths import given_path
from bnbench.plan import Precision, RunSpec
from bnbench.problem import Problem, Size


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
        "finished" …), how far it is, and `changed`: the row of a plug-in that is not any more what the run was made
        of, for which `run` refuses to go on unless `plugin_changed="keep"`.

    Raises:
        UserError: something does not exist or does not fit.
    """
    use_plugins(plugins)
    specs = _select(problems, variants, placements, lr_factors, seeds, size, set, precision)
    options = RunOptions(device=device, workers=workers)
    sweep = Sweep(specs, given_path(results, "results"), options, local_executor(options), Silent())
    return pd.DataFrame(sweep.plan().records())


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
        variants=tuple(each if isinstance(each, str) else fair(each) for each in rows),
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
