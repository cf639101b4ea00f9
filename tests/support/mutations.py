"""Odd values in one `run.json` of a results folder, and what every reading command must make of them.

A mutation changes, drops or adds one leaf. Whatever it is, a command ends without a traceback and without refusing the
rest: it says the same as for the folder without that run, or (where the leaf decides nothing) as for the folder as it
was.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnbench.problem import find_problem
from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

Where = tuple[str | int, ...]

GONE = object()
"""Drop the key."""

VALUES: tuple[Any, ...] = (
    GONE, None, True, "yes", "", "\x1b[2J\x07", "\ud800", 0, -1, 10**30, 0.25, float("nan"), float("inf"), [], {},
    [None], {"x": 1}, "../../etc", "ab" * 32,
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One leaf of a document, and what is put there."""

    where: Where
    value: Any

    def __str__(self) -> str:
        told = "dropped" if self.value is GONE else repr(self.value)[:40]
        return f"{'.'.join(map(str, self.where))} = {told}"

    def applied(self, document: dict[str, Any]) -> dict[str, Any]:
        """A copy of the document with the mutation."""
        changed = copy.deepcopy(document)
        inside: Any = changed
        for key in self.where[:-1]:
            inside = inside[key]
        if self.value is GONE:
            del inside[self.where[-1]]
        else:
            inside[self.where[-1]] = self.value
        return changed


def leaves(value: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Every place in a document: leaves, and the objects and lists that hold them."""
    if where:
        yield where, value
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, (*where, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from leaves(below, (*where, index))


def mutations(document: dict[str, Any]) -> list[Mutation]:
    """Every mutation of every place; those that change nothing are left out."""
    found = [Mutation(where, value) for where, was in leaves(document) for value in VALUES if not _same(value, was)]
    numbers = [(where, was) for where, was in leaves(document) if isinstance(was, int | float)]
    found += [Mutation(where, was + 1) for where, was in numbers if not isinstance(was, bool)]
    found += [Mutation((*where, "colour"), "red") for where, was in leaves(document) if isinstance(was, dict)]
    return found


def _same(value: Any, was: Any) -> bool:
    return type(value) is type(was) and value == was


PROBLEM = "digits_mlp"

STUDY = f"""
summary = "one claim that the digits decide"
source = "this test"
reading = "as it stands"

[[experiments]]
id = "hidden"
summary = "the default placement"
problems = ["{PROBLEM}"]
variants = ["vanilla", "bn_gamma_beta"]
placements = ["hidden"]
claims = ["better"]

[[claims]]
id = "better"
figure = "1"
text = "BN ends higher than vanilla"
[[claims.parts]]
rule = "greater"
measure = "final accuracy"
problem = "{PROBLEM}"
a = "bn_gamma_beta"
b = "vanilla"
"""

COMPARED: Mapping[str, tuple[str, ...]] = {
    "rank": ("rank", "--json"),
    "activity": ("activity", "--json"),
    "claims": ("claims", "--json", "--study", "STUDY"),
}
"""Commands whose answer must be that of the folder without the run, or as it was."""

SURVIVING: Mapping[str, tuple[str, ...]] = {
    "status": ("status",),
    "status --runs": ("status", "--runs"),
    "status --json": ("status", "--json"),
    "rank, as text": ("rank",),
    "check": ("check", "--format", "json"),
    "plan": ("plan", PROBLEM, "--size", "tiny", "--variant", "all", "--seeds", "2"),
    "plot": ("plot", "--kind", "curves", "--size", "tiny", "--output", "OUTPUT"),
    "report": ("report", "--output", "OUTPUT.html"),
}
"""Commands that must come to their end: exit code 0, or 1 where something was found wrong."""

BELIEVED = ("provenance", "data_origin", "error")
"""Leaves that say something of a run and decide nothing: an odd one may change what is said."""


class Target:
    """A results folder of real tables, one of whose runs is mutated again and again."""

    def __init__(self, folder: Path) -> None:
        """Two variants, two seeds; the first run of the normalised variant is the victim."""
        self.folder = folder
        self.results = folder / "results"
        (folder / "small.toml").write_text(STUDY, encoding="utf-8")
        seeds = find_problem(PROBLEM).problem().first_seeds(2)
        epochs = find_problem(PROBLEM).problem("tiny").training.epochs
        curve = [0.1, 0.5, 0.7, 0.8][: epochs + 1]
        trajectory = ([0, 5], [[1.0, 1.0], [0.5, 1.25]])
        affine = {(f"dense{index}", parameter): trajectory for index in (1, 2, 3) for parameter in ("gamma", "beta")}
        build_store(
            self.results,
            [
                SyntheticRun(PROBLEM, variant, seed, curve, size="tiny", affine=affine if variant != "vanilla" else {})
                for variant in ("vanilla", "bn_gamma_beta")
                for seed in seeds
            ],
        )
        self.victim = next(self.results.glob(f"*bn_gamma_beta*s{seeds[0]}*"))
        self.others = [path.name for path in sorted(self.results.iterdir()) if path != self.victim]
        self.document: dict[str, Any] = json.loads((self.victim / "run.json").read_text(encoding="utf-8"))
        self.as_it_was = {name: self.answer(name) for name in COMPARED}
        aside = self.victim.rename(folder / "aside")
        self.without = {name: self.answer(name) for name in COMPARED}
        aside.rename(self.victim)

    def call(self, words: tuple[str, ...]) -> Any:
        """Run a command on the folder, in this process."""
        meant = [
            word.replace("OUTPUT", str(self.folder / "output")).replace("STUDY", str(self.folder / "small.toml"))
            for word in words
        ]
        return invoke(*meant, "--results", self.results)

    def answer(self, command: str) -> Any:
        """What a command says as JSON, but for its warnings."""
        return _without_warnings(self.call(COMPARED[command]).stdout)

    def wrong(self, mutation: Mutation, command: str) -> str | None:
        """What is wrong with a command's answer about the mutated folder; None where nothing is."""
        self.write(mutation.applied(self.document))
        try:
            result = self.call({**COMPARED, **SURVIVING}[command])
        finally:
            self.write(self.document)
            shutil.rmtree(self.folder / "output", ignore_errors=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return f"{type(result.exception).__name__}: {result.exception}"
        if result.exit_code not in (0, 1):
            return f"exit code {result.exit_code}: {result.stderr.strip()[:300]}"
        decided = command in COMPARED and mutation.where[0] not in BELIEVED
        if decided and _without_warnings(result.stdout) not in (self.as_it_was[command], self.without[command]):
            return "neither the answer without the run nor that with it as it was"
        return None

    def merged(self, mutation: Mutation) -> str | None:
        """What is wrong with merging the mutated folder into an empty one; None where nothing is."""
        self.write(mutation.applied(self.document))
        here = self.folder / "merged"
        try:
            result = invoke("merge", self.results, "--results", here)
            came = sorted(path.name for path in here.iterdir()) if here.is_dir() else []
        finally:
            self.write(self.document)
            shutil.rmtree(here, ignore_errors=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return f"{type(result.exception).__name__}: {result.exception}"
        if [name for name in came if name != self.victim.name] != self.others:
            return f"the other runs did not come over: exit code {result.exit_code}, {result.stderr.strip()[:300]}"
        if result.exit_code == 0 and self.victim.name not in came:
            return "exit code 0, and the run did not come over"
        return None

    def write(self, document: dict[str, Any]) -> None:
        """Put a document in the victim's place."""
        text = json.dumps(document, sort_keys=True, indent=1)  # NaN and Infinity as Python spells them
        (self.victim / "run.json").write_text(text, encoding="utf-8")


def _without_warnings(told: str) -> Any:
    answer = json.loads(told)
    if isinstance(answer, dict):
        answer.pop("warnings", None)
    return answer
