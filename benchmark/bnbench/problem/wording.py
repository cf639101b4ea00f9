"""What a mistake in a problem file is called: which key, what was given, what is known there."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from bnbench.errors import cut, nearest
from bnbench.problem.model import OVERLAYS, Problem
from bnbench.problem.settings import Augmentation, Evaluation, Probes, Snapshots, Training
from bnbench.problem.target import DeepOBSSource, RunsSource, Target

_GIVEN = "A problem's name is its file's; its size is full, or that of a table such as [tiny]."

NOT_GIVEN = {
    "name": _GIVEN,
    "size": _GIVEN,
    "dataset_file": 'Arrays of your own are named by the key dataset: dataset = "mine.npz".',
}
"""Fields of a problem that its file does not give, and where they come from."""


def explain(where: str, detail: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict of its own
    """One mistake in a line: the file, the key, what was given and what is known there."""
    location = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    key = cut(".".join(location))
    if detail["type"] == "extra_forbidden":
        known = [name for name in _fields_at(detail["loc"][:-1]) if name not in NOT_GIVEN]
        guess = nearest(location[-1], known)
        meant = f" Did you mean '{guess}'?" if guess else ""
        return f"{where}: unknown key '{key}'.{meant} Known keys here: {', '.join(known)}."
    if detail["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    if detail["type"] == "probe":
        return f"{where}: {key}: {detail['msg']}."
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {key} = {cut(repr(detail['input']))}: {message[:1].lower()}{message[1:]}."


def _is_union_branch(part: object) -> bool:
    return isinstance(part, str) and part in {"RunsSource", "DeepOBSSource"}


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The field names of the model that an error's location leads to."""
    tables: dict[int | str, type[BaseModel]] = {
        "training": Training,
        "augmentation": Augmentation,
        "evaluation": Evaluation,
        "snapshots": Snapshots,
        "probes": Probes,
        "targets": Target,
        "RunsSource": RunsSource,
        "DeepOBSSource": DeepOBSSource,
    }
    if not location:
        return [*Problem.model_fields, "dataset_name", *OVERLAYS]
    return next(list(tables[part].model_fields) for part in reversed(location) if part in tables)
