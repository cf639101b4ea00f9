"""`bnbench check`: recorded runs against the stored reference results."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import DEFAULT_RESULTS, SIZES, plugin_option
from bnbench.cli.output import print_json, print_warnings, say
from bnbench.cli.path_type import GivenPath

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bnbench.analysis.reference.outcome import CheckReport
    from bnbench.analysis.reference.published import Published, PublishedComparison
    from bnbench.problem import Size


@click.command("check")
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option(
    "--results",
    type=GivenPath(),
    help=f"Folder of the recorded runs [default: {DEFAULT_RESULTS}]; with --fresh, where to put the new ones.",
)
@click.option("--size", type=click.Choice(SIZES), help="Only runs of this size; with --fresh: tiny.")
@click.option("--fresh", is_flag=True, help="Train what there is a reference for, anew, and check that.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="With --fresh: how many seeds.")
@click.option("--device", default="cpu", show_default=True, help="With --fresh: what to train on.")
@click.option("--workers", type=click.IntRange(min=1), help="With --fresh: runs side by side.")
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    type=click.Choice(["bits", "start", "spread"]),
    help="Only this comparison. Repeatable; default: all.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
@click.option("--reference", type=GivenPath(exists=True, file_okay=False), help="Other reference results.")
@plugin_option
def command(
    problems: tuple[str, ...],
    results: Path | None,
    size: Size | None,
    fresh: bool,
    seeds: int,
    device: str,
    workers: int | None,
    tiers: tuple[str, ...],
    style: str,
    reference: Path | None,
) -> None:
    """Compare recorded runs with the reference results that travel with bnbench.

    \b
    In three tiers:
      bits    same machine and versions: the values are the same bits
      start   the loss before training, and the batch loss of the first steps, to 1e-5
      spread  curves inside a band over the reference's seeds; final values by a two-sample test

    The exit code is 1 if anything failed, or if nothing could be compared. What the tiers cannot see is listed in
    docs/reference-check.md.

    \b
    Examples:
      bnbench check
      bnbench check --fresh --seeds 5
      bnbench check digits_mlp --tier start --tier spread --format json > check.json
    """
    from bnbench.analysis.frames import open_results
    from bnbench.analysis.reference.check import check_results
    from bnbench.analysis.reference.outcome import Tier
    from bnbench.analysis.reference.published import compare_published, read_published
    from bnbench.analysis.reference.stored import read_references
    from bnbench.paths import given_path
    from bnbench.shipped import shipped_folder

    folder = reference or shipped_folder("reference")
    references = read_references(folder)
    published = read_published(folder)
    with ExitStack() as stack:
        place = results or given_path(DEFAULT_RESULTS, "--results")
        if fresh:
            from bnbench.cli.console import passing_folder, train_anew

            size = size or "tiny"
            place = results or passing_folder(stack)
            # Without names what there is a reference for; of a folder without any, as if it had all.
            asked = problems or tuple(each.problem for each in references if each.size == size)
            train_anew(asked, size=size, seeds=seeds, results=place, device=device, workers=workers)
        opened = open_results(place)
        report = check_results(
            opened,
            references,
            tiers=[Tier(tier) for tier in tiers] or list(Tier),
            problems=() if fresh else _recorded(problems, {record.identity.problem for record in opened.records}),
            size=size,
            complete=fresh,
        )
        comparisons = [] if published is None else compare_published(opened, published)
    print_warnings(opened)
    _print(report, published, comparisons, style)
    tested = any(comparison.p is not None for comparison in comparisons)
    if report.differs or (report.nothing and not tested) or any(comparison.failed for comparison in comparisons):
        raise SystemExit(1)


def _recorded(problems: Sequence[str], recorded: Collection[str]) -> list[str]:
    """The problems asked for, by the names that runs are recorded under."""
    from bnbench.errors import unknown

    names = [Path(name).stem if name.endswith(".toml") else name for name in problems]
    for name in names:
        if name not in recorded:
            raise unknown("recorded problem", name, sorted(recorded))
    return names


def _print(
    report: CheckReport, published: Published | None, comparisons: Sequence[PublishedComparison], style: str
) -> None:
    from bnbench.analysis.reference.present import as_json, as_text, published_json, published_lines

    if style == "json":
        values = as_json(report) | {"published": [published_json(each) for each in comparisons]}
        print_json(values)
        return
    say(as_text(report))
    if published is not None and comparisons:
        say("\n" + "\n".join(published_lines(published, comparisons)))
