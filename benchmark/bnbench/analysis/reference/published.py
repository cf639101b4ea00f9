"""What others published about the full-size problems: DeepOBS's baselines, of vanilla networks trained with plain SGD.

They were made with other software and under other conditions, so this compares shapes and final accuracy, not points.
The conditions that differ are printed with every comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import stats

from bnbench.analysis.frames import Results
from bnbench.analysis.measures import tenth
from bnbench.analysis.records import RunRecord
from bnbench.disk import parse_json, read_regular, require_regular
from bnbench.errors import UserError
from bnbench.words import counted

NEAR = 1.25
"""A published learning rate is near ours where neither is more than this many times the other."""
TOLERANCE = 0.05
"""How far final test accuracies may lie apart in view of the conditions that differ."""
LEVEL = 0.01
SEEDS_FOR_TEST = 3
_VARIANT = "vanilla"
_SPLIT = "test"
_LIMIT = 1 << 20
"""Bytes of `provenance.json`, which has some thousand."""


class _Provenance(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    source: str
    licence: str
    taken: str
    caveats: list[str]


@dataclass(frozen=True, eq=False)
class Published:
    """Published learning curves, and what to bear in mind about them."""

    source: str
    caveats: tuple[str, ...]
    curves: pd.DataFrame
    """problem, learning_rate, seed, epoch, train_loss, train_accuracy, test_loss, test_accuracy"""


@dataclass(frozen=True)
class PublishedComparison:
    """Our seeds of one full-size vanilla setting beside the published ones at the nearest learning rate."""

    problem: str
    learning_rate: float
    published_rate: float
    seeds: int
    published_seeds: int
    epochs: int
    """Epochs that both have: the shape is compared over these."""
    correlation: float
    """Of the mean curves of test accuracy, epoch by epoch."""
    largest_gap: float
    """Between these curves."""
    final: float | None
    """Ours: test accuracy, mean over the last tenth of the epochs; None where training was shorter than theirs."""
    published_final: float
    published_deviation: float | None
    p: float | None
    """Of Student's two-sample t test; None where there is no test."""
    why_no_test: str | None

    @property
    def failed(self) -> bool:
        """Whether a test was made and the final accuracies lie further apart than noise and conditions explain."""
        far = self.final is not None and abs(self.final - self.published_final) > TOLERANCE
        return far and self.p is not None and self.p < LEVEL


def read_published(folder: Path) -> Published | None:
    """The published curves that travel with the package; None where there are none.

    Raises:
        UserError: the files are damaged.
    """
    path = folder / "deepobs" / "provenance.json"
    curves = path.with_name("vanilla_sgd.parquet")
    try:
        told = read_regular(path, _LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        provenance = _Provenance.model_validate(parse_json(told))
        require_regular(curves)
        table = pq.read_table(curves, partitioning=None)
    except (OSError, ValueError, ValidationError, pa.ArrowException) as error:
        raise UserError(f"{path.parent} cannot be read: {' '.join(str(error).split())}") from error
    return Published(provenance.source, tuple(provenance.caveats), table.to_pandas())


def compare_published(results: Results, published: Published) -> list[PublishedComparison]:
    """Every full-size vanilla setting that a published learning rate is near to, beside that.

    Raises:
        UserError: a table is damaged.
    """
    known = set(published.curves["problem"])
    groups: dict[tuple[str, str, float], list[RunRecord]] = {}
    for record in results.select(variant=_VARIANT, size="full", problem=sorted(known)):
        if record.status == "finished":
            identity = record.identity
            key = (identity.problem, identity.setting_id, identity.learning_rate)
            groups.setdefault(key, []).append(record)
    found = [_compare(results, published, records) for _, records in sorted(groups.items())]
    return [comparison for comparison in found if comparison is not None]


def _compare(results: Results, published: Published, records: Sequence[RunRecord]) -> PublishedComparison | None:
    identity = records[0].identity
    theirs = published.curves[published.curves["problem"] == identity.problem]
    rate = min(theirs["learning_rate"].unique(), key=lambda each: abs(math.log(each / identity.learning_rate)))
    if not 1 / NEAR <= rate / identity.learning_rate <= NEAR:
        return None
    theirs = theirs[theirs["learning_rate"] == rate]
    run_ids = [record.identity.run_id for record in records]
    frame = results.curves(columns=["seed", "epoch", "accuracy"], run_id=run_ids, split=_SPLIT, statistics="running")
    ours = frame.pivot_table(index="epoch", columns="seed", values="accuracy").sort_index()
    other = theirs.pivot_table(index="epoch", columns="seed", values="test_accuracy").sort_index()
    last, published_last = int(ours.index[-1]), int(other.index[-1])
    common = min(last, published_last)
    mean = ours.loc[:common].mean(axis=1).to_numpy(np.float64)
    published_mean = other.loc[:common].mean(axis=1).to_numpy(np.float64)
    published_finals = _finals(other, published_last)
    finals = _finals(ours, last) if last >= published_last else None
    p, why = _test(finals, published_finals, published_last)
    return PublishedComparison(
        problem=identity.problem,
        learning_rate=identity.learning_rate,
        published_rate=float(rate),
        seeds=ours.shape[1],
        published_seeds=other.shape[1],
        epochs=common,
        correlation=_correlation(mean, published_mean),
        largest_gap=float(np.abs(mean - published_mean).max()),
        final=None if finals is None else float(finals.mean()),
        published_final=float(published_finals.mean()),
        published_deviation=float(published_finals.std(ddof=1)) if len(published_finals) > 1 else None,
        p=p,
        why_no_test=why,
    )


def _finals(table: pd.DataFrame, epochs: int) -> npt.NDArray[np.float64]:
    """Per seed, the mean over the last tenth of the epochs."""
    return table.loc[epochs - tenth(epochs) + 1 : epochs].mean(axis=0).to_numpy(np.float64)


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _test(
    ours: npt.NDArray[np.float64] | None, theirs: npt.NDArray[np.float64], epochs: int
) -> tuple[float | None, str | None]:
    if ours is None:
        return None, f"no final accuracy to compare: theirs is after {epochs} epochs"
    if len(theirs) < SEEDS_FOR_TEST:
        return None, f"no test: they published {counted(len(theirs), 'seed')} at that rate"
    if len(ours) < 2:
        return None, "no test: one seed of ours"
    result = stats.ttest_ind(ours, theirs, equal_var=False)
    return float(result.pvalue), None
