"""`bnbench claims`: what the recorded runs say of a study's claims."""

from __future__ import annotations

from pathlib import Path

import click

from bnbench.cli.options import SIZES, results_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables, say, warn


@click.command("claims")
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
@click.option("--study", help="A study's name, or the path of its file; default: every study that ships.")
@click.option("--size", type=click.Choice(SIZES), help="A table of the runs of this size, even if no evidence.")
@format_options
@results_option
def command(
    claims: tuple[str, ...], study: str | None, size: str | None, style: Format | None, as_json: bool, results: Path
) -> None:
    """Decide the claims of studies: holds, refuted, undecided or no data, by rules fixed beforehand.

    Without a study, every claim for which there are runs, paper by paper. Only runs at the problems' own full settings
    on the official data are evidence. What the same rules make of shorter, tiny or overridden runs is said to be that.
    With CLAIM, every part of it and the numbers obtained, which JSON always has.

    \b
    Examples:
      bnbench claims
      bnbench claims c8
      bnbench claims --study thesis
      bnbench claims --study thesis_code --json
    """
    from bnbench.analysis.claims.decide import decide_claims
    from bnbench.analysis.claims.ledger import ledger, ledger_json, ledger_table, study_with
    from bnbench.analysis.claims.tables import claim_details, claims_json, claims_tables
    from bnbench.analysis.frames import Results
    from bnbench.storage.store import ResultStore
    from bnbench.study import find_study

    wanted = chosen(style, as_json=as_json)
    recorded = Results(ResultStore(results))
    if study is None and not claims and size is None:
        book = ledger(recorded)
        if wanted == "json":
            print_json(ledger_json(book))
            return
        for warning in recorded.warnings:
            warn(warning)
        print_tables([ledger_table(book)], wanted)
        say("`bnbench claims --study NAME` shows one study's claims, `bnbench claims c1` one claim.", err=True)
        return
    own = study_with(claims) if study is None else find_study(study)
    report = decide_claims(recorded, own, only=claims)
    if wanted == "json":
        print_json(claims_json(report))
        return
    for warning in report.warnings:
        warn(warning)
    tables = claim_details(report) if claims else claims_tables(report, size=size)
    print_tables(tables, wanted)
    if not tables:
        say(f"no run of size {size}")
    if report.apart and not claims and size is None:
        sizes = [body.size for body in report.apart if body.size != "full"]
        whole = f"`bnbench claims --size {sizes[0]}` shows {sizes[0]} runs in full, " if sizes else ""
        say(f"{whole}`bnbench claims c1` shows one claim.", err=True)
