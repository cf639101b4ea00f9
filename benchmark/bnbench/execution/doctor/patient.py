"""What is trained to check a row: a small problem with the row in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bnbench.components.normalisers import NONE, NORMALISERS
from bnbench.components.reparametrisations import PLAIN, REPARAMETRISATIONS
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.execution.components import REGISTRIES
from bnbench.execution.selection import Grid, require_data, select
from bnbench.plan import RunSpec
from bnbench.problem import Problem

PROBLEM = "digits_3c3d"
"""What is trained unless something else is asked for: convolutions and dense layers, and images that are there."""

_SHORT: dict[str, object] = {"training.epochs": 2, "training.images": 96, "evaluation.images": 48}


@dataclass(frozen=True)
class Patient:
    """What is trained to check a row."""

    what: str
    """The row's table, a name of `bnbench.execution.components.REGISTRIES`."""
    name: str
    spec: RunSpec
    frozen: RunSpec
    """The same with as little learned as possible."""


def changes_for(what: str, name: str) -> dict[str, object]:
    """What the problem's settings are to be, for a row of such a table."""
    own: dict[str, dict[str, object]] = {
        "optimisers": {"training.optimiser": name},
        "rate_schedules": {"training.schedule": name},
        "probes": {f"probes.{name}": True},
    }
    return {**_SHORT, **own.get(what, {})}


def admit(what: str, name: str, problem: Problem) -> Patient:
    """The runs that a row is checked with.

    Args:
        what: its table.
        name: the row's.
        problem: what is trained, with `changes_for`.

    Raises:
        UserError: the row cannot be used.
    """
    REGISTRIES[what].get(name)
    fields = {"architectures": "architecture", "datasets": "dataset"}
    if what in fields:
        problem = problem.model_copy(update={fields[what]: name})
    row = _variant(what, name)
    if what == "variants":
        # All that it freezes is to stay as it is; what it learns is its own to say.
        frozen = row
    else:
        fixed = [_fixed(rule) for rule in (row.gamma, row.beta)]
        frozen = replace(
            row, name="doctor_frozen", train_weights=False, weights_in="output", gamma=fixed[0], beta=fixed[1]
        )
    return Patient(what, name, *(_spec(problem, each, what, name) for each in (row, frozen)))


def _variant(what: str, name: str) -> Variant:
    """What a row is looked at under: itself, one that it is a part of, or the usual."""
    if what == "variants":
        return VARIANTS.get(name)
    if what == "normalisers":
        return _of_parts(name, PLAIN, affine=True)
    if what == "reparametrisations":
        row = REPARAMETRISATIONS.get(name)
        normaliser = "batch" if row.needs_normaliser else NONE
        return _of_parts(normaliser, name, affine=row.takes_affine or row.needs_normaliser)
    return VARIANTS.get("bn_gamma_beta")


def _of_parts(normaliser: str, weights: str, *, affine: bool) -> Variant:
    status = Affine.LEARNED if affine else Affine.ABSENT
    rules = AffineRule(status, 1.0), AffineRule(status, 0.0)
    return Variant("doctor", "doctor", "a check", normaliser, *rules, weights=weights)


def _fixed(rule: AffineRule) -> AffineRule:
    return replace(rule, status=Affine.FIXED, learned_in=None) if rule.is_learned else rule


def _spec(problem: Problem, row: Variant, what: str, name: str) -> RunSpec:
    only_maps = what == "normalisers" and NORMALISERS.get(name).needs_map
    placements = ("first:3",) if only_maps else ()
    (spec,) = select(Grid((problem,), (row,), placements)).specs
    require_data([spec])
    return spec
