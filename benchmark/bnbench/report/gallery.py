"""Figures from recorded runs: the study's by number, and any other by content, each with caption and command."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from string import ascii_uppercase

from bnbench.analysis.comparison import Comparison, VariantRow, find_wanted, seed_order
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import NEUTRAL
from bnbench.errors import UserError
from bnbench.report.captions import described, file_name, joined, kind_command, lettered, plot_command
from bnbench.report.catalogue import THESIS, StudyFigure
from bnbench.report.curves import CurveGroup, training_curves
from bnbench.report.decimation import even_steps
from bnbench.report.export import Drawing
from bnbench.report.page import TEXT, Page
from bnbench.report.style import BETA, GAMMA, GREEK, variant_label
from bnbench.report.titles import comparison_title, described_runs, problem_label, title_of
from bnbench.report.trajectories import ModelTrajectories, affine_contours, resolution

ABOUT_CURVES = (
    "Training loss (cross-entropy, without the ℓ2 term) and training accuracy, on train_eval with running statistics, "
    "before the first step and after every epoch. Lines: mean over the seeds; bands: from the lowest to the highest "
    "seed. Where a seed diverged there is no mean: each seed is a thin line, a diverged one ends in a cross at the "
    "step where it stopped. Triangles at the upper edge: values above the axis or not finite."
)


class NothingToDrawError(UserError):
    """There are no runs for a figure; the message says which command makes them."""


def draw_study_figure(
    results: Results, figure: StudyFigure, size: str = "full", page: Page = TEXT, *, seed: int | None = None
) -> Drawing:
    """A figure of the study, of what there is; what is missing is named in the caption.

    Args:
        results: an opened results folder.
        figure: which.
        size: of the problems, "full" or "tiny".
        page: the size of the figure.
        seed: of the runs whose γ and β are drawn; the first that all models of a placement have if None.

    Raises:
        NothingToDrawError: none of its runs is there.
        UserError: a table is damaged.
    """
    # A run whose table is damaged is found out first, so that the figure is of those that are left.
    for group in find_wanted(results.records, figure.parts, size):
        if group is not None:
            deque(results.sound(group.records, "curves" if figure.kind == "curves" else "affine"), maxlen=0)
    found = find_wanted(results.records, figure.parts, size)
    groups = [group for group in found if group is not None]
    if not groups:
        raise NothingToDrawError(
            f"figure {figure.number}: none of its runs is in {results.path}",
            hint=f"This makes them: {study_command(figure, size)}",
        )
    absent = [
        title_of(each.problem, size, each.placement, each.lr_factor, 0.0)
        for each, group in zip(figure.parts, found, strict=True)
        if group is None
    ]
    head = f"Figure {figure.number} of {figure.source}: {figure.title}."
    tail = f" Not there at all: {'; '.join(absent)}." if absent else ""
    words = ["--study", figure.study] if figure.study != THESIS else []
    words += ["--figure", figure.number, *(["--size", size] if size != "full" else [])]
    command = plot_command(*words, page=page, seed=seed)
    name = f"figure-{figure.number}" + ("" if size == "full" else f"-{size}")
    if figure.study != THESIS:
        name = f"{figure.study}-{name}"
    if figure.kind == "curves":
        letters = [f"({letter}) " for letter, group in zip(figure.letters, found, strict=True) if group is not None]
        read = [curve_group(results, group, letter) for group, letter in zip(groups, letters, strict=True)]
        body, drawn = f"{ABOUT_CURVES} {described(groups, letters)}", training_curves(read, page)
    else:
        wanted = [
            (group, [(letter, row) for letter, name in models for row in group.rows if row.name == name])
            for group, models in zip(found, _lettered_models(figure), strict=True)
            if group is not None
        ]
        models, sentences = contour_models(results, wanted, figure.kind, page, seed)
        body, drawn = f"{about_contours(figure.kind)} {sentences}", affine_contours(models, figure.kind, page)
    return Drawing(name, f"Figure {figure.number}: {figure.title}", f"{head} {body}{tail}", command, page, drawn)


def study_command(figure: StudyFigure, size: str) -> str:
    """The command that trains a figure's runs."""
    return f"bnbench study {figure.study} --only {figure.experiment}" + ("" if size == "full" else f" --size {size}")


def draw_curves(
    results: Results,
    groups: Sequence[Comparison],
    page: Page = TEXT,
    *,
    number: int | None = None,
    whole: Sequence[Comparison] = (),
    name: str | None = None,
) -> Drawing:
    """Training loss and accuracy of groups of one setting or several.

    Args:
        results: an opened results folder.
        groups: at least one.
        page: the size of the figure.
        number: of the page, where there are several.
        whole: the groups of all pages, which the command is to draw.
        name: of the file; made from the kind and the groups if None.

    Raises:
        UserError: a table is damaged.
    """
    letters = lettered(groups)
    read = [curve_group(results, group, letter) for group, letter in zip(groups, letters, strict=True)]
    title = f"Training curves of {joined(dict.fromkeys(problem_label(g.problem, g.size) for g in groups))}"
    return Drawing(
        name=name or file_name("curves", groups, number),
        title=title,
        caption=f"{title}. {ABOUT_CURVES} {described(groups, letters)}",
        command=kind_command("curves", whole or groups, page),
        page=page,
        figure=training_curves(read, page),
    )


def draw_contours(
    results: Results, group: Comparison, parameter: str, page: Page = TEXT, seed: int | None = None
) -> Drawing | None:
    """γ or β of the variants of a group that learn it; None where none does.

    Args:
        results: an opened results folder.
        group: the runs.
        parameter: "gamma" or "beta".
        page: the size of the figure.
        seed: whose runs; the first that all these variants have if None.

    Raises:
        UserError: no run has that seed, or a table is damaged.
    """
    # The full BatchNorm first, as in the study: whoever learns both parameters comes before who learns one.
    learning = [row for row in group.rows if row.learns(parameter)]
    learning.sort(key=lambda row: -sum(map(row.learns, (GAMMA, BETA))))
    lettered_models = list(zip(ascii_uppercase, learning, strict=False))
    models, sentences = contour_models(results, [(group, lettered_models)], parameter, page, seed)
    if not models:
        return None
    title = f"{GREEK[parameter]} over training, {comparison_title(group)}"
    return Drawing(
        name=file_name(parameter, [group]),
        title=title,
        caption=f"{title}. {about_contours(parameter)} {sentences}",
        command=kind_command(parameter, [group], page, seed),
        page=page,
        figure=affine_contours(models, parameter, page),
    )


def curve_group(results: Results, group: Comparison, letter: str = "") -> CurveGroup:
    """A group's curves, read."""
    columns = ["run_id", "seed", "epoch", "step", "split", "statistics", "loss", "accuracy"]
    rows = results.curves(columns=columns, run_id=group.run_ids)
    return CurveGroup(
        title=f"{letter}{comparison_title(group)}",
        curves=rows.assign(variant=rows["run_id"].map(group.labels)),
        diverged=group.stopped_at,
        epochs=group.epochs,
    )


def about_contours(parameter: str) -> str:
    """What a contour figure shows, for its caption."""
    sign, neutral = GREEK[parameter], NEUTRAL[parameter]
    return (
        f"The {'scale' if parameter == 'gamma' else 'shift'} {sign} of every BatchNorm over training: a panel per "
        f"layer, training step up, channels across, sorted by their final value. One colour scale per model, shared "
        f"by its layers and centred at {neutral:g}, where {sign} does nothing. Contour lines (smoothed) at its "
        f"quarters: dashed below the centre, solid above."
    )


def contour_models(
    results: Results,
    wanted: Sequence[tuple[Comparison, Sequence[tuple[str, VariantRow]]]],
    parameter: str,
    page: Page,
    seed: int | None,
) -> tuple[list[ModelTrajectories], str]:
    """The models of a contour figure, read one trajectory at a time and no finer than the page can show.

    Args:
        results: an opened results folder.
        wanted: comparisons with the models that are drawn of each, (letter, row).
        parameter: "gamma" or "beta".
        page: the size of the figure.
        seed: whose runs; the first that all variants of a group have if None.

    Returns:
        The models, and what the caption says of them.

    Raises:
        UserError: no run has that seed, or a table is damaged.
    """
    chosen: list[tuple[str, Comparison, VariantRow, RunRecord]] = []
    sentences: list[str] = []
    for group, models in wanted:
        if not models:
            continue
        drawn = _seed_for(group, [row for _, row in models], seed)
        chosen += [
            (letter, group, row, record)
            for letter, row in models
            for record in row.records
            if record.identity.seed == drawn
        ]
        sentences.append(f"{comparison_title(group)}: drawn is seed {drawn}; {described_runs(group)}.")
    if not chosen:
        return [], ""
    most = resolution(page, len(chosen), max(len(record.normalised_slots) for *_, record in chosen))
    read: list[ModelTrajectories] = []
    for letter, group, row, record in chosen:
        title = f"({letter}) {variant_label(row.variant)}"
        if len(wanted) > 1:
            title += f", placement {group.placement}"
        if record.diverged_at_step is not None:
            title += f" (diverged at step {record.diverged_at_step})"
        slots = {
            slot: even_steps(results.trajectory(record.identity.run_id, slot, parameter), most)
            for slot in record.normalised_slots
        }
        read.append(ModelTrajectories(title, slots))
    return read, " ".join(sentences)


def _lettered_models(figure: StudyFigure) -> list[list[tuple[str, str]]]:
    """The models of each part of a figure of γ or β, (letter, variant); each keeps its letter, whoever is missing."""
    letters = iter(ascii_uppercase)
    return [[(next(letters), variant) for variant in part.variants] for part in figure.parts]


def _seed_for(group: Comparison, rows: Sequence[VariantRow], asked: int | None) -> int:
    """The seed whose runs are drawn."""
    have = [set(row.seeds) for row in rows]
    anywhere = set.union(*have)
    if asked is not None:
        if asked not in anywhere:
            known = ", ".join(map(str, seed_order(anywhere, group.problem, group.size)))
            raise UserError(f"no run with seed {asked}: {comparison_title(group)}", hint=f"Recorded seeds: {known}.")
        return asked
    return seed_order(set.intersection(*have) or anywhere, group.problem, group.size)[0]
