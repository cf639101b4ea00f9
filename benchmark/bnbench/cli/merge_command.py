"""`bnbench merge`: bring runs that were recorded elsewhere into this results folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from bnbench.cli.options import plugin_option, results_option
from bnbench.cli.output import print_json, say
from bnbench.cli.path_type import GivenPath

if TYPE_CHECKING:
    from bnbench.storage.merge import MergedRun

_MEANINGS = {
    "copied": "new here",
    "replaced": "only a failed or unfinished attempt was here",
    "identical": "here already, with the same contents",
    "kept": "what is here is worth more",
    "unfinished": "has not ended there: nothing to copy",
    "damaged": "files that are not what was recorded: not copied",
    "conflict": "here already, with other contents: nothing was overwritten",
}
_WORTH_A_LINE = ("replaced", "kept", "unfinished", "damaged", "conflict")
_WRONG = ("damaged", "conflict")


@click.command("merge")
@click.argument("others", nargs=-1, required=True, type=GivenPath(), metavar="OTHER_RESULTS...")
@results_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each run.")
@plugin_option
def command(others: tuple[Path, ...], results: Path, as_json: bool) -> None:
    """Copy the runs of other results folders into this one (--results); nothing here is ever overwritten.

    A run that is here already with the same contents is skipped. One with other contents is reported with the tables
    that differ, and stays as it is in both folders (exit code 1). The other folders are only read.

    \b
    Examples:
      bnbench merge ./from-cluster-a ./from-cluster-b
      bnbench merge ./results-of-last-year --results results/runs
    """
    from bnbench.storage.merge import merge_stores

    merged = merge_stores(results, others)
    if as_json:
        records = [
            {"run_id": run.run_id, "source": str(run.source), "verdict": run.verdict, "detail": run.detail}
            for run in merged
        ]
        print_json(records)
    else:
        _print(merged, results)
    if any(run.verdict in _WRONG for run in merged):
        raise SystemExit(1)


def _print(merged: list[MergedRun], results: Path) -> None:
    from bnbench.storage.merge import Verdict

    for run in merged:
        if run.verdict in _WORTH_A_LINE:
            told = f": {run.detail}" if run.detail else ""
            say(f"{run.verdict}  {run.run_id}  of {run.source}{told}")
    counts = Counter(run.verdict for run in merged)
    say(f"{len(merged)} runs looked at for {results}:")
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    for verdict in verdicts:
        if counts[verdict]:
            say(f"{counts[verdict]:6}  {verdict:10}  {_MEANINGS[verdict]}")
