"""The list of files and the tables of columns in `docs/result-schema.md`, from the declaration of the tables.

    python tests/support/schema_document.py        renews them in place, after `bnbench.measurement` was changed

Each table of columns stands between `<!-- columns of NAME -->` and `<!-- end -->`, each file of a run on a line of its
own in the first block; the prose around them is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bnbench.components.probes import PROBES
from bnbench.measurement import IDENTITY, PROBE_NOTES, TABLES, Column, Table

DOCUMENT = Path(__file__).parents[2] / "docs" / "result-schema.md"
EVERY_TABLE = "every table"

_FILE = re.compile(r"^ {8}(\w+)\.parquet .*\n", flags=re.MULTILINE)
_BLOCK = re.compile(r"^<!-- columns of ([a-z_ ]+) -->$\n(.*?)^<!-- end -->$", flags=re.MULTILINE | re.DOTALL)


def renewed(text: str) -> str:
    """The document as it is to be.

    Raises:
        KeyError: it describes a table that is not declared.
    """
    wanted = {EVERY_TABLE: _rows(IDENTITY.values(), units=False)}
    for name, table in TABLES.items():
        wanted[name] = _rows([column for column in table.columns if column.name not in IDENTITY], units=True)
    text = _FILE.sub(lambda match: f"        {_listed(TABLES[match[1]])}\n", text)
    return _BLOCK.sub(lambda match: f"<!-- columns of {match[1]} -->\n{wanted[match[1]]}<!-- end -->", text)


def described(text: str) -> tuple[list[str], list[str]]:
    """The names of the tables that a document lists as files, and of those whose columns it has (and `EVERY_TABLE`)."""
    return [match[1] for match in _FILE.finditer(text)], [match[1] for match in _BLOCK.finditer(text)]


def _listed(table: Table) -> str:
    probes = [name for name in PROBES if table in PROBES.get(name).tables]
    probed = f"; only of a run with the probe {probes[0]}" if probes else ""
    if table == PROBE_NOTES:
        probed = "; only of a run with a probe that may be unable to measure"
    return f"{table.name + '.parquet':<23} {table.meaning}{probed}"


def _rows(columns: Iterable[Column], *, units: bool) -> str:
    heading = ["column", "type", *(["unit"] if units else []), "meaning"]
    rows = [[f"`{column.name}`", column.type, *([column.unit] if units else []), column.meaning] for column in columns]
    return _row(heading) + "|" + "---|" * len(heading) + "\n" + "".join(map(_row, rows))


def _row(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
