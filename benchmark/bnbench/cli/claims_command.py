"""`bnbench claims`: what the recorded runs say of a study's claims."""

from __future__ import annotations

from pathlib import Path

import click

from bnbench.cli.options import SIZES, results_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables


@click.command("claims")
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
@click.option("--study", default="thesis", show_default=True, help="A study's name, or the path of its file.")
@click.option("--size", type=click.Choice(SIZES), help="A table of the runs of this size, even if no evidence.")
@format_options
@results_option
def command(
    claims: tuple[str, ...], study: str, size: str | None, style: Format | None, as_json: bool, results: Path
) -> None:
    """Decide a study's claims: holds, refuted, undecided or no data, by rules fixed beforehand.

    Only runs at the problems' own full settings on the official data are evidence. What the same rules make of tiny,
    shortened or overridden runs is shown apart. With CLAIM, every part of it and the numbers obtained, which
    JSON always has.

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

    wanted = chosen(style, as_json=as_json)
    report = decide_claims(Results(ResultStore(results)), find_study(study), only=claims)
    if wanted == "json":
        print_json(claims_json(report))
        return
    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    tables = claim_details(report) if claims else claims_tables(report, size=size)
    print_tables(tables, wanted)
    if not tables:
        click.echo(f"no run of size {size}")
    if report.apart and not claims and size is None:
        sizes = [body.size for body in report.apart if body.size != "full"]
        whole = f"`bnbench claims --size {sizes[0]}` shows {sizes[0]} runs in full, " if sizes else ""
        click.echo(f"{whole}`bnbench claims c1` shows one claim.", err=True)
