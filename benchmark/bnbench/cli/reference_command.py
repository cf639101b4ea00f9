"""`bnbench reference`: the stored reference results, and making them anew."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import SIZES
from bnbench.cli.output import say
from bnbench.cli.path_type import GivenPath
from bnbench.cli.suggesting import SuggestingGroup

if TYPE_CHECKING:
    from bnbench.analysis.reference.stored import Reference
    from bnbench.problem import Size

_FOLDER = click.option(
    "--reference",
    type=GivenPath(file_okay=False),
    help="Folder of the reference results; default: those that travel with bnbench.",
)


@click.group("reference", cls=SuggestingGroup)
def command() -> None:
    """The reference results that `bnbench check` compares with.

    \b
    Examples:
      bnbench reference list
      bnbench reference update
    """


@command.command("list")
@_FOLDER
def list_references(reference: Path | None) -> None:
    """Which reference results there are, and where they come from."""
    from bnbench.analysis.reference.present import origin
    from bnbench.analysis.reference.stored import read_references
    from bnbench.shipped import shipped_folder

    for each in read_references(reference or shipped_folder("reference")):
        runs = [run for group in each.groups.values() for run in group]
        seeds = len({run.seed for run in runs})
        say(f"{each.problem} {each.size}: {len(runs)} runs, {seeds} seeds; {origin(each)}")


@command.command("update")
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option("--size", type=click.Choice(SIZES), default="tiny", show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many seeds.")
@click.option("--device", default="cpu", show_default=True, help="What to train on.")
@click.option("--workers", type=click.IntRange(min=1), help="Runs side by side; default: as many as cores.")
@click.option(
    "--from",
    "recorded",
    type=GivenPath(exists=True, file_okay=False),
    help="Take these recorded runs, all of them, instead of training.",
)
@_FOLDER
def update(
    problems: tuple[str, ...],
    size: Size,
    seeds: int,
    device: str,
    workers: int | None,
    recorded: Path | None,
    reference: Path | None,
) -> None:
    """Train all variants of every problem anew and store that as reference results.

    Do this after a change that is meant to change numbers, commit the result with it, and say why. What is stored for
    a problem and size is replaced as a whole.

    \b
    Examples:
      bnbench reference update
      bnbench reference update digits_mlp --seeds 10
    """
    from bnbench.analysis.frames import open_results
    from bnbench.analysis.reference.stored import read_references, write_reference
    from bnbench.cli.console import passing_folder, train_anew
    from bnbench.errors import UserError
    from bnbench.shipped import shipped_folder
    from bnbench.storage.store import ResultStore
    from bnbench.words import counted

    folder = reference or shipped_folder("reference")
    before = {(each.problem, each.size): each for each in read_references(folder)}
    with ExitStack() as stack:
        if recorded is None:
            results = passing_folder(stack)
            train_anew(problems, size=size, seeds=seeds, results=results, device=device, workers=workers)
        else:
            if problems:
                raise UserError("--from takes all runs of a folder: name no problems beside it")
            results = recorded
        opened = open_results(results)
        documents = {document.run_id: document for document in ResultStore(results).documents()}
        keys = sorted({(record.identity.problem, record.identity.size) for record in opened.records})
        for problem, its_size in keys:
            chosen = [documents[record.identity.run_id] for record in opened.select(problem=problem, size=its_size)]
            write_reference(folder, opened, chosen)
        after = {(each.problem, each.size): each for each in read_references(folder)}
    for key in keys:
        changed = _changed(before.get(key), after[key])
        runs = sum(len(group) for group in after[key].groups.values())
        say(f"{' '.join(key)}: {counted(runs, 'run')} stored, {changed}")


def _changed(before: Reference | None, after: Reference) -> str:
    """What is new about a reference, in words."""
    from bnbench.analysis.reference.platform import circumstances_that_differ

    if before is None:
        return "the first reference of this problem at this size"
    if before.setting_id != after.setting_id:
        return "of another setting than before"
    old = {(key, run.seed): run.digests for key, runs in before.groups.items() for run in runs}
    new = {(key, run.seed): run.digests for key, runs in after.groups.items() for run in runs}
    other = sum(old[key] != new[key] for key in old.keys() & new.keys())
    differing = circumstances_that_differ(after.provenance, before.provenance) if other else []
    why = f" (now {'; '.join(differing)})" if differing else ""
    return f"{other} with other numbers than before{why}, {len(new.keys() - old.keys())} added"
