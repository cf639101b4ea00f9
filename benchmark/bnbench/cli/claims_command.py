"""`bnbench claims`: what the recorded runs say of a study's claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bnbench.cli.options import results_option


@click.command("claims")
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
@click.option("--study", default="thesis", show_default=True, help="A study's name, or the path of its file.")
@click.option(
    "--size", type=click.Choice(["full", "tiny"]), help="A table of the runs of this size, even if no evidence."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with the numbers of every part.")
@results_option
def command(claims: tuple[str, ...], study: str, size: str | None, as_json: bool, results: Path) -> None:
    """Decide a study's claims: holds, refuted, undecided or no data, by rules fixed beforehand.

    Only runs at the problems' own full settings on the official data are evidence. What the same rules make of tiny,
    shortened or overridden runs is shown apart. With CLAIM, every part of it and the numbers obtained.

    \b
    Examples:
      bnbench claims
      bnbench claims c8
      bnbench claims --study thesis_code --json
    """
    from bnbench.analysis.claims.decide import decide_claims
    from bnbench.analysis.claims.tables import claim_details, claims_json, claims_tables
    from bnbench.analysis.frames import Results
    from bnbench.storage.store import ResultStore
    from bnbench.study import find_study

    report = decide_claims(Results(ResultStore(results)), find_study(study), only=claims)
    if as_json:
        click.echo(json.dumps(claims_json(report), indent=1, ensure_ascii=False, allow_nan=False))
        return

    from rich.console import Console

    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    # Where there is no terminal to ask, the width the tables are made for.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    for each in claim_details(report) if claims else claims_tables(report, size=size):
        console.print(each)
    if report.apart and not claims and size is None:
        click.echo("`bnbench claims --size tiny` shows tiny runs in full, `bnbench claims c1` one claim.", err=True)
