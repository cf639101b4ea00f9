"""Targets: a level that training should reach, and where the number comes from."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag

from bnbench.measurement import Split
from bnbench.strict import Strict, to_tuple

Metric = Literal["loss", "accuracy"]


class RunsSource(Strict):
    """A target that was measured here."""

    run_ids: Annotated[tuple[str, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")]
    statistic: str
    """How the level follows from the runs, e.g. "median over seeds of the final value, vanilla"."""


class DeepOBSSource(Strict):
    """A target that is a row of DeepOBS's published baselines."""

    deepobs: str
    """The release or commit of the table."""
    problem: str
    optimizer: str
    learning_rate: float
    epoch: int
    seeds: Annotated[tuple[int, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    statistic: str


def _kind_of_source(value: object) -> str:
    if isinstance(value, BaseModel):
        return type(value).__name__
    return "DeepOBSSource" if isinstance(value, dict) and "deepobs" in value else "RunsSource"


Source = Annotated[
    Annotated[RunsSource, Tag("RunsSource")] | Annotated[DeepOBSSource, Tag("DeepOBSSource")],
    Discriminator(_kind_of_source),
]
"""Where a level comes from. The key `deepobs` tells the kinds apart, so a mistake gets the message of one of them."""


class Target(Strict):
    """A level that training should reach, and where the number comes from. Without a source there is no target."""

    metric: Metric
    split: Split
    level: float
    source: Source

    @property
    def sign(self) -> Literal["≥", "≤"]:
        """On which side of the level a value is at the target: above for accuracy, below for loss."""
        match self.metric:
            case "accuracy":
                return "≥"
            case "loss":
                return "≤"
            case other:
                assert_never(other)

    def reached(self, value: float) -> bool:
        """Whether a value is at the target: at least the level for accuracy, at most for loss; never for NaN."""
        return value >= self.level if self.sign == "≥" else value <= self.level
