"""Joining results folders: what is copied, skipped, refused; and that nothing here is ever overwritten."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bnbench.errors import UserError
from bnbench.storage import merge
from bnbench.storage.files import StorageError
from bnbench.storage.lock import acquire_lock
from bnbench.storage.merge import merge_stores
from bnbench.storage.schema import SCHEMA_VERSION
from bnbench.storage.store import ResultStore
from support.command_line import invoke, start
from support.rows import columns
from support.synthetic_store import SyntheticRun, build_store

from .conftest import DOCUMENT, IDENTITY, Call, Example

RUN = IDENTITY.run_id


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a run's workspace has another name for each writer, which does not count."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {re.sub(r"\bwork-[0-9a-f]{16}\b", "work", name): data for name, data in files.items()}


def verdicts(store: Path, *sources: Path, **options) -> dict[str, tuple[str, str]]:
    return {run.run_id: (run.verdict, run.detail) for run in merge_stores(store, sources, **options)}


def altered(example: Example, *, value: float) -> Example:
    """The same run with another loss at the start."""
    first = Call("curves", columns("curves", [(0, 0, "train_eval", "running", value, 0.0)]))
    return dataclasses.replace(example, calls=(first, *example.calls[1:]))


def rewrite(folder: Path, table: str, *, flip: bool = False) -> None:
    """Write a table again as another Parquet library would, perhaps with the lowest bit of its first number flipped."""
    path = folder / f"{table}.parquet"
    values = pq.read_table(path)
    if flip:
        column = {"curves": "loss", "steps": "batch_loss", "affine": "values"}[table]
        array = values[column].combine_chunks()
        numbers = (array.flatten() if table == "affine" else array).to_numpy(zero_copy_only=False).copy()
        whole = numbers.view(np.uint64 if numbers.dtype == np.float64 else np.uint32)
        whole[0] ^= 1
        fresh = pa.array(numbers)
        if table == "affine":
            fresh = pa.ListArray.from_arrays(array.offsets, fresh, type=array.type)
        index = values.schema.get_field_index(column)
        values = values.set_column(index, values.schema.field(index), fresh)
    pq.write_table(values, path, compression="gzip", store_schema=True)
    document = json.loads((folder / "run.json").read_text())
    document["tables"][table] = {
        "rows": values.num_rows,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (folder / "run.json").write_text(json.dumps(document))


@pytest.fixture
def here(tmp_path):
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


def test_runs_that_are_not_here_are_copied_whole_and_a_second_merge_does_nothing(example, vanilla, here, there):
    example.finish(here)
    vanilla.record(there, [3]).finish({**vanilla.document, "status": "diverged", "diverged_at_step": 12})
    source = contents(there)
    assert verdicts(here, there) == {vanilla.identity.run_id: ("copied", "")}
    assert contents(there) == source
    assert contents(here / vanilla.identity.run_id) == contents(there / vanilla.identity.run_id)
    assert set(ResultStore(here).finished()) == {RUN, vanilla.identity.run_id}
    assert sorted(path.name for path in here.iterdir()) == sorted([RUN, vanilla.identity.run_id]), (
        "nothing is left over"
    )

    stamps = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert verdicts(here, there) == {vanilla.identity.run_id: ("identical", "")}
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*") if path != here} == {
        path: stamp for path, stamp in stamps.items() if path != here
    }


def test_a_merge_into_a_folder_that_does_not_exist_makes_it(example, here, there):
    example.finish(there)
    assert verdicts(here / "deep" / "results", there) == {RUN: ("copied", "")}
    assert ResultStore(here / "deep" / "results").read(RUN, "affine").num_rows > 0


def test_other_contents_are_reported_with_their_tables_and_never_overwritten(example, here, there):
    example.finish(here)
    altered(example, value=1.25).record(there).finish({**DOCUMENT, "provenance": {"device": "a GPU"}})
    before = contents(here), contents(there)
    assert verdicts(here, there) == {RUN: ("conflict", "curves differs; device cpu here, a GPU there")}
    assert (contents(here), contents(there)) == before


def test_every_differing_circumstance_is_named_beside_a_conflict(example, here, there):
    platform = {"system": "Linux", "machine": "x86_64", "processor": "A", "instructions": "ab", "processors": 2}
    ours = {
        "device": "cpu", "threads": 1, "platform": platform, "versions": {"torch": "2.13.0", "python": "3.11.7"},
        "flags": {"tf32": False, "MKL_CBWR": "COMPATIBLE", "NVIDIA_TF32_OVERRIDE": "0"},
    }  # fmt: skip
    theirs = {
        "device": "cpu", "threads": 4, "platform": {**platform, "instructions": "cd", "processors": 64},
        "versions": {"torch": "2.12.0", "python": "3.12.0"}, "flags": {"tf32": False, "DNNL_MAX_CPU_ISA": "AVX2"},
    }  # fmt: skip
    example.record(here).finish({**DOCUMENT, "provenance": ours})
    altered(example, value=1.25).record(there).finish({**DOCUMENT, "provenance": theirs})
    assert verdicts(here, there)[RUN] == (
        "conflict",
        "curves differs; instructions ab here, cd there; torch 2.13.0 here, 2.12.0 there; threads 1 here, 4 there; "
        "DNNL_MAX_CPU_ISA unset here, AVX2 there; MKL_CBWR COMPATIBLE here, unset there",
    )


def test_another_end_of_the_same_run_is_a_conflict(example, here, there):
    example.finish(here)
    example.record(there).finish({**DOCUMENT, "status": "diverged", "diverged_at_step": 5})
    assert verdicts(here, there) == {RUN: ("conflict", "finished here, diverged at step 5 there")}


def test_not_a_number_equals_itself_but_no_other_bits(example, here, there):
    altered(example, value=float("nan")).finish(here)
    altered(example, value=float("nan")).finish(there)
    rewrite(there / RUN, "curves")
    assert verdicts(here, there) == {RUN: ("identical", "")}
    shutil.rmtree(there)
    altered(example, value=-float("nan")).finish(there)
    assert verdicts(here, there)[RUN][0] == "conflict"


@pytest.mark.parametrize("table", ["curves", "steps", "affine"])
def test_the_same_numbers_in_other_bytes_are_the_same_contents(table, example, here, there):
    example.finish(here)
    example.finish(there)
    rewrite(there / RUN, table)
    assert (here / RUN / f"{table}.parquet").read_bytes() != (there / RUN / f"{table}.parquet").read_bytes()
    assert verdicts(here, there) == {RUN: ("identical", "")}


@pytest.mark.parametrize("table", ["curves", "steps", "affine"])
def test_one_bit_of_one_number_is_a_conflict(table, example, here, there):
    example.finish(here)
    example.finish(there)
    rewrite(there / RUN, table, flip=True)
    assert verdicts(here, there) == {RUN: ("conflict", f"{table} differs")}


def test_times_may_differ(example, here, there):
    example.finish(here)
    other = dataclasses.replace(example, calls=example.calls[:-3])
    recorder = other.record(there)
    recorder.add("timing", columns("timing", [(4, 99.0, 0.25, 103.0)]))
    example.play(recorder, len(example.calls) - 2, len(example.calls))
    recorder.finish(DOCUMENT)
    assert (here / RUN / "timing.parquet").read_bytes() != (there / RUN / "timing.parquet").read_bytes()
    assert verdicts(here, there) == {RUN: ("identical", "")}


def test_a_result_beats_a_failed_an_unfinished_and_a_damaged_run(example, vanilla, here, there):
    example.record(here, [3]).fail(example.failure)
    vanilla.record(here, [3])
    for each in (example, vanilla):
        each.finish(there)
    assert verdicts(here, there) == {
        RUN: ("replaced", "failed here, finished there"),
        vanilla.identity.run_id: ("replaced", "unfinished here, finished there"),
    }
    assert contents(here) == contents(there)
    (here / RUN / "run.json").write_text("{")
    assert verdicts(here, there)[RUN] == ("replaced", "damaged here, finished there")
    assert contents(here) == contents(there)


def test_what_is_here_is_kept_where_the_other_is_worth_less(example, vanilla, here, there):
    example.finish(here)
    vanilla.record(here, [3])
    for each in (example, vanilla):
        each.record(there).fail(each.failure)
    before = contents(here)
    assert verdicts(here, there) == {
        RUN: ("kept", "finished here, failed there"),
        vanilla.identity.run_id: ("kept", "unfinished here, failed there"),
    }
    assert contents(here) == before


def test_a_run_that_somebody_is_at_work_on_here_is_left_to_them(example, here, there):
    example.record(here, [3])
    example.finish(there)
    lock = acquire_lock(here / RUN)
    assert lock is not None
    with lock:
        before = contents(here)
        assert verdicts(here, there) == {RUN: ("kept", "under way here")}
        assert contents(here) == before
        lock.check()
    assert verdicts(here, there) == {RUN: ("replaced", "unfinished here, finished there")}
    assert contents(here) == contents(there)


def test_a_run_that_begins_here_during_the_merge_is_left_alone(example, here, there, monkeypatch):
    example.finish(there)
    stage = merge._stage

    def and_meanwhile(run, target):
        example.record(here, [3])
        begun.enter_context(acquire_lock(here / RUN))
        return stage(run, target)

    monkeypatch.setattr(merge, "_stage", and_meanwhile)
    with ExitStack() as begun:
        assert verdicts(here, there) == {RUN: ("kept", "under way here")}
    assert ResultStore(here).unfinished() == [RUN]


def test_a_failed_run_comes_over_as_its_record_and_an_unfinished_one_not_at_all(example, vanilla, here, there):
    example.record(there, [3]).fail(example.failure)
    vanilla.record(there, [3])
    assert verdicts(here, there) == {RUN: ("copied", "failed there"), vanilla.identity.run_id: ("unfinished", "")}
    assert contents(here) == {f"{RUN}/run.json": (there / RUN / "run.json").read_bytes()}
    assert ResultStore(here).documents()[0].error == "boom"


@pytest.mark.parametrize("table", ["curves", "affine"])
def test_a_damaged_table_is_not_copied_and_the_others_are(table, example, vanilla, here, there):
    example.finish(there)
    vanilla.finish(there)
    path = there / RUN / f"{table}.parquet"
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)
    found = verdicts(here, there)
    assert found[vanilla.identity.run_id] == ("copied", "")
    assert found[RUN][0] == "damaged"
    assert f"{path} is damaged" in found[RUN][1]
    assert set(ResultStore(here).finished()) == {vanilla.identity.run_id}
    assert not (here / RUN).exists()
    path.unlink()
    assert f"{table}.parquet is missing" in verdicts(here, there)[RUN][1]


def test_of_two_sources_that_disagree_the_first_counts_and_the_second_is_reported(example, here, there, tmp_path):
    example.finish(there)
    altered(example, value=1.25).finish(tmp_path / "elsewhere")
    merged = merge_stores(here, [there, tmp_path / "elsewhere"])
    assert [(run.source.name, run.verdict) for run in merged] == [("there", "copied"), ("elsewhere", "conflict")]
    assert contents(here) == contents(there)


def test_a_merge_that_dies_leaves_no_half_run(example, vanilla, here, there, monkeypatch):
    vanilla.finish(here)
    example.finish(there)
    before = contents(here)

    def full(source, target):
        if target.name == "steps.parquet":
            raise OSError(28, "No space left on device")
        shutil.copyfile(source, target)

    monkeypatch.setattr(merge, "_copy", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        merge_stores(here, [there])
    assert str(here) in str(caught.value)
    assert contents(here) == before
    monkeypatch.undo()
    assert verdicts(here, there) == {RUN: ("copied", "")}


def test_where_the_last_rename_fails_what_was_here_is_put_back(example, here, there, monkeypatch):
    example.record(here, [3]).fail(example.failure)
    example.finish(there)
    before = contents(here)
    replace = Path.replace

    def refuse(self, target):
        if self.parent.name == ".staged" and self.name == "run.json":
            raise OSError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        merge_stores(here, [there])
    assert contents(here) == before


def test_mistakes_are_refused_before_anything_is_written(example, here, there, tmp_path):
    example.finish(there)
    for sources, message in (
        ([there, tmp_path / "nowhere"], "no results in .*nowhere"),
        ([tmp_path], f"no results in {tmp_path}"),
    ):
        with pytest.raises(UserError, match=message):
            merge_stores(here, sources)
    assert not here.exists()
    with pytest.raises(UserError, match="cannot be merged into itself"):
        merge_stores(there, [there / "." / ".." / "there"])


@pytest.mark.parametrize(("version", "message"), [(1, "older bnbench"), (SCHEMA_VERSION + 1, "newer bnbench")])
def test_results_of_another_version_are_refused_before_anything_is_written(version, message, example, here, there):
    example.finish(there)
    path = there / RUN / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": version}))
    with pytest.raises(UserError, match=message):
        merge_stores(here, [there])
    assert not here.exists()


@pytest.mark.parametrize("change", [{"setting_id": "digits_toy-000000000000"}, {"problem": "digits_other"}])
def test_a_run_that_disagrees_with_itself_or_its_tables_is_not_copied(change, example, here, there):
    example.finish(there)
    path = there / RUN / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    verdict, detail = verdicts(here, there)[RUN]
    assert verdict == "damaged"
    assert str(there / RUN) in detail
    assert contents(here) == {}


# ---- the command


def test_the_command_counts_names_what_differs_and_exits_1(example, vanilla, here, there):
    example.finish(here)
    altered(example, value=1.25).finish(there)
    vanilla.finish(there)
    result = invoke("merge", there, "--results", here)
    assert result.exit_code == 1
    assert f"conflict  {RUN}  of {there}: curves differs" in result.stdout
    assert "1  copied" in result.stdout
    assert "1  conflict" in result.stdout
    shutil.rmtree(there / RUN)
    again = invoke("merge", there, "--json", "--results", here)
    assert again.exit_code == 0
    assert json.loads(again.stdout) == [
        {"run_id": vanilla.identity.run_id, "source": str(there), "verdict": "identical", "detail": ""}
    ]


def test_two_merges_at_once_count_every_run_once(here, there):
    """Two processes with the same runs, into one folder: one of them copies a run, the other finds it there."""
    runs = [SyntheticRun("digits_mlp", "bn", seed, [0.1, 0.5, 0.7], size="tiny") for seed in range(40)]
    build_store(there, runs)
    at_once = [start("merge", there, "--json", "--results", here) for _ in range(2)]
    said = [process.communicate() for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0], said
    verdicts_of = [{run["run_id"]: run["verdict"] for run in json.loads(stdout)} for stdout, _ in said]
    assert {run.spec().run_id for run in runs} == verdicts_of[0].keys() == verdicts_of[1].keys()
    for run_id, first in verdicts_of[0].items():
        assert {first, verdicts_of[1][run_id]} == {"copied", "identical"}
    assert contents(here) == contents(there)
