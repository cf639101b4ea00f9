"""`docs/result-schema.md` is run: every example, on two real recorded runs."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bnbench.measurement import TABLES
from bnbench.storage.schema import SCHEMA_VERSION, SCHEMAS
from support.schema_document import DOCUMENT, EVERY_TABLE, described, renewed

TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sql)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)

MEANS = {"vanilla": 0.8, "bn_gamma_beta": 0.8}
MEAN_GAMMA = 1 + np.arange(0, 24, 2) * 0.01 + np.arange(4).mean()


def blocks(language: str, comment: str = "") -> list[str]:
    return [code for kind, code in BLOCKS if kind == language and code.startswith(comment)]


@pytest.fixture
def runs(tmp_path, monkeypatch, example, vanilla):
    store = tmp_path / "results" / "runs"
    example.finish(store)
    vanilla.record(store, [3]).fail(vanilla.failure)
    vanilla.finish(store)
    monkeypatch.chdir(tmp_path)


def test_every_block_belongs_to_one_of_the_three_tools():
    assert len(blocks("python", "# pandas")) == 3
    assert len(blocks("python", "# polars")) == 1
    assert len(blocks("sql")) == 2
    assert len(BLOCKS) == 6


def test_the_pandas_examples(runs):
    curves, trajectory, sparsity = blocks("python", "# pandas")
    names: dict[str, object] = {}
    exec(curves, names)
    final = names["final"]
    assert dict(zip(final["variant"], final["accuracy"], strict=True)) == MEANS
    exec(trajectory, names)
    assert names["trajectory"].shape == (12, 4)
    np.testing.assert_allclose(names["trajectory"].mean(axis=1), MEAN_GAMMA, rtol=1e-6)
    exec(sparsity, names)
    last = names["last"]
    assert sorted(last["slot"]) == sorted(2 * ["conv1", "conv10", "conv2"])
    assert set(last["zeroed"]) == {0.8}


def test_the_duckdb_examples(runs):
    duckdb = pytest.importorskip("duckdb")
    curves, trajectory = blocks("sql")
    rows = duckdb.sql(curves).fetchall()
    assert [(variant, mean, count) for _, variant, mean, count in rows] == [
        ("bn_gamma_beta", 0.8, 1),
        ("vanilla", 0.8, 1),
    ]
    steps, means = zip(*duckdb.sql(trajectory).fetchall(), strict=True)
    assert steps == tuple(range(0, 24, 2))
    np.testing.assert_allclose(means, MEAN_GAMMA, rtol=1e-6)


def test_the_polars_example(runs):
    pytest.importorskip("polars")
    names: dict[str, object] = {}
    exec(blocks("python", "# polars")[0], names)
    final = {row["variant"]: (row["mean"], row["count"]) for row in names["final"].to_dicts()}
    assert final == {"vanilla": (0.8, 1), "bn_gamma_beta": (0.8, 1)}
    assert names["gamma"]["step"].to_list() == list(range(0, 24, 2))
    np.testing.assert_allclose(names["gamma"]["mean_gamma"].to_numpy(), MEAN_GAMMA, rtol=1e-6)


def documented(heading: str) -> list[tuple[str, str]]:
    section = re.split(rf"^## {re.escape(heading)}$", TEXT, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, flags=re.MULTILINE)


SPELLED = {"dictionary<values=string, indices=int32, ordered=0>": "string", "double": "float64", "float": "float32"}


@pytest.mark.parametrize("table", TABLES)
def test_the_document_lists_every_column_with_its_type(table):
    listed = [*documented("Columns of every table"), *documented(f"`{table}.parquet`")]
    actual = []
    for field in SCHEMAS[table]:
        kind = str(field.type)
        actual.append((field.name, "list of float32" if kind.startswith("list") else SPELLED.get(kind, kind)))
    assert listed == actual


def test_the_document_is_what_the_declaration_makes_of_it():
    assert renewed(TEXT) == TEXT, "renew it: python tests/support/schema_document.py"
    assert described(TEXT) == (list(TABLES), [EVERY_TABLE, *TABLES])


def test_another_meaning_of_a_column_makes_another_document(monkeypatch):
    curves = TABLES["curves"]
    loss = next(column for column in curves.columns if column.name == "loss")
    other = replace(
        curves,
        meaning="made up",
        columns=tuple(replace(loss, meaning="made up, too") if each is loss else each for each in curves.columns),
    )
    monkeypatch.setitem(TABLES, "curves", other)
    changed = [line for line in renewed(TEXT).splitlines() if line not in TEXT.splitlines()]
    assert changed == ["        curves.parquet          made up", "| `loss` | float64 | nats | made up, too |"]


def test_the_document_names_the_version():
    assert f"Schema version {SCHEMA_VERSION}." in TEXT
