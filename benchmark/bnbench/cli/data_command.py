"""`bnbench data`: fetch, import, verify and list data sets. The one command that may use the network is `fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.output import Format, chosen, format_options, print_tables, say
from bnbench.cli.path_type import GivenPath
from bnbench.cli.suggesting import SuggestingGroup

if TYPE_CHECKING:
    from bnbench.data.store import Manifest


@click.group("data", cls=SuggestingGroup)
def command() -> None:
    """Fetch, import, verify and list data sets.

    Imported data live in $BNBENCH_DATA, or else in this platform's cache folder.
    """


@command.command("list")
@format_options
def list_(style: Format | None, as_json: bool) -> None:
    """List the data sets, and which are on this machine."""
    from bnbench.analysis.table import Cell, Column, Kind, Table, whole
    from bnbench.data.inventory import list_datasets
    from bnbench.data.store import data_home

    wanted = chosen(style, as_json=as_json)
    columns = (
        Column("data_set", "data set", Kind.IDENTIFIER),
        Column("title", "title", priority=2),
        Column("images", "images", Kind.NUMBER, show=whole, priority=1),
        Column("here", "here"),
        Column("origin", "origin", priority=3),
        Column("fingerprint", "fingerprint", Kind.IDENTIFIER, priority=4),
    )
    rows, notes = [], []
    for row in list_datasets():
        fingerprint = None if row.fingerprint is None else Cell(row.fingerprint, row.fingerprint[:12])
        rows.append((row.name, row.title, row.images, row.state, row.origin, fingerprint))
        if row.damage:
            notes.append(row.damage)
        elif not row.at_hand:
            notes.append(f"{row.name}: `bnbench data fetch {row.name}` or `bnbench data import {row.name} PATH`.")
    print_tables([Table("data", columns, tuple(rows))], wanted)
    say("\n".join([f"\nImported data live in {data_home()}.", *notes]), err=True)


@command.command("fetch")
@click.argument("name", metavar="DATASET")
@click.option("--replace", is_flag=True, help="Replace different data of that name.")
def fetch(name: str, replace: bool) -> None:
    """Download a data set's official archive, verify its checksum, import it.

    \b
    Example:
      bnbench data fetch cifar10
    """
    from bnbench.data.inventory import fetch_dataset

    _say(fetch_dataset(name, replace=replace))


@command.command("import")
@click.argument("name", metavar="DATASET")
@click.argument("path", type=GivenPath())
@click.option("--replace", is_flag=True, help="Replace different data of that name.")
def import_(name: str, path: Path, replace: bool) -> None:
    """Import a data set from files.

    They are its official archive, the folder that it unpacks to (torchvision's), or a folder of Parquet files as the
    Hugging Face hub has it.

    Of Fashion-MNIST, the folder of its four .gz files.

    \b
    Example:
      bnbench data import cifar10 ./cifar10-parquet
    """
    from bnbench.data.inventory import import_dataset

    _say(import_dataset(name, path, replace=replace))


@command.command("verify")
@click.argument("name", metavar="DATASET")
def verify(name: str) -> None:
    """Compute a data set's fingerprint again and compare it with the one on record.

    \b
    Example:
      bnbench data verify cifar10
    """
    from bnbench.data.inventory import verify_dataset

    result = verify_dataset(name)
    if not result.intact:
        say(f"{name}: DAMAGED: fingerprint {result.found}, on record {result.expected}", err=True)
        raise SystemExit(1)
    say(f"{name}: intact, fingerprint {result.found}")


def _say(manifest: Manifest) -> None:
    from bnbench.data.origin import is_evidence, origin_in_words

    say(f"{manifest.name}: {manifest.train_images:,} training and {manifest.test_images:,} test images")
    say(f"fingerprint {manifest.fingerprint}")
    say(origin_in_words(manifest.name, manifest.origin, manifest.fingerprint))
    if not is_evidence(manifest.origin):
        say(
            "The training images do not have the published mean and standard deviation: runs on this copy are no "
            "evidence of a published claim, and are not compared with runs on the official images."
        )
