"""Training accuracy minus vanilla's, paired by seed: over the epochs, and at the end with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.ranking import rank
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL, PairedDifference, t_interval
from bnbench.report.captions import lettered
from bnbench.report.figures.curves import CurveGroup, curve_group
from bnbench.report.figures.kind import FigureKind, Labels, Portion, Request, by_setting_in_pages, labelled
from bnbench.report.figures.parts import BAND, Floats, legend_room, line_style, mark_every, variant_legend
from bnbench.report.page import Page
from bnbench.report.style import DIFFERENCE_LABEL, EPOCH_LABEL, Look, looks_of, variant_label

BASELINE = "vanilla"
ROW_HEIGHT = 0.27
"""Height of a row of axes, in page widths; a narrow page has higher ones."""
LINES_A_NAME = 1.3
"""Height of a variant's row on the right, in lines of small type; `LINES_BESIDE` is what stands above and below."""
LINES_BESIDE = 6
FEW_EPOCHS = 40
"""Up to so many, the ends of the intervals are drawn as lines; more of them hide the curves."""
ABOUT = (
    "Training accuracy minus vanilla's, paired by seed, on train_eval with running statistics. Left: after every "
    "epoch, the mean over the seeds with its pointwise 95 % t interval (from three seeds; cut off at 100 points). "
    "Right: the final difference, the mean over the last tenth of the epochs, with its 95 % t interval."
)
_ON_THE_WAY, _FINAL = "epochs", "final"


@dataclass(frozen=True)
class EpochDifferences:
    """A variant's training accuracy minus vanilla's, paired by seed, at every epoch that all paired seeds have."""

    epochs: Floats
    mean: Floats
    low: Floats | None
    """Lower end of the 95 % t interval at each epoch; None with fewer than three seeds."""
    high: Floats | None


def epoch_differences(group: CurveGroup, variant: str) -> EpochDifferences:
    """A variant's accuracy minus vanilla's at every epoch, over the seeds that both have."""
    rows = group.training()
    own, base = (
        rows[rows["variant"] == name].pivot(index="epoch", columns="seed", values="accuracy")
        for name in (variant, BASELINE)
    )
    differences = (own - base).dropna(axis="columns", how="all").dropna(axis="index")
    values = differences.to_numpy(np.float64)
    epochs, mean = differences.index.to_numpy(np.float64), values.mean(axis=1)
    if values.shape[1] < SEEDS_FOR_INTERVAL:
        return EpochDifferences(epochs, mean, None, None)
    intervals = [t_interval(row) for row in values]
    low, high = (np.array([getattr(each, end) for each in intervals]) for end in ("low", "high"))
    return EpochDifferences(epochs, mean, low, high)


def comparable(compared: Comparison) -> bool:
    """Whether there are runs of vanilla and of another variant with a seed in common."""
    base = compared.row(BASELINE)
    return base is not None and any(set(base.seeds) & set(row.seeds) for row in compared.rows if row is not base)


def portions(found: Sequence[Comparison], page: Page) -> list[Portion]:
    """The comparisons that have differences, of each setting together."""
    return by_setting_in_pages(high=5, wide=2)([each for each in found if comparable(each)], page)


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The differences in percentage points, with the ends of their intervals: two panels for each comparison.

    Beside the columns of a tidy frame: `group` (the comparison), `part` ("epochs", "final"), `cross` (whether a seed
    diverged on one of the two sides), `epochs` (as planned) and `said` (of a final difference that is no number).
    """
    rows: list[dict[str, object]] = []
    for compared, letter in zip(found, lettered(found), strict=True):
        group = curve_group(results, compared, letter)
        ranked = next(each for each in rank(results, run_id=compared.run_ids).groups if each.key == compared.key)
        final = {row.variant: row.difference for row in ranked.rows if row.difference is not None}
        for variant in compared.variants:
            if variant != BASELINE:
                who = {
                    "series": variant,
                    "group": group.title,
                    "epochs": group.last_epoch(),
                    "cross": any(name in {variant, BASELINE} for name, _ in group.diverged),
                }
                rows += [{**who, **row} for row in _rows(group, variant, final.get(variant))]
    frame = pd.DataFrame(
        rows, columns=["x", "y", "series", "panel", "low", "high", "group", "part", "cross", "epochs", "said"]
    )
    return labelled(frame, Labels(EPOCH_LABEL, DIFFERENCE_LABEL, caption=ABOUT))


def _rows(group: CurveGroup, variant: str, final: PairedDifference | None) -> Iterator[dict[str, object]]:
    found = epoch_differences(group, variant)
    nothing = np.full(len(found.epochs), np.nan)
    low, high = (nothing if end is None else 100 * end for end in (found.low, found.high))
    for x, y, least, most in zip(found.epochs, 100 * found.mean, low, high, strict=True):
        yield {"x": x, "y": y, "low": least, "high": most, "panel": group.title, "part": _ON_THE_WAY, "said": ""}
    if final is None:
        return
    interval = final.t_interval
    said = f"no value in {final.unusable} of {len(final.seeds)} seeds" if final.unusable else final.says or ""
    yield {
        "x": float(group.last_epoch()),
        "y": np.nan if final.mean is None else 100 * final.mean,
        "low": np.nan if interval is None else 100 * interval.low,
        "high": np.nan if interval is None else 100 * interval.high,
        "panel": f"{group.title}, final",
        "part": _FINAL,
        "said": said,
    }


def draw(frame: pd.DataFrame, page: Page) -> Figure:
    """The frame of `data`, a row for each comparison.

    Left: at every epoch, the mean over the seeds of the difference inside each seed, with its pointwise 95 % t interval
    from three seeds. Right: the final difference with its interval, as `bnbench rank` has it. A variant that diverged
    in any seed (or against a vanilla that did) has no mean: its row says so.
    """
    groups = {str(title): own for title, own in frame.groupby("group", sort=False)}
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        row = page.width * ROW_HEIGHT * (1.5 if page.width < 4 else 1.0)
        named = (LINES_A_NAME * len(looks) + LINES_BESIDE) * page.small / 72
        height = max(row, named) * len(groups) + 6 * page.font / 72 + legend_room(looks, page)
        figure = page.figure(page.tallest if page.wide else height)
        rows = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(3, 2))
        for (left, right), (title, own) in zip(rows, groups.items(), strict=True):
            page.heading(left, title)
            for axes in (left, right):
                page.dress(axes)
            _draw_over_epochs(left, own, looks, page)
            _draw_final(right, own[own["part"] == _FINAL], looks, page)
        for left, right in rows[:-1]:
            left.set_xlabel("")
            right.set_xlabel("")
        variant_legend(figure, looks, page)
        return figure


def _draw_over_epochs(axes: Axes, group: pd.DataFrame, looks: dict[str, Look], page: Page) -> None:
    axes.axhline(0, color="black", linewidth=page.line * 0.6)
    rows = group[group["part"] == _ON_THE_WAY]
    for index, (name, look) in enumerate(looks.items()):
        own = rows[rows["series"] == name]
        if own.empty:
            continue
        epochs, mean = own["x"].to_numpy(np.float64), own["y"].to_numpy(np.float64)
        axes.plot(
            epochs,
            mean,
            **line_style(look, page),
            label=name,
            marker=look.marker,
            markeredgecolor="white",
            markeredgewidth=page.line / 4,
            markevery=mark_every(len(epochs), index),
        )
        if own["low"].notna().any():
            low, high = (np.clip(own[end].to_numpy(np.float64), -100, 100) for end in ("low", "high"))
            axes.fill_between(epochs, low, high, color=look.colour, alpha=BAND / 2, linewidth=0)
            if len(epochs) <= FEW_EPOCHS:
                for edge in (low, high):
                    axes.plot(epochs, edge, **line_style(look, page, thin=True), alpha=0.6)
        if own["cross"].any():
            axes.plot(epochs[-1:], mean[-1:], marker="x", color=look.colour, ms=2 * page.marker, zorder=4)
    last = max(int(group["epochs"].iloc[0]), 1)
    axes.set_xlim(-0.01 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
    axes.set_xlabel(EPOCH_LABEL)
    axes.set_ylabel(DIFFERENCE_LABEL)


def _draw_final(axes: Axes, final: pd.DataFrame, looks: dict[str, Look], page: Page) -> None:
    """The final differences, one below the other, the interval as a bar."""
    axes.axvline(0, color="black", linewidth=page.line * 0.6)
    by_name = final.set_index("series")
    names = [name for name in looks if name in by_name.index]
    for place, name in enumerate(names):
        look, row = looks[name], by_name.loc[name]
        if np.isnan(row["y"]):
            axes.annotate(
                str(row["said"]), (0, place), xytext=(page.font / 2, 0),
                textcoords="offset points", va="center", color=look.colour, fontsize=page.small,
            )  # fmt: skip
            continue
        if not np.isnan(row["low"]):
            axes.plot(
                [row["low"], row["high"]], [place, place],
                color=look.colour, linewidth=1.6 * page.line, solid_capstyle="butt",
            )  # fmt: skip
        axes.plot(
            [row["y"]], [place], marker=look.marker, color=look.colour, markersize=1.7 * page.marker,
            markeredgecolor="white", markeredgewidth=page.line / 3, linestyle="none", label=name,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [variant_label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"final {DIFFERENCE_LABEL}")
    if final["y"].isna().all():
        axes.set_xlim(-1, 4)
        axes.set_xticks([0])


DIFFERENCE = FigureKind(
    "difference",
    "Differences to vanilla",
    "training accuracy minus vanilla's, with its interval",
    data,
    draw,
    lacks="vanilla and another variant",
    portions=portions,
)
