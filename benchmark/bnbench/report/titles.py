"""What comparisons are called on figures, and what a caption must say of their runs."""

from __future__ import annotations

from bnbench.analysis.comparison import USUAL_PLACEMENT, Comparison
from bnbench.analysis.naming import FULL, data_in_a_sentence, size_and_data, with_remark
from bnbench.analysis.settings import problem_at
from bnbench.analysis.variant_labels import symbol_of
from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.placements import NOWHERE
from bnbench.data.dataset import title_of as title_of_data
from bnbench.words import counted

_NOT_REMARKED = {"embedded", "official archive"}
"""Kinds of copy that go without saying."""


def problem_label(problem: str, remark: str | None = None) -> str:
    """A problem as people write it, e.g. "CIFAR-10 3C3D"; its id where its file is not known.

    Args:
        problem: its id.
        remark: what must be said of size and data, if anything (`bnbench.analysis.naming`).
    """
    known = problem_at(problem, "full")
    name = problem
    if known is not None:
        title = title_of_data(known.dataset).replace("Handwritten digits", "Digits")
        name = f"{title} {ARCHITECTURES.get(known.architecture).title}"
    return with_remark(name, remark)


def planned_remark(problem: str, size: str) -> str | None:
    """What must be said of the size and the data of runs that a study asks for."""
    known = problem_at(problem, size)
    if known is None:
        return None if size == FULL else size
    return size_and_data([problem], [size], known.dataset)


def title_of(problem: str, remark: str | None, placement: str, lr_factor: float | None, learning_rate: float) -> str:
    """A heading: problem, placement and learning rate, the latter two where they are not the usual ones."""
    parts = [problem_label(problem, remark)]
    if placement == NOWHERE:
        parts.append("no BatchNorm")
    elif placement != USUAL_PLACEMENT:
        parts.append(f"placement {placement}")
    if lr_factor is None:
        parts.append(f"learning rate {learning_rate:.3g}")
    elif lr_factor != 1:
        parts.append(f"learning rate × {lr_factor:g}")
    return ", ".join(parts)


def comparison_title(compared: Comparison) -> str:
    """A heading for a comparison, with its learning rate where that is not the problem's own."""
    return title_of(compared.problem, compared.remark, compared.placement, compared.lr_factor, compared.learning_rate)


def placement_title(compared: Comparison) -> str:
    """A heading for a comparison without its learning rate."""
    return title_of(compared.problem, compared.remark, compared.placement, 1.0, compared.learning_rate)


def circumstances(compared: Comparison) -> str:
    """Placement and learning rate, without the problem."""
    factor = compared.lr_factor
    rate = f"× {factor:g}" if factor is not None else f"{compared.learning_rate:.3g}"
    place = "no BatchNorm" if compared.placement == NOWHERE else compared.placement
    return place if factor == 1 else f"{place}, learning rate {rate}"


def described_runs(compared: Comparison) -> str:
    """What a caption must say of the runs: rate, seeds, epochs, data, what diverged and what is missing."""
    seeds = compared.seeds
    facts = [
        f"learning rate {compared.learning_rate:.6g}",
        f"{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})",
        f"{compared.epochs} epochs",
    ]
    if compared.overrides:
        facts.append(f"not at the problem's own settings: {', '.join(compared.overrides)}")
    if compared.size != FULL:
        facts.append(f"{compared.size} size, on {data_in_a_sentence(compared.dataset)}")
    origins = {record.data_origin for record in compared.records} - _NOT_REMARKED
    facts.append(", ".join([f"data {' and '.join(each[:8] for each in compared.fingerprints)}", *sorted(origins)]))
    facts += compared.cautions
    lacking = [symbol_of(variant) for variant in compared.missing]
    for row in compared.rows:
        if row.stopped_at:
            steps = ", ".join(map(str, row.stopped_at.values()))
            facts.append(f"{row.symbol}: {row.diverged} of {len(row.records)} diverged, at step {steps}")
        absent = [seed for seed in seeds if seed not in row.seeds]
        if absent:
            lacking.append(f"{row.symbol} seed{'s' if len(absent) > 1 else ''} {', '.join(map(str, absent))}")
    if lacking:
        facts.append(f"missing: {'; '.join(lacking)}")
    return "; ".join(facts)
